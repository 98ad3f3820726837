"""Keywords of JSON Schema that are not jsonschema's own: exact, linear, and ended by a deadline.

Patterns are ECMA-262's. `enum`, `const` and `uniqueItems` compare by keys instead of pair by pair.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from llmscale.engine.json_schema.deadline import Deadline, OutOfTime
from llmscale.engine.json_schema.numbers import is_multiple
from llmscale.engine.json_schema.patterns import compiled, ready

if TYPE_CHECKING:  # 0.1 s at run time, so not before a schema is wanted
    import regex
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

MAX_SHOWN = 20  # choices, in a message

Errors = "Iterator[ValidationError]"
Keyword = Callable[["Validator", Any, Any, Any], Any]


class Keywords:
    """The keywords of one schema; each looks at its deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._choices: dict[int, frozenset[Any]] = {}  # by the list of the schema, which stays

    def over(self, keywords: dict[str, Keyword]) -> dict[str, Keyword]:
        """Return all keywords of a dialect with these in their places."""
        ours: dict[str, Keyword] = {
            "additionalProperties": self._additional_properties,
            "const": self._const,
            "enum": self._enum,
            "multipleOf": self._multiple_of,
            "pattern": self._pattern,
            "patternProperties": self._pattern_properties,
            "uniqueItems": self._unique_items,
        }
        both = {name: ours.get(name, keyword) for name, keyword in keywords.items()}
        return {name: self._timed(keyword) for name, keyword in both.items()}

    def _timed(self, keyword: Keyword) -> Keyword:
        def checked(validator: "Validator", value: Any, instance: Any, schema: Any) -> Any:
            self._deadline.left_s()
            return keyword(validator, value, instance, schema)

        return checked

    def _finds(self, pattern: "regex.Pattern[str]", text: str) -> bool:
        try:
            return pattern.search(text, timeout=self._deadline.left_s()) is not None
        except TimeoutError:
            raise OutOfTime from None

    def _pattern(
        self, validator: "Validator", pattern: str, instance: Any, schema: Any
    ) -> "Iterator[ValidationError]":
        del schema
        if validator.is_type(instance, "string") and not self._finds(compiled(pattern), instance):
            yield _error(f"{instance!r} does not match {pattern!r}")

    def _pattern_properties(
        self, validator: "Validator", patterns: dict[str, Any], instance: Any, schema: Any
    ) -> "Iterator[ValidationError]":
        del schema
        if not validator.is_type(instance, "object"):
            return
        for pattern, inner in patterns.items():
            for name, value in instance.items():
                if self._finds(ready(pattern), name):
                    yield from validator.descend(value, inner, path=name, schema_path=pattern)  # type: ignore[attr-defined]

    def _additional_properties(
        self, validator: "Validator", allowed: Any, instance: Any, schema: Any
    ) -> "Iterator[ValidationError]":
        if not validator.is_type(instance, "object"):
            return
        named = schema.get("properties", {})
        patterns = [ready(pattern) for pattern in schema.get("patternProperties", {})]
        extras = [
            name
            for name in instance
            if name not in named and not any(self._finds(pattern, name) for pattern in patterns)
        ]
        if isinstance(allowed, dict):
            for name in extras:
                yield from validator.descend(instance[name], allowed, path=name)  # type: ignore[attr-defined]
        elif not allowed and extras:
            verb = "was" if len(extras) == 1 else "were"
            listed = _listed(sorted(extras))
            yield _error(f"Additional properties are not allowed ({listed} {verb} unexpected)")

    def _multiple_of(
        self, validator: "Validator", factor: Any, instance: Any, schema: Any
    ) -> "Iterator[ValidationError]":
        del schema
        if validator.is_type(instance, "number") and not is_multiple(instance, factor):
            yield _error(f"{instance!r} is not a multiple of {factor!r}")

    def _enum(
        self, validator: "Validator", choices: list[Any], instance: Any, schema: Any
    ) -> "Iterator[ValidationError]":
        del validator, schema
        keys = self._choices.get(id(choices))
        if keys is None:
            keys = self._choices[id(choices)] = frozenset(map(_key, choices))
        if _key(instance) not in keys:
            yield _error(f"{instance!r} is not one of [{_listed(choices)}]")

    def _const(
        self, validator: "Validator", wanted: Any, instance: Any, schema: Any
    ) -> "Iterator[ValidationError]":
        del validator, schema
        if _key(instance) != _key(wanted):
            yield _error(f"{wanted!r} was expected")

    def _unique_items(
        self, validator: "Validator", wanted: Any, instance: Any, schema: Any
    ) -> "Iterator[ValidationError]":
        del schema
        if not wanted or not validator.is_type(instance, "array"):
            return
        seen = set()
        for item in instance:
            self._deadline.left_s()
            key = _key(item)
            if key in seen:
                yield _error(f"{instance!r} has non-unique elements")
                return
            seen.add(key)


def _key(value: Any) -> Any:
    """Return what is equal for equal JSON only: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, bool):
        return bool, value
    if isinstance(value, list):
        return list, tuple(map(_key, value))
    if isinstance(value, dict):
        return dict, frozenset((name, _key(inner)) for name, inner in value.items())
    return value


def _listed(values: list[Any]) -> str:
    shown = ", ".join(map(repr, values[:MAX_SHOWN]))
    more = len(values) - MAX_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _error(message: str) -> "ValidationError":
    from jsonschema.exceptions import ValidationError

    return ValidationError(message)
