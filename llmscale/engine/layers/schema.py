"""Answers that must fit a JSON Schema: the layer that checks them, and the file they come from.

An answer that does not fit is a failed row that was paid for. Nothing is repaired, nothing is
fetched: a schema that refers to another document is refused.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from llmscale.core.asked_row import AskedRow, Result
from llmscale.core.errors import CallFailed, ConfigError
from llmscale.core.json_depth import MAX_LEVELS, is_too_deep
from llmscale.core.protocols import Answers
from llmscale.core.records import Failure, Reply, Request

if TYPE_CHECKING:  # 0.1 s at run time, so not before a schema is wanted
    from jsonschema.protocols import Validator

MAX_VALIDATORS = 64


class SchemaLayer:
    """Lets an answer pass when it is JSON and fits the schema that its request asks for."""

    def __init__(self, inner: Answers) -> None:
        self._inner = inner
        self._validators: dict[int, tuple[Any, Validator]] = {}

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        """Deliver the answers that fit, and a `CallFailed` for each that does not.

        Raises `JobError`.
        """
        asked: list[AskedRow] = []
        for row in rows:
            schema = schema_of(row.request)
            if schema is not None:
                try:  # before the call: a bad schema costs nothing
                    row.through(_Check(self._validator(schema)))
                except CallFailed as error:
                    row.deliver(error)
                    continue
            asked.append(row)
        if asked:
            await self._inner.answer_all(asked)

    def _validator(self, schema: Any) -> "Validator":
        """One validator for each schema object: the rows that share a flag share the object."""
        known = self._validators.get(id(schema))
        if known is not None:
            return known[1]
        try:
            validator = validator_of(schema)
        except ValueError as error:
            raise CallFailed(Failure(kind="bad_row", message=f"json_schema: {error}"), 0) from None
        if len(self._validators) >= MAX_VALIDATORS:
            self._validators.clear()
        self._validators[id(schema)] = (schema, validator)  # holds the object, so its id stays its
        return validator


class _Check:
    """Receives an answer that must fit a schema."""

    __slots__ = ("_validator",)

    def __init__(self, validator: "Validator") -> None:
        self._validator = validator

    def receive(self, row: AskedRow, result: Result) -> None:
        if isinstance(result, Reply) and not result.tool_calls:
            result = _checked(self._validator, result)
        row.deliver(result)


def _checked(validator: "Validator", reply: Reply) -> Reply | CallFailed:
    """Return a reply that fits, or how it does not."""
    misfit = _misfit(validator, reply.text or "")
    if misfit is None:
        return reply
    if reply.finish_reason == "length":
        misfit += "; it was cut, so raise --max-tokens"
    failure = Failure(kind="schema_mismatch", message=misfit, reply=reply)
    return CallFailed(failure, reply.attempts)


def schema_of(request: Request) -> Any:
    """Return the JSON Schema that the answer must fit, or None."""
    response_format = request.response_format
    if response_format is None or response_format.get("type") != "json_schema":
        return None
    named = response_format.get("json_schema")
    return named.get("schema") if isinstance(named, dict) else None


def load_response_format(path: str) -> dict[str, Any]:
    """Read a schema file into a `response_format`. Raises `ConfigError`."""
    try:
        raw = Path(path).read_bytes()
        schema = orjson.loads(raw)
        if is_too_deep(raw, schema):
            raise ValueError(f"has more than {MAX_LEVELS} levels")
        validator_of(schema)
    except OSError as error:
        raise ConfigError(f"--json-schema: can't read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"--json-schema: {path}: {error}") from None
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in Path(path).name.split(".")[0])
    named = {"name": name[:64] or "answer", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}


def validator_of(schema: Any) -> "Validator":
    """Return a validator that fetches nothing. Raises `ValueError` for what is no schema."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for
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
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise ValueError(f"refers to {reference}; put the definition into the same file")
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise ValueError(f"refers to {reference}, which is not there") from None
    return kind(schema, registry=registry)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for keyword in ("$ref", "$dynamicRef"):
            if isinstance(node.get(keyword), str):
                yield node[keyword]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _references(child)


def _misfit(validator: "Validator", text: str) -> str | None:
    """Say why an answer does not fit, or None when it does."""
    from jsonschema.exceptions import best_match

    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError as error:
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
