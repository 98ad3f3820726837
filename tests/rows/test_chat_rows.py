"""Every line becomes a row: a request with the right fields, or a failure that says why not."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.config import SamplingConfig
from llmscale.core.json_depth import MAX_LEVELS
from llmscale.core.json_text import dumps, loads
from llmscale.core.output_line import encode, line_of
from llmscale.core.records import Outcome, Request, Row
from llmscale.rows.chat_rows import MAX_IGNORED_FIELDS, PASSED_FIELDS, REQUEST_FIELDS, ChatParser
from llmscale.rows.sources import Line
from tests.settings import config_of

MODEL = "sim/default"
USER = [{"role": "user", "content": "hello"}]


def line(fields: object, number: int = 7) -> Line:
    raw = fields if isinstance(fields, bytes) else orjson.dumps(fields)
    return Line("in.jsonl", number, raw)


def parser_of(**settings: Any) -> ChatParser:
    return ChatParser(MODEL, config_of(**settings).sampling)


def parse(fields: object, **settings: Any) -> Row:
    return parser_of(**settings).parse(3, line(fields))


def request_of(fields: object, **settings: Any) -> Request:
    row = parse(fields, **settings)
    assert row.failure is None
    assert row.request is not None
    return row.request


def complaint_of(fields: object, **settings: Any) -> str:
    """Return what is wrong with a line, without the place that every complaint begins with."""
    row = parse(fields, **settings)
    assert row.request is None
    assert row.failure is not None
    assert (row.index, row.failure.kind, row.failure.retryable) == (3, "bad_row", False)
    place, said, complaint = row.failure.message.partition("in.jsonl line 7: ")
    assert (place, bool(said)) == ("", True)
    return complaint


BATCH = {"custom_id": "b", "method": "POST", "url": "/v1/chat/completions"}


@pytest.mark.parametrize(
    ("fields", "settings", "request_"),
    [
        ({"prompt": "hello"}, {}, Request(model=MODEL, messages=USER)),
        ({"messages": USER}, {}, Request(model=MODEL, messages=USER)),
        ({"prompt": "ignored", "messages": USER}, {}, Request(model=MODEL, messages=USER)),
        ({"text": "hello"}, {"template": "{text}"}, Request(model=MODEL, messages=USER)),
        (
            BATCH | {"body": {"model": "sim/x", "messages": USER, "max_tokens": 5, "top_k": 2}},
            {},
            Request(model="sim/x", messages=USER, max_tokens=5, extra={"top_k": 2}),
        ),
        ({"body": {"messages": USER}}, {}, Request(model=MODEL, messages=USER)),
    ],
)
def test_the_four_shapes_of_a_row_differ_by_their_keys(
    fields: dict[str, Any], settings: dict[str, Any], request_: Request
) -> None:
    assert request_of(fields, **settings) == request_


def test_id_user_and_metadata_stay_with_the_row() -> None:
    row = parse({"id": "a", "prompt": "hello", "user": "u", "metadata": {"any": ["thing"]}})
    assert (row.index, row.id, row.user, row.metadata) == (3, "a", "u", {"any": ["thing"]})
    assert parse({"prompt": "hello", "user": 5}).user == "5"


FLAGS = {
    "max_tokens": 10,
    "temperature": 0.5,
    "top_p": 0.5,
    "seed": 1,
    "stop": ("flag",),
    "system": "flag",
}


def test_a_row_without_fields_takes_those_of_the_flags() -> None:
    request = request_of({"prompt": "hello"}, **FLAGS)
    assert request == Request(
        model=MODEL,
        messages=[{"role": "system", "content": "flag"}, *USER],
        max_tokens=10,
        temperature=0.5,
        top_p=0.5,
        seed=1,
        stop=["flag"],
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_tokens", 20), ("temperature", 0.0), ("top_p", 1.0), ("seed", 0), ("stop", ["row"])],
)
def test_a_field_of_a_row_wins_over_the_flag_and_leaves_the_others(
    name: str, value: object
) -> None:
    by_flags = request_of({"prompt": "hello"}, **FLAGS)
    request = request_of({"prompt": "hello", name: value}, **FLAGS)
    changed = {n for n in request.__struct_fields__ if getattr(request, n) != getattr(by_flags, n)}
    assert (changed, getattr(request, name)) == ({name}, value)


@pytest.mark.parametrize("name", [*sorted(REQUEST_FIELDS), "model"])
def test_a_field_that_is_null_is_as_if_it_were_not_there(name: str) -> None:
    assert request_of({"prompt": "hello", name: None}, **FLAGS) == request_of(
        {"prompt": "hello"}, **FLAGS
    )


def test_stop_may_be_one_text() -> None:
    assert request_of({"prompt": "hello", "stop": "END"}).stop == ["END"]


def test_one_row_does_not_change_the_next() -> None:
    parser = parser_of(param={"top_k": 1}, max_tokens=10)
    plain = parser.parse(0, line({"prompt": "hello"}))
    parser.parse(0, line({"prompt": "hello", "max_tokens": 5, "top_k": 9, "stop": "x"}))
    assert parser.parse(0, line({"prompt": "hello"})) == plain


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        ({"prompt": "hello"}, [{"role": "system", "content": "flag"}, *USER]),
        ({"prompt": "hello", "system": "row"}, [{"role": "system", "content": "row"}, *USER]),
        ({"prompt": "hello", "system": None}, [{"role": "system", "content": "flag"}, *USER]),
        ({"messages": USER, "system": "row"}, [{"role": "system", "content": "row"}, *USER]),
        *(
            ({"messages": [{"role": role, "content": "own"}, *USER], **more}, None)
            for role in ("system", "developer")
            for more in ({}, {"system": "row"})
        ),
    ],
)
def test_a_system_message_is_put_in_front_unless_the_row_has_its_own(
    fields: dict[str, Any], messages: list[Any] | None
) -> None:
    request = request_of(fields, system="flag")
    assert request.messages == (fields["messages"] if messages is None else messages)


def test_further_fields_are_passed_on_and_those_of_a_row_win_over_param() -> None:
    fields = dict.fromkeys(PASSED_FIELDS - {"max_completion_tokens"}, "row")
    request = request_of({"prompt": "hello", **fields}, param={"top_k": "flag", "own": "flag"})
    assert request.extra == fields | {"own": "flag"}
    assert request_of({"prompt": "hello"}, param={"own": "flag"}).extra == {"own": "flag"}
    assert request_of({"prompt": "hello"}).extra is None


def test_a_response_format_of_the_job_holds_for_rows_without_one() -> None:
    parser = ChatParser(MODEL, SamplingConfig(), {"type": "json_schema"})
    default = parser.parse(0, line({"prompt": "hello"})).request
    own = parser.parse(0, line({"prompt": "hello", "response_format": {"type": "text"}})).request
    assert default is not None
    assert own is not None
    assert (default.response_format, own.response_format) == (
        {"type": "json_schema"},
        {"type": "text"},
    )


def test_the_model_of_a_row_is_resolved_and_one_that_is_not_served_is_a_bad_row() -> None:
    def resolve(model: str, *, is_literal: bool) -> str:
        assert not is_literal
        if model != "short":
            raise LookupError(f"no endpoint answers for model {model}")
        return "sim/long"

    parser = ChatParser(MODEL, SamplingConfig(), resolve_model=resolve)
    right = parser.parse(0, line({"prompt": "hello", "model": "short"}))
    wrong = parser.parse(0, line({"id": 1, "prompt": "hello", "model": "gpt-9"}))
    assert right.request is not None
    assert right.request.model == "sim/long"
    assert wrong.failure is not None
    assert wrong.failure.message == "in.jsonl line 7: no endpoint answers for model gpt-9"
    assert wrong.id == 1


def test_a_template_takes_every_field_as_data_but_id_user_and_metadata() -> None:
    fields = {
        "id": 1,
        "user": "u",
        "metadata": "m",
        "prompt": "p",
        "model": "sim/other",
        "temperature": "hot",
        "system": 5,
        "body": {},
        "stream": True,
    }
    row = parse(fields, template="{prompt} {model} {temperature} {system} {id}", temperature=0.5)
    assert (row.id, row.user, row.metadata) == (1, "u", "m")
    assert row.request == Request(
        model=MODEL,
        messages=[{"role": "user", "content": "p sim/other hot 5 1"}],
        temperature=0.5,
    )


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


BAD_ROWS: list[tuple[object, str]] = [
    # no JSON, or JSON that is nothing to work with
    (b"", "not JSON"),
    (b"hello", "not JSON"),
    (b'{"prompt": "torn', "not JSON"),
    (b'{"prompt": "a"} {"prompt": "b"}', "not JSON"),
    (b'{"prompt": "a",}', "not JSON"),
    (b"{'prompt': 'a'}", "not JSON"),
    (b'{"prompt": "\xff\xfe"}', "not JSON"),
    (b'{"prompt": "\xed\xa0\x80"}', "not JSON"),  # a surrogate in UTF-8
    (rb'{"prompt": "\ud800"}', "not JSON"),
    (rb'{"prompt": "\udc00\ud800"}', "not JSON"),
    (b'{"prompt": "a\x00b"}', "not JSON"),
    (b'{"prompt": "a\nb"}', "not JSON"),
    (b'\xef\xbb\xbf{"prompt": "a"}', "not JSON"),  # a mark that is not at the start of a file
    (b'{"prompt": "a", "temperature": NaN}', "not JSON"),
    (b'{"prompt": "a", "temperature": Infinity}', "not JSON"),
    (nested(100_000), "not JSON"),
    (b'{"prompt": ' + nested(100_000) + b"}", "not JSON"),
    (b'{"prompt": "a", "metadata": ' + nested(MAX_LEVELS + 1) + b"}", "levels of JSON"),
    (b'{"prompt": "a", "metadata": ' + nested(900) + b"}", "levels of JSON"),
    (b"null", "not a JSON object"),
    (b"5", "not a JSON object"),
    (b'"prompt"', "not a JSON object"),
    (b'[{"prompt": "a"}]', "not a JSON object"),
    # fields that are not there, or of another type
    ({}, 'has neither "prompt" nor "messages"; for other fields use --template'),
    ({"text": "a"}, 'has neither "prompt" nor "messages"'),
    ({"prompt": ""}, "prompt is not text, or is empty"),
    ({"prompt": " \n\t\u3000"}, "prompt is not text, or is empty"),
    ({"prompt": None}, 'has neither "prompt" nor "messages"'),
    ({"prompt": 5}, "prompt is not text"),
    ({"prompt": ["a"]}, "prompt is not text"),
    (b'{"prompt": "first", "prompt": ""}', "prompt is not text, or is empty"),  # the last counts
    ({"messages": None}, 'has neither "prompt" nor "messages"'),
    ({"messages": []}, "messages is not a list with at least one message"),
    ({"messages": {}}, "messages is not a list"),
    ({"messages": "hello"}, "messages is not a list"),
    ({"messages": ["hello"]}, 'a message is not an object with a "role"'),
    ({"messages": [{}]}, 'a message is not an object with a "role"'),
    ({"messages": [*USER, {"role": None}]}, 'a message is not an object with a "role"'),
    ({"messages": [{"content": "a"}]}, 'a message is not an object with a "role"'),
    ({"prompt": "a", "id": 1.5}, "id is neither text nor a whole number"),
    ({"prompt": "a", "id": True}, "id is neither text nor a whole number"),
    ({"prompt": "a", "id": [1]}, "id is neither text nor a whole number"),
    ({"prompt": "a", "custom_id": {}}, "id is neither text nor a whole number"),
    ({"prompt": "a", "model": 5}, "model is not text"),
    ({"prompt": "a", "model": ""}, "model is not text, or is empty"),
    ({"prompt": "a", "system": 5}, "system is not text"),
    ({"prompt": "a", "system": ["a"]}, "system is not text"),
    ({"prompt": "a", "max_tokens": "5"}, "max_tokens: expected int | null, got str"),
    ({"prompt": "a", "max_tokens": 1.5}, "max_tokens: expected int | null, got float"),
    ({"prompt": "a", "temperature": "hot"}, "temperature: expected float | null, got str"),
    ({"prompt": "a", "temperature": True}, "temperature: expected float | null, got bool"),
    ({"prompt": "a", "top_p": []}, "top_p: expected float | null, got array"),
    ({"prompt": "a", "seed": "1"}, "seed: expected int | null, got str"),
    ({"prompt": "a", "stop": 5}, "stop: expected array | null, got int"),
    ({"prompt": "a", "stop": [5]}, "stop[0]: expected str, got int"),
    ({"prompt": "a", "tools": {}}, "tools: expected array | null, got object"),
    ({"prompt": "a", "response_format": "json"}, "response_format: expected object | null"),
    # lines of a batch file
    (BATCH | {"body": "x"}, "body is not an object"),
    (BATCH | {"body": None}, 'has neither "prompt" nor "messages"'),
    (BATCH | {"body": {}}, "body has no messages"),
    (BATCH | {"body": {"prompt": "a"}}, "body has no messages"),
    (BATCH | {"body": {"messages": []}}, "messages is not a list with at least one"),
    (BATCH | {"body": {"messages": USER, "stream": True}}, "stream and n are not supported"),
    (BATCH | {"body": {"messages": USER, "n": 2}}, "stream and n are not supported"),
    (
        BATCH | {"url": "/v1/embeddings", "body": {"messages": USER}},
        "/v1/embeddings is no chat completion; llmscale embed answers it",
    ),
    (BATCH | {"method": "GET", "body": {"messages": USER}}, "only POST /v1/chat/completions"),
    (BATCH | {"custom_id": 1.5, "body": {"messages": USER}}, "id is neither text nor"),
]


def shortened(fields: object) -> str:
    return repr(fields)[:60]


@pytest.mark.parametrize(("fields", "complaint"), BAD_ROWS, ids=shortened)
def test_a_bad_row_says_where_it_is_and_what_is_wrong(fields: object, complaint: str) -> None:
    assert complaint in complaint_of(fields)


def test_a_bad_row_keeps_its_id() -> None:
    assert parse({"id": "a", "prompt": 5}).id == "a"
    assert parse({"id": [], "prompt": "hello"}).id is None


def test_a_template_that_needs_a_field_makes_a_row_without_it_a_bad_one() -> None:
    complaint = complaint_of({"a": "x"}, template="{a} {b}")
    assert complaint == "the template needs a field 'b'; the row has a"
    complaint = complaint_of({"a": None}, template="{a}")
    assert complaint == "the template needs a field 'a', which is null"


def test_a_system_message_is_filled_from_the_row() -> None:
    request = request_of({"prompt": "hello", "city": "Bonn"}, system='In {city}: {"a": 1} {{x}}')
    assert request.messages[0]["content"] == 'In Bonn: {"a": 1} {x}'
    assert complaint_of({"prompt": "a"}, system="In {city}") == (
        "--system needs a field 'city'; the row has prompt"
    )


UGLY_ROWS = [
    b'{"prompt": "\\u0000 \\u001b[31m \\u202e"}',
    b'{"prompt": "a\xe2\x80\xa8b"}',
    b'{"prompt": "a", "seed": 9223372036854775808}',
    b'{"prompt": "a", "metadata": 18446744073709551616}',
    b'{"prompt": "a", "prompt": "b"}',
    b'{"prompt": "a", "metadata": ' + nested(MAX_LEVELS - 1) + b"}",
    b'{"prompt": "' + b"[" * 2000 + b'"}',
    b' \t{"prompt": "a"}\r',
    rb'{"prompt": "\ud83d\ude00"}',
]


@pytest.mark.parametrize("raw", UGLY_ROWS, ids=shortened)
def test_an_ugly_row_that_is_right_is_asked_and_can_be_written_again(raw: bytes) -> None:
    row = parse(raw)
    assert row.request is not None
    assert loads(dumps([row.request.messages, row.metadata]))


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**64), 10**30])
def test_whole_numbers_of_any_length_come_out_as_they_were_written(number: int) -> None:
    raw = b'{"prompt": "a", "id": %d, "metadata": {"n": [%d]}}' % (number, number)
    line = encode(line_of(Outcome(row=parse(raw))), "llmscale")
    assert line.count(b"%d" % number) == 2
    filled = request_of(b'{"n": %d}' % number, template="{n}")
    assert filled.messages[0]["content"] == str(number)


@pytest.mark.parametrize("name", sorted(PASSED_FIELDS | REQUEST_FIELDS | {"system", "model"}))
def test_an_explicit_null_is_absence(name: str) -> None:
    assert request_of({"prompt": "hello", name: None}) == request_of({"prompt": "hello"})


def test_two_names_of_one_setting_are_one_and_that_of_the_row_counts() -> None:
    request = request_of({"prompt": "hello", "max_completion_tokens": 7}, max_tokens=100)
    assert (request.max_tokens, request.extra) == (7, None)
    param = {"max_completion_tokens": 100}
    request = request_of({"prompt": "hello", "max_tokens": 7}, param=param)
    assert (request.max_tokens, request.extra) == (7, None)


def test_a_whole_number_may_be_written_with_a_fraction() -> None:
    assert request_of({"prompt": "hello", "max_tokens": 256.0}).max_tokens == 256
    assert "max_tokens" in complaint_of({"prompt": "hello", "max_tokens": 256.5})


@pytest.mark.parametrize(
    "call",
    [
        {"method": "post"},
        {"method": None, "url": None},
        {"url": "/chat/completions"},
        {"url": "/v1/chat/completions/"},
        {"url": "https://api.example.com/v1/chat/completions"},
        {"url": "/openai/deployments/x/chat/completions?api-version=1"},
    ],
)
def test_a_batch_line_may_name_its_call_in_other_ways(call: dict[str, Any]) -> None:
    assert request_of(BATCH | {"body": {"messages": USER}} | call).messages == USER


def test_the_model_of_a_batch_line_is_taken_literally() -> None:
    def resolve(model: str, *, is_literal: bool) -> str:
        return f"openai/{model}" if is_literal else model

    parser = ChatParser(MODEL, SamplingConfig(), resolve_model=resolve)
    body = {"messages": USER, "model": "openai/gpt-oss-20b"}
    row = parser.parse(0, line(BATCH | {"body": body}))
    assert row.request is not None
    assert row.request.model == "openai/openai/gpt-oss-20b"


def test_of_two_keys_with_one_name_the_last_counts() -> None:
    assert request_of(b'{"prompt": "a", "prompt": "hello"}').messages == USER


def test_fields_that_are_neither_sent_nor_kept_are_noted() -> None:
    parser = parser_of()
    parser.parse(0, line({"prompt": "a", "id": 1, "metadata": 1, "user": 1, "top_k": 1, "seed": 1}))
    assert not parser.ignored_fields
    parser.parse(0, line({"prompt": "a", "text": 1, "label": 1}))
    parser.parse(0, line({"prompt": "a", "text": 1, "stream": True}))
    assert parser.ignored_fields == {"text", "label", "stream"}


def test_what_is_noted_does_not_grow_with_the_input() -> None:
    parser = parser_of()
    for number in range(3):
        fields = {f"field {number} {i}": 0 for i in range(15)}
        parser.parse(0, line({"prompt": "a", **fields}))
    assert len(parser.ignored_fields) == MAX_IGNORED_FIELDS


SCALARS = [None, True, 0, -1, 1.5, 1e300, 2**63, 2**64 - 1, "", " ", "\x00", "\u2028"]
NESTED = [[], {}, [[]], [0], [None], ["x"], [{}], [{"role": 0}], [{"role": "user"}], {"a": 1}]
VALUES = st.text(max_size=5) | st.sampled_from([*SCALARS, *NESTED])
NAMES = "id custom_id prompt messages user model system metadata body url method role stream n"
FIELDS = st.sampled_from([*NAMES.split(), *sorted(REQUEST_FIELDS), "top_k", "unknown"])
ROWS = st.dictionaries(FIELDS, VALUES | st.dictionaries(FIELDS, VALUES, max_size=5), max_size=5)


def is_a_row(row: Row) -> bool:
    """Exactly one of request and failure, and a row that can be written."""
    assert orjson.dumps([row.id, row.user, row.metadata])
    return (row.request is None) != (row.failure is None)


@given(fields=ROWS)
def test_any_object_is_a_row(fields: dict[str, Any]) -> None:
    assert is_a_row(parse(fields))
    assert is_a_row(parse(fields, template="{prompt}"))


@given(raw=st.binary())
def test_any_bytes_are_a_row(raw: bytes) -> None:
    assert is_a_row(parse(raw))


@given(start=st.integers(0, 120), length=st.integers(0, 10), garbage=st.binary(max_size=10))
def test_any_damage_to_a_line_leaves_a_row(start: int, length: int, garbage: bytes) -> None:
    right = orjson.dumps(BATCH | {"body": {"messages": USER, "stop": ["x"], "seed": 5}})
    assert is_a_row(parse(right[:start] + garbage + right[start + length :]))
