"""The tool against odd servers: what is an answer counts, what is none is told and retried.

Each test is an item of what people have met, end to end.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cli.tool import Run, llmscale, read_rows
from tests.servers.odd import Odd, OddServer, chat, odd_server


def asked(folder: Path, server: OddServer, rows: int, *options: object) -> Run:
    """Ask rows of a server."""
    lines = [orjson.dumps({"id": n, "prompt": f"row {n}"}) for n in range(rows)]
    (folder / "in.jsonl").write_bytes(b"\n".join(lines))
    where = ("-m", "openai/m", "--base-url", server.base_url, "-o", "out.jsonl")
    return llmscale("run", "in.jsonl", *where, *options, cwd=folder, OPENAI_API_KEY="sk-test")


def prompt_of(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def report_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((folder / "out.report.json").read_bytes())
    return found


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("tool_calls", "tool_calls"),
        ("bored", "bored"),
    ],
)
def test_a_finish_reason_is_one_of_few_words_or_as_it_came(
    word: str, reason: str, tmp_path: Path
) -> None:
    with odd_server(lambda *_: Odd(chat(finish=word))) as server:
        ended = asked(tmp_path, server, 2, "--cache", "on", "--cache-dir", "c")
        again = asked(tmp_path, server, 2, "--cache", "on", "--cache-dir", "c", "--overwrite")
        calls = len(server.bodies)
    assert (ended.returncode, again.returncode) == (0, 0)
    assert [row["finish_reason"] for row in read_rows(tmp_path / "out.jsonl")] == [reason] * 2
    assert calls == (2 if reason in ("stop", "tool_calls") else 4), "only whole answers are stored"
    assert ended.stderr.count("unknown finish reason") == int(reason == "bored")


@pytest.mark.parametrize("word", ["error", "abort", "insufficient_system_resource"])
def test_an_answer_that_was_broken_off_is_retried(word: str, tmp_path: Path) -> None:
    def decide(_: dict[str, Any], call: int) -> Odd:
        return Odd(chat("half", word) if call == 1 else chat("whole"))

    with odd_server(decide) as server:
        ended = asked(tmp_path, server, 1)
    assert ended.returncode == 0
    (row,) = read_rows(tmp_path / "out.jsonl")
    assert (row["output"], row["attempts"]) == ("whole", 2)


@pytest.mark.parametrize("word", ["SAFETY", "content_filter", "refusal"])
def test_an_answer_that_was_withheld_is_a_failed_row(word: str, tmp_path: Path) -> None:
    with odd_server(lambda *_: Odd(chat("half", word))) as server:
        ended = asked(tmp_path, server, 1)
    assert ended.returncode == 1
    assert read_rows(tmp_path / "out.jsonl")[0]["error"]["type"] == "content_filter"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"message": "flagged", "code": 403, "metadata": {"reasons": ["x"]}}}, 403),
        (b"<html><title>Blocked by the firewall</title></html>", 403),
        ({"error": {"message": "no"}}, 401),
    ],
)
@pytest.mark.parametrize("bad", [0, 17])
def test_a_refusal_of_one_row_is_that_rows(
    body: Any, status: int, bad: int, tmp_path: Path
) -> None:
    def decide(request: dict[str, Any], _: int) -> Odd:
        time.sleep(0.01)
        return Odd(body, status) if prompt_of(request) == f"row {bad}" else Odd(chat())

    with odd_server(decide) as server:
        ended = asked(tmp_path, server, 40, "--concurrency", 8)
    assert ended.returncode == 1
    failed = [row["id"] for row in read_rows(tmp_path / "out.jsonl") if row["error"]]
    assert failed == [bad]


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_for_every_row_stops_the_job(status: int, tmp_path: Path) -> None:
    with odd_server(lambda *_: Odd({"error": {"message": "bad key"}}, status)) as server:
        ended = asked(tmp_path, server, 200, "--concurrency", 8)
        calls = len(server.bodies)
    assert ended.returncode == 3
    assert calls <= 8
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("body", "waits_s"),
    [
        ({"error": {"code": 429, "details": [{"retryDelay": "1.2s"}]}}, 1.2),
        ({"error": {"message": "Rate limit reached. Please try again in 1.2s."}}, 1.2),
        ({"message": "Please retry after 1 seconds"}, 1.0),
    ],
)
def test_a_wait_that_the_body_names_is_kept_to(body: Any, waits_s: float, tmp_path: Path) -> None:
    times: list[float] = []

    def decide(_: dict[str, Any], call: int) -> Odd:
        times.append(time.monotonic())
        return Odd(body, 429) if call == 1 else Odd(chat())

    with odd_server(decide) as server:
        assert asked(tmp_path, server, 1).returncode == 0
    assert waits_s - 0.01 <= times[1] - times[0]


def test_no_row_fails_for_being_refused_often_while_others_are_answered(tmp_path: Path) -> None:
    let_in: list[float] = []

    def decide(_: dict[str, Any], __: int) -> Odd:
        now_s = time.monotonic()
        if sum(at > now_s - 0.5 for at in let_in) >= 10:
            return Odd({"error": {"message": "slow down"}}, 429)
        let_in.append(now_s)
        return Odd(chat())

    with odd_server(decide) as server:
        ended = asked(tmp_path, server, 80, "--concurrency", 40, "--max-attempts", 2)
    assert ended.returncode == 0, ended.stderr


def test_a_request_that_never_fits_fails_once_and_slows_nothing_down(tmp_path: Path) -> None:
    words = "Request too large for m on TPM: Limit 1000, Requested 2000."

    def decide(request: dict[str, Any], _: int) -> Odd:
        if prompt_of(request) == "row 3":
            return Odd({"error": {"message": words}}, 429)
        return Odd(chat())

    with odd_server(decide) as server:
        ended = asked(tmp_path, server, 20)
        calls = len(server.bodies)
    assert (ended.returncode, calls) == (1, 20)
    adaptive = next(iter(report_of(tmp_path)["endpoints"].values()))["limits"]["adaptive_rpm"]
    assert adaptive is None


@pytest.mark.parametrize(
    "words", ["You have reached your specified API usage limits.", "Your credit balance is too low"]
)
def test_a_used_up_account_stops_the_job_whatever_the_status(words: str, tmp_path: Path) -> None:
    with odd_server(lambda *_: Odd({"error": {"message": words}}, 400)) as server:
        ended = asked(tmp_path, server, 20)
    assert ended.returncode == 3
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("usage", "known"),
    [
        ({"prompt_tokens": 9.0, "completion_tokens": 2}, 9),
        ({"prompt_tokens": "9", "completion_tokens": 2, "prompt_tokens_details": []}, 9),
        ({"prompt_tokens": "many", "completion_tokens": 2}, None),
        ({"prompt_tokens": -1, "completion_tokens": 2}, None),
    ],
)
def test_odd_usage_never_costs_the_answer(usage: Any, known: int | None, tmp_path: Path) -> None:
    with odd_server(lambda *_: Odd(chat(usage=usage))) as server:
        ended = asked(tmp_path, server, 2)
        calls = len(server.bodies)
    assert (ended.returncode, calls) == (0, 2)
    rows = read_rows(tmp_path / "out.jsonl")
    assert [row["usage"]["input_tokens"] for row in rows] == [known] * 2
    assert ended.stderr.count("unreadable token counts") == int(known is None)


@pytest.mark.parametrize("usage", ["many", [1], 7])
def test_usage_that_is_no_object_is_null(usage: Any, tmp_path: Path) -> None:
    with odd_server(lambda *_: Odd(chat(usage=usage))) as server:
        assert asked(tmp_path, server, 1).returncode == 0
    assert read_rows(tmp_path / "out.jsonl")[0]["usage"] is None


def test_a_whole_completion_with_status_201_is_an_answer(tmp_path: Path) -> None:
    with odd_server(lambda *_: Odd(chat(), 201)) as server:
        assert asked(tmp_path, server, 1).returncode == 0


@pytest.mark.parametrize(
    "more",
    [
        {"function_call": {"name": "f", "arguments": "{}"}},
        {"audio": {"id": "a"}},
        {"images": [{"type": "image_url"}]},
        {"reasoning_content": "because"},
    ],
)
@pytest.mark.parametrize("output_format", ["llmscale", "openai-batch"])
def test_what_comes_beside_the_text_is_handed_out(
    more: dict[str, Any], output_format: str, tmp_path: Path
) -> None:
    with odd_server(lambda *_: Odd(chat(None, **more))) as server:
        ended = asked(tmp_path, server, 1, "--output-format", output_format)
        calls = len(server.bodies)
    assert (ended.returncode, calls) == (0, 1)
    line = orjson.loads((tmp_path / "out.jsonl").read_bytes())
    if output_format == "llmscale":
        assert line["extra"] == more
    else:
        message = line["response"]["body"]["choices"][0]["message"]
        assert message.items() >= more.items()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'data: {"choices": []}\n\ndata: [DONE]\n\n', "data: "),
        (b"<html><h1>Model is asleep</h1></html>", "Model is asleep"),
        ({"object": "error", "message": "Model is asleep"}, "Model is asleep"),
        ({"detail": "Model is asleep"}, "Model is asleep"),
    ],
)
def test_what_is_no_answer_is_quoted(body: Any, words: str, tmp_path: Path) -> None:
    with odd_server(lambda *_: Odd(body)) as server:
        ended = asked(tmp_path, server, 1, "--max-attempts", 1)
    assert ended.returncode == 1
    message = read_rows(tmp_path / "out.jsonl")[0]["error"]["message"]
    assert words in message
    assert "\n" not in message


def test_a_run_that_nothing_answers_stops_soon_and_says_what_to_check(tmp_path: Path) -> None:
    server = OddServer("http://127.0.0.1:9/v1")
    began_s = time.monotonic()
    ended = asked(tmp_path, server, 500)
    assert time.monotonic() - began_s < 20
    assert ended.returncode == 3
    assert "nothing was answered" in ended.stderr
    assert "curl" in ended.stderr
    assert not (tmp_path / "out.jsonl").exists()


VECTOR = [0.5, -0.25, 1.0]


def embedded(folder: Path, server: OddServer, texts: int) -> Run:
    lines = [orjson.dumps({"id": n, "text": f"text {n}"}) for n in range(texts)]
    (folder / "in.jsonl").write_bytes(b"\n".join(lines))
    where = ("-m", "openai/e", "--base-url", server.base_url, "-o", "out.jsonl")
    return llmscale("embed", "in.jsonl", *where, cwd=folder, OPENAI_API_KEY="sk-test")


def vectors(request: dict[str, Any], **more: Any) -> dict[str, Any]:
    data = [{"embedding": VECTOR, "index": n} for n in range(len(request["input"]))]
    return {"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": 1}, **more}


NaN = {"error": {"message": "unsupported value: NaN"}}
TOO_LARGE = {"error": {"message": "input is too large to process. increase the batch size"}}


@pytest.mark.parametrize(
    "refused",
    [
        lambda _: Odd(NaN, 500),
        lambda _: Odd(TOO_LARGE, 500),
        lambda _: Odd({"error": "no"}, 400),
        lambda request: Odd(with_one(request, [0.0, 0.0, 0.0])),
        lambda request: Odd(with_one(request, None)),
    ],
    ids=["NaN", "too large", "400", "zero", "null"],
)
def test_one_bad_text_takes_no_other_along(
    refused: Callable[[dict[str, Any]], Odd], tmp_path: Path
) -> None:
    def decide(request: dict[str, Any], _: int) -> Odd:
        return refused(request) if "text 33" in request["input"] else Odd(vectors(request))

    with odd_server(decide) as server:
        ended = embedded(tmp_path, server, 50)
        calls = len(server.bodies)
    assert ended.returncode == 1
    assert [row["id"] for row in read_rows(tmp_path / "out.jsonl") if row["error"]] == [33]
    assert calls <= 13


def with_one(request: dict[str, Any], vector: Any) -> dict[str, Any]:
    """Return vectors of which that of the bad text is none."""
    found = vectors(request)
    found["data"][request["input"].index("text 33")]["embedding"] = vector
    return found


def test_vectors_without_an_index_are_placed_by_their_order(tmp_path: Path) -> None:
    def decide(request: dict[str, Any], _: int) -> Odd:
        data = [{"embedding": [float(text.split()[1]) + 1, 0.5]} for text in request["input"]]
        return Odd({"data": data, "model": "e"})

    with odd_server(decide) as server:
        assert embedded(tmp_path, server, 60).returncode == 0
    rows = read_rows(tmp_path / "out.jsonl")
    assert [row["vector"][0] for row in rows] == [n + 1 for n in range(60)]


def test_a_server_that_refuses_base64_is_asked_without_it_from_then_on(tmp_path: Path) -> None:
    def decide(request: dict[str, Any], _: int) -> Odd:
        if "encoding_format" in request:
            return Odd({"error": {"message": "unknown field: encoding_format"}}, 400)
        return Odd(vectors(request))

    with odd_server(decide) as server:
        assert embedded(tmp_path, server, 200).returncode == 0
        refused = sum("encoding_format" in body for body in server.bodies)
        calls = len(server.bodies)
    assert calls - refused == 4
    assert refused <= 4


def test_a_model_with_a_providers_name_in_it_is_meant_literally_for_a_gateway(
    tmp_path: Path,
) -> None:
    body = {"model": "openai/gpt-oss-20b", "messages": [{"role": "user", "content": "hi"}]}
    line = {"custom_id": "a", "method": "post", "url": "/chat/completions", "body": body}
    (tmp_path / "in.jsonl").write_bytes(orjson.dumps(line))
    with odd_server(lambda *_: Odd(chat())) as server:
        where = ("-m", "openai/x", "--base-url", server.base_url, "-o", "out.jsonl")
        ended = llmscale("run", "in.jsonl", *where, cwd=tmp_path, OPENAI_API_KEY="sk-test")
    assert ended.returncode == 0, ended.stderr
    assert server.bodies[0]["model"] == "openai/gpt-oss-20b"
    out = orjson.loads((tmp_path / "out.jsonl").read_bytes())
    assert out["response"]["body"]["model"] == "openai/gpt-oss-20b"
