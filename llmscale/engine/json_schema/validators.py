"""A validator of one schema: nothing is fetched, numbers are those that were written.

Built on jsonschema; what differs is `pattern` (ECMA-262) and `multipleOf` (exact).
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from llmscale.core.json_depth import MAX_LEVELS, is_too_deep
from llmscale.core.json_text import loads
from llmscale.engine.json_schema.patterns import compiled, translated

if TYPE_CHECKING:  # 0.1 s at run time, so not before a schema is wanted
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

_NO_SCHEMAS = frozenset({"const", "enum", "default", "examples"})
_BY_NAME = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)


def validator_of(schema: Any) -> "Validator":
    """Return a validator that fetches nothing. Raises `ValueError` for what is no schema."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, extend, validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    if not isinstance(schema, dict):
        raise ValueError("a schema is a JSON object")
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
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
    ours: Any = extend(kind, {"pattern": _pattern, "multipleOf": _multiple_of})  # type: ignore[no-untyped-call]
    found: Validator = ours(_in_pythons_words(schema), registry=registry)
    return found


def misfit(validator: "Validator", text: str) -> str | None:
    """Say why an answer does not fit, or None when it does."""
    from jsonschema.exceptions import best_match

    try:
        answer = loads(text)
    except ValueError as error:
        return f"the answer is not JSON ({error})"
    if is_too_deep(text.encode(), answer):
        return f"the answer has more than {MAX_LEVELS} levels of JSON"
    try:
        found = best_match(validator.iter_errors(answer))
    except RecursionError:
        return "the schema refers to itself without end"
    if found is None:
        return None
    return f"the answer does not fit the schema at {found.json_path}: {found.message}"


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


def _pattern(
    validator: "Validator", pattern: str, instance: Any, schema: Any
) -> "Iterator[ValidationError]":
    from jsonschema.exceptions import ValidationError

    del schema
    if validator.is_type(instance, "string") and not compiled(pattern).search(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _multiple_of(
    validator: "Validator", factor: Any, instance: Any, schema: Any
) -> "Iterator[ValidationError]":
    from jsonschema.exceptions import ValidationError

    del schema
    if not validator.is_type(instance, "number"):
        return
    if Fraction(repr(instance)) % Fraction(repr(factor)):
        yield ValidationError(f"{instance!r} is not a multiple of {factor!r}")
