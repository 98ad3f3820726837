"""Answers that must fit a JSON Schema: what passes, what is a paid failure, what is refused."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from llmscale.core.errors import CallFailed, ConfigError
from llmscale.core.output_line import line_of
from llmscale.core.records import Failure, FinishReason, Outcome, Reply, Request, Row, Usage
from llmscale.engine.json_schema.schema_file import load_response_format
from llmscale.engine.json_schema.validators import SchemaValidator
from llmscale.engine.json_schema.worker import SchemaWorkers
from llmscale.engine.layers.schema import (
    MAX_VALIDATORS,
    SchemaLayer,
    schema_of,
)
from tests.engine.answering import Delivered, RowByRow, answer, ends

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "additionalProperties": False,
        }
    },
}


class Says(RowByRow):
    """Answers with one text, and counts how often it is asked."""

    def __init__(self, text: str | None, finish: FinishReason = "stop", **fields: Any) -> None:
        self.asked = 0
        self.reply = Reply(
            text=text, finish_reason=finish, model="x", usage=Usage(3, 4), attempts=2, **fields
        )

    async def answer(self, request: Request) -> Reply:
        self.asked += 1
        return self.reply


def request_for(schema: Any) -> Request:
    response_format = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return Request(model="sim/x", messages=[], response_format=response_format)


async def failure_of(says: Says, schema: Any) -> Failure:
    with pytest.raises(CallFailed) as raised:
        await answer(SchemaLayer(says), request_for(schema))
    return raised.value.failure


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (PERSON, '{"name": "Ada", "age": 36}'),
        (PERSON, ' {"name": "Ada"}\n'),
        (TREE, '{"children": [{"children": []}, {}]}'),
        ({}, "null"),
        ({"const": "a"}, '"a"'),
    ],
)
async def test_an_answer_that_fits_passes_unchanged(schema: Any, text: str) -> None:
    says = Says(text)
    assert await answer(SchemaLayer(says), request_for(schema)) is says.reply


@pytest.mark.parametrize(
    ("schema", "text", "words"),
    [
        (PERSON, '{"name": 1}', "$.name"),
        (PERSON, "{}", "'name' is a required property"),
        (PERSON, '{"name": "Ada", "extra": 1}', "extra"),
        (PERSON, '{"name": "Ada", "age": -1}', "$.age"),
        (TREE, '{"children": [{"leaf": 1}]}', "$.children[0]"),
        (PERSON, 'Sure! {"name": "Ada"}', "not JSON"),
        (PERSON, '```json\n{"name": "Ada"}\n```', "not JSON"),
        (PERSON, '{"name": NaN}', "not JSON"),
        (PERSON, "", "not JSON"),
        (PERSON, None, "not JSON"),
        (TREE, '{"children": [' * 200 + "]}" * 200, "levels"),
        ({"$ref": "#"}, "{}", "refers to itself"),
    ],
)
async def test_a_misfit_is_a_failed_row_that_says_where_and_keeps_what_was_paid(
    schema: Any, text: str | None, words: str
) -> None:
    says = Says(text)
    failure = await failure_of(says, schema)
    assert failure.kind == "schema_mismatch"
    assert words in failure.message
    assert failure.reply is says.reply
    assert not failure.retryable
    assert not failure.stops_job


async def test_a_misfit_has_the_attempts_of_its_answer() -> None:
    with pytest.raises(CallFailed) as raised:
        await answer(SchemaLayer(Says("no")), request_for(PERSON))
    assert raised.value.attempts == 2


@pytest.mark.parametrize(("finish", "hints"), [("length", True), ("stop", False)])
async def test_only_a_cut_answer_is_told_to_raise_max_tokens(
    finish: FinishReason, hints: bool
) -> None:
    failure = await failure_of(Says('{"name": "A', finish), PERSON)
    assert ("--max-tokens" in failure.message) is hints


async def test_tool_calls_are_not_held_against_the_schema() -> None:
    says = Says(None, "tool_calls", tool_calls=[{"id": "1", "type": "function"}])
    assert await answer(SchemaLayer(says), request_for(PERSON)) is says.reply


@pytest.mark.parametrize(
    "response_format",
    [
        None,
        {"type": "json_object"},
        {"type": "text"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": "person"},
        {"type": "json_schema", "json_schema": {"name": "person"}},
        {"json_schema": {"schema": PERSON}},
    ],
)
async def test_a_request_without_a_schema_is_let_through(
    response_format: dict[str, Any] | None,
) -> None:
    request = Request(model="sim/x", messages=[], response_format=response_format)
    says = Says("anything")
    assert schema_of(request) is None
    assert await answer(SchemaLayer(says), request) is says.reply


BAD_SCHEMAS = [
    ({"type": "objekt"}, "not a JSON Schema"),
    ({"properties": []}, "not a JSON Schema"),
    ({"minimum": "one"}, "not a JSON Schema"),
    ({"pattern": "("}, "the pattern"),
    (["type"], "a JSON object"),
    ("person", "a JSON object"),
    (True, "a JSON object"),
    ({"$ref": "https://example.com/person.json"}, "person.json; put the definition into the same"),
    ({"properties": {"a": {"$ref": "other.json#/a"}}}, "other.json#/a; put the definition"),
    ({"anyOf": [{"$ref": "file:///etc/passwd"}]}, "file:///etc/passwd; put the definition"),
    ({"$dynamicRef": "https://example.com/x"}, "https://example.com/x"),
    ({"$ref": "#/$defs/missing"}, "#/$defs/missing, which is not there"),
    ({"items": {"$ref": "#nowhere"}}, "#nowhere"),
]


@pytest.mark.parametrize(("schema", "words"), BAD_SCHEMAS)
async def test_a_bad_schema_in_a_row_fails_the_row_and_costs_no_call(
    schema: Any, words: str
) -> None:
    says = Says("{}")
    with pytest.raises(CallFailed) as raised:
        await answer(SchemaLayer(says), request_for(schema))
    assert raised.value.failure.kind == "bad_row"
    assert words in raised.value.failure.message
    assert (raised.value.attempts, says.asked) == (0, 0)


@pytest.mark.parametrize(("schema", "words"), BAD_SCHEMAS)
def test_a_bad_schema_file_is_a_config_error_that_names_the_file(
    tmp_path: Path, schema: Any, words: str
) -> None:
    path = tmp_path / "person.json"
    path.write_bytes(orjson.dumps(schema))
    with pytest.raises(ConfigError) as raised:
        load_response_format(str(path))
    assert words in str(raised.value)
    assert "--json-schema" in str(raised.value)
    assert "person.json" in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b'{"not":' * 200 + b"{}" + b"}" * 200, b"[" * 5000],
    ids=["empty", "cut", "bad UTF-8", "deep", "deeper"],
)
def test_a_file_that_holds_no_schema_is_a_config_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "person.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"--json-schema: .*person\.json"):
        load_response_format(str(path))


def test_a_file_that_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--json-schema: can't read .*gone\.json"):
        load_response_format(str(tmp_path / "gone.json"))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("person.json", "person"),
        ("my answer.v2.json", "my_answer"),
        ("x" * 80 + ".json", "x" * 64),
        ("änder.json", "_nder"),
        (".json", "answer"),
    ],
)
def test_a_schema_file_becomes_a_response_format_with_a_name_that_apis_take(
    tmp_path: Path, file: str, name: str
) -> None:
    path = tmp_path / file
    path.write_bytes(orjson.dumps(PERSON))
    assert load_response_format(str(path)) == {
        "type": "json_schema",
        "json_schema": {"name": name, "schema": PERSON, "strict": True},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"$ref": {"type": "string"}}},
        {"$anchor": "top", "items": {"$ref": "#top"}},
        {"$id": "https://example.com/s", "$defs": {"a": {}}, "items": {"$ref": "#/$defs/a"}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {}}}
        | {"items": {"$ref": "#/definitions/a"}},
    ],
)
def test_local_references_are_taken(schema: dict[str, Any]) -> None:
    assert SchemaValidator(schema).misfit("[1]") is None


async def test_rows_that_share_a_schema_share_its_validator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Any] = []

    def counted(schema: Any) -> Any:
        made.append(schema)
        return SchemaValidator(schema)

    monkeypatch.setattr("llmscale.engine.layers.schema.SchemaValidator", counted)
    checked = SchemaLayer(Says('{"name": "Ada"}'))
    request = request_for(PERSON)
    for _ in range(5):
        await answer(checked, request)
    assert len(made) == 1


async def test_each_row_is_held_against_its_own_schema_however_many_there_are() -> None:
    says = Says("7")
    checked = SchemaLayer(says)
    for number in range(2 * MAX_VALIDATORS + 1):
        if number == 7:
            assert await answer(checked, request_for({"const": number})) is says.reply
            continue
        with pytest.raises(CallFailed, match=rf"{number} was expected"):
            await answer(checked, request_for({"const": number}))


# --- rows that are asked together


async def test_a_bad_schema_fails_its_row_at_once_and_the_others_are_asked() -> None:
    class Slow(Says):
        async def answer(self, request: Request) -> Reply:
            await asyncio.sleep(0.01)
            return await super().answer(request)

    says, delivered = Slow('{"name": "Ada"}'), Delivered()
    schemas = [PERSON, {"type": "objekt"}, TREE, PERSON]
    requests = [request_for(schema) for schema in schemas]
    running = asyncio.create_task(SchemaLayer(says).answer_all(delivered.rows(requests)))
    await asyncio.sleep(0)
    assert delivered.order == [1]
    await running
    kinds = {
        n: e.failure.kind for n, e in delivered.by_position.items() if isinstance(e, CallFailed)
    }
    assert kinds == {1: "bad_row", 2: "schema_mismatch"}
    assert delivered.by_position[0] is delivered.by_position[3] is says.reply
    assert says.asked == 3


async def test_where_all_schemas_of_a_group_are_bad_nobody_is_asked() -> None:
    says = Says("{}")
    found = await ends(SchemaLayer(says), [request_for({"type": "objekt"}), request_for("x")])
    assert [type(one) for one in found] == [CallFailed] * 2
    assert says.asked == 0


async def test_rows_without_a_schema_go_with_those_that_have_one() -> None:
    says = Says("no JSON")
    plain = Request(model="sim/x", messages=[])
    found = await ends(SchemaLayer(says), [plain, request_for(PERSON), plain])
    assert found[0] is found[2] is says.reply
    assert isinstance(found[1], CallFailed)


async def test_each_row_of_a_group_is_held_against_its_own_schema_however_many_there_are() -> None:
    numbers = range(2 * MAX_VALIDATORS + 1)
    found = await ends(SchemaLayer(Says("7")), [request_for({"const": n}) for n in numbers])
    assert [n for n, one in enumerate(found) if isinstance(one, Reply)] == [7]


async def test_what_a_row_meets_below_is_not_held_against_its_schema() -> None:
    late = CallFailed(Failure(kind="timeout", message="late"), 3)

    class Late(RowByRow):
        async def answer(self, request: Request) -> Reply:
            raise late

    assert await ends(SchemaLayer(Late()), [request_for(PERSON)] * 2) == [late] * 2


class Learning(RowByRow):
    """Answers wrongly until it was told what is wrong so many times."""

    def __init__(self, after: int) -> None:
        self.asked: list[Request] = []
        self._after = after

    async def answer(self, request: Request) -> Reply:
        self.asked.append(request)
        complaints = sum("can't be used" in str(m["content"]) for m in request.messages)
        text = '{"n": 1}' if complaints >= self._after else '{"n": "one"}'
        return Reply(text=text, finish_reason="stop", model="m", usage=Usage(10, 2), cost_usd=0.5)


NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}}
ASKED = Request(
    model="sim/m",
    messages=[{"role": "user", "content": "hello"}],
    response_format={"type": "json_schema", "json_schema": {"schema": NUMBER}},
)


async def test_an_answer_is_sent_back_with_what_is_wrong_until_it_fits() -> None:
    inner = Learning(after=2)
    reply = await answer(SchemaLayer(inner, repairs=3), ASKED)
    assert (reply.text, reply.repairs, reply.attempts) == ('{"n": 1}', 2, 3)
    assert (reply.usage, reply.cost_usd) == (Usage(30, 6), 1.5)
    roles = [message["role"] for message in inner.asked[-1].messages]
    assert roles == ["user", *["assistant", "user"] * 2]


async def test_an_answer_that_never_fits_fails_with_its_text_and_what_all_of_it_has_cost() -> None:
    with pytest.raises(CallFailed) as raised:
        await answer(SchemaLayer(Learning(after=9), repairs=2), ASKED)
    outcome = Outcome(row=Row(index=0), failure=raised.value.failure, attempts=3)
    line = line_of(outcome)
    assert line["error"]["raw"] == '{"n": "one"}'
    assert (line["cost_usd"], line["repairs"]) == (1.5, 2)


async def test_a_check_that_takes_too_long_fails_the_row_and_no_other() -> None:
    evil = {"type": "object", "properties": {"n": {"type": "string", "pattern": "^(o|n|e|on)+$"}}}
    workers = SchemaWorkers()

    class Long(RowByRow):
        async def answer(self, request: Request) -> Reply:
            text = '{"n": "' + "on" * 40 + '!"}'
            return Reply(text=text, finish_reason="stop", model="m", usage=Usage(10, 2))

    asked = replace(ASKED, response_format={"type": "json_schema", "json_schema": {"schema": evil}})
    try:
        with pytest.raises(CallFailed) as raised:
            await answer(SchemaLayer(Long(), workers), asked)
    finally:
        await workers.aclose()
    assert raised.value.failure.kind == "schema_timeout"
