"""Answers that must fit a JSON Schema: the layer that checks them, and the file they come from.

An answer that does not fit is a failed row that was paid for. Nothing is repaired, nothing is
fetched: a schema that refers to another document is refused.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from llmscale.core.errors import CallFailed, ConfigError
from llmscale.core.json_depth import MAX_LEVELS, is_too_deep
from llmscale.core.protocols import Answers, Settle
from llmscale.core.records import Failure, Reply, Request

if TYPE_CHECKING:  # 0.1 s at run time, so not before a schema is wanted
    from jsonschema.protocols import Validator

MAX_VALIDATORS = 64


class SchemaLayer:
    """Lets an answer pass when it is JSON and fits the schema that its request asks for."""

    def __init__(self, inner: Answers) -> None:
        self._inner = inner
        self._validators: dict[int, tuple[Any, Validator]] = {}

    async def answer_all(self, requests: Sequence[Request], settle: Settle) -> None:
        """Settle each request with an answer that fits, or a `CallFailed` that says why it does
        not. Raises `JobError`.
        """
        if all(request.response_format is None for request in requests):
            await self._inner.answer_all(requests, settle)
            return
        checks: list[tuple[int, Validator | None]] = []  # position, and what the answer must fit
        for position, request in enumerate(requests):
            schema = schema_of(request)
            try:  # before the call: a bad schema costs nothing
                checks.append((position, None if schema is None else self._validator(schema)))
            except CallFailed as error:
                settle(position, error)

        def settled(asked: int, result: Reply | Exception) -> None:
            position, validator = checks[asked]
            if validator is not None and isinstance(result, Reply) and not result.tool_calls:
                result = _checked(validator, result)
            settle(position, result)

        if checks:
            await self._inner.answer_all([requests[position] for position, _ in checks], settled)

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
