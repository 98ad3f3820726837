"""A validator of one schema: nothing is fetched, numbers are those that were written.

Built on jsonschema, with keywords of our own where its are not exact or take too long.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llmscale.core.json_depth import MAX_LEVELS, is_too_deep
from llmscale.core.json_text import loads
from llmscale.engine.json_schema.deadline import Deadline
from llmscale.engine.json_schema.keywords import Keywords
from llmscale.engine.json_schema.numbers import (
    has_decimals,
    is_integer,
    loads_as_written,
    with_written,
)
from llmscale.engine.json_schema.patterns import compiled, translated

if TYPE_CHECKING:  # 0.1 s at run time, so not before a schema is wanted
    from jsonschema.protocols import Validator

_NO_SCHEMAS = frozenset({"const", "enum", "default", "examples"})
_BY_NAME = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)
_BEYOND_A_FLOAT = re.compile(r"\d[eE]\+?\d{3,}")


class SchemaValidator:
    """Checks answers against one schema."""

    def __init__(self, schema: Any) -> None:
        """Raises `ValueError` for what is no schema, and for one that refers to another file."""
        self._deadline = Deadline()
        self._validator = _validator_of(schema, self._deadline)

    def misfit(self, text: str, within_s: float | None = None) -> str | None:
        """Say why an answer does not fit, or None when it does. Raises `OutOfTime`."""
        from jsonschema.exceptions import best_match

        try:
            answer = _read(text)
        except ValueError as error:
            return f"the answer is not JSON ({error})"
        except _TooDeep:
            return f"the answer has more than {MAX_LEVELS} levels of JSON"
        self._deadline.set(within_s)
        try:
            found = best_match(self._validator.iter_errors(answer))
        except RecursionError:
            return "the schema refers to itself without end"
        if found is None:
            return None
        return f"the answer does not fit the schema at {found.json_path}: {found.message}"


class _TooDeep(Exception):
    """JSON has more than `MAX_LEVELS` levels."""


def _read(text: str) -> Any:
    """Parse an answer, its numbers as they were written. Raises `ValueError`, `_TooDeep`."""
    try:
        answer = loads(text)
    except ValueError:
        if not _BEYOND_A_FLOAT.search(text):
            raise
        answer = loads_as_written(text)
    if is_too_deep(text.encode(), answer):
        raise _TooDeep
    return loads_as_written(text) if has_decimals(text) else answer


def _validator_of(schema: Any, deadline: Deadline) -> "Validator":
    from jsonschema import FormatChecker
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, extend, validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    if not isinstance(schema, dict):
        raise ValueError("a schema is a JSON object")
    kind: Any = validator_for(schema, default=Draft202012Validator)
    try:
        # no formats: Python's `re` is what would judge the patterns
        kind.check_schema(schema, format_checker=FormatChecker(formats=()))
    except SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.message} at {error.json_path}") from None
    registry: Registry[Any] = Registry()
    resolver = registry.resolver_with_root(DRAFT202012.create_resource(schema))
    for reference in _values_of(schema, "$ref", "$dynamicRef"):
        if not reference.startswith("#"):
            raise ValueError(f"refers to {reference}; put the definition into the same file")
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise ValueError(f"refers to {reference}, which is not there") from None
    for pattern in _values_of(schema, "pattern"):
        compiled(pattern)
    _check_property_patterns(schema)
    checker = kind.TYPE_CHECKER
    if checker.is_type(1.0, "integer"):  # not so in the oldest drafts
        checker = checker.redefine("integer", lambda _, value: is_integer(value))
    keywords = Keywords(deadline).over(dict(kind.VALIDATORS))
    ours: Any = extend(kind, keywords, type_checker=checker)  # type: ignore[no-untyped-call]
    found: Validator = ours(with_written(_in_pythons_words(schema)), registry=registry)
    return found


def _check_property_patterns(schema: Any) -> None:
    """Raise `ValueError` for a pattern of `patternProperties` that can't be used.

    jsonschema itself searches them, with Python's `re`, for `unevaluatedProperties`.
    """
    by_python = has_slow_patterns(schema)
    for inner in subschemas(schema):
        named = inner.get("patternProperties")
        for pattern in named if isinstance(named, dict) else ():
            compiled(pattern)
            if by_python:
                try:
                    re.compile(translated(pattern))
                except (re.error, OverflowError, RecursionError) as error:
                    message = f"the pattern {pattern!r} can't be used together with"
                    raise ValueError(f"{message} unevaluatedProperties ({error})") from None


def has_slow_patterns(schema: Any) -> bool:
    """Tell whether patterns are searched that no deadline ends."""
    keywords = {name for inner in subschemas(schema) for name in inner}
    return {"unevaluatedProperties", "patternProperties"} <= keywords


def subschemas(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every schema within a schema, itself first."""
    if isinstance(schema, list):
        for one in schema:
            yield from subschemas(one)
    if not isinstance(schema, dict):
        return
    yield schema
    for name, value in schema.items():
        if name in _BY_NAME and isinstance(value, dict):
            for inner in value.values():
                yield from subschemas(inner)
        elif name not in _NO_SCHEMAS:
            yield from subschemas(value)


def _values_of(schema: Any, *names: str) -> Iterator[str]:
    for inner in subschemas(schema):
        for name in names:
            if isinstance(inner.get(name), str):
                yield inner[name]


def _in_pythons_words(node: Any) -> Any:
    """Return a schema whose `patternProperties` are named by Python's patterns."""
    if isinstance(node, list):
        return [_in_pythons_words(one) for one in node]
    if not isinstance(node, dict):
        return node
    written = {}
    for name, value in node.items():
        if name in _NO_SCHEMAS:
            written[name] = value
        elif name in _BY_NAME and isinstance(value, dict):
            renamed = translated if name == "patternProperties" else str
            written[name] = {renamed(n): _in_pythons_words(one) for n, one in value.items()}
        else:
            written[name] = _in_pythons_words(value)
    return written
