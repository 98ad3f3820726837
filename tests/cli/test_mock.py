"""`llmscale mock` as a user has it: its streams and its endings, and the tool against it."""

import signal
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli.mock_server import mock
from tests.cli.tool import Run, llmscale, prompts, read_rows, report_of, start, write_rows
from tests.platforms import FULL_DEVICE, needs_full_device
from tests.servers.chat import expected_answer

CANARY = "sk-canary-0123456789abcdef"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_its_url_is_all_of_stdout_and_its_summary_all_of_stderr(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with mock(cwd=tmp_path) as server:
        ended = server.stop(number)
    assert server.base_url.startswith("http://127.0.0.1:")
    assert server.base_url.endswith("/v1")
    assert ended.returncode == code
    assert ended.stdout == ""  # behind the line
    assert ended.stderr == "0 calls: 0 answered, 0 refused, 0 faults\n"


def test_the_port_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with mock("--port", port, cwd=tmp_path) as server:
        assert server.base_url == f"http://127.0.0.1:{port}/v1"
        second = llmscale("mock", "--port", port, cwd=tmp_path)
    assert second.returncode == 2
    assert f"port {port} of 127.0.0.1 is in use; choose another" in second.stderr
    assert len(second.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--port", "70000"), "--port: invalid number '70000'; write an integer from 0 to 65535"),
        (("--port", "x"), "--port: invalid number 'x'"),
        (("--seed", "-1"), "--seed: invalid number '-1'"),
        (("--latency", "soon"), "--latency: invalid time 'soon'; write seconds"),
        (("--error-rate", "10"), "--error-rate: invalid share '10'; write a number from 0 to 1"),
        (("--rpm", "many"), "--rpm: invalid rate 'many'"),
        (("--capacity", "0"), "--capacity: invalid number '0'; write an integer from 1"),
        (("--error-rate", "0.7", "--cut-body", "0.7"), "exceed all calls"),
        (("--slow-tail", "0.1"), "--slow-tail needs a latency or a jitter"),
        (("--scenario", "none.toml"), "can't read the scenario none.toml"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_exit_code_2(
    tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    ended = llmscale("mock", *options, cwd=tmp_path)
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stdout == ""


@pytest.mark.parametrize(
    "file", ["nowhere/ledger", pytest.param(FULL_DEVICE, marks=needs_full_device)]
)
def test_a_ledger_that_can_not_be_written_is_exit_code_5(tmp_path: Path, file: str) -> None:
    ended = llmscale("mock", "--ledger", file, cwd=tmp_path)
    assert ended.returncode == 5
    assert f"can't write the ledger {file}: No " in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@needs_full_device
def test_stdout_that_can_not_be_written_is_exit_code_5(tmp_path: Path) -> None:
    with Path(FULL_DEVICE).open("wb") as full:
        process = start("mock", cwd=tmp_path, stdout=full.fileno())
        _, said = process.communicate(timeout=20)
    assert process.wait() == 5
    assert "No space left" in said


ROWS = 200
LOWER = 150  # requests a minute: than the tool's limit, and than what it has in flight
IN_FLIGHT = 170
LIMITED_S = 2  # long enough for a slow start of the tool


def calls_of(ledger: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows = read_rows(ledger)
    return [r for r in rows if r["event"] == "arrived"], [r for r in rows if r["event"] == "ended"]


def test_a_run_against_faults_and_a_lower_limit_answers_every_row(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(ROWS))
    (tmp_path / "night.toml").write_text(
        f"[[phase]]\nuntil_s = {LIMITED_S}\nrpm = {LOWER}\nretry_after = 0.5\n"
        f"[[phase]]\nfrom_s = {LIMITED_S}\nrpm = 60000\n"
    )
    faults = ("--error-rate", 0.1, "--cut-body", 0.05, "--seed", 5, "--latency", 0.3)
    where = ("--scenario", "night.toml", "--ledger", "ledger")
    with mock(*faults, *where, cwd=tmp_path) as server:
        ended = llmscale(
            *("run", "in.jsonl", "-o", "out.jsonl", "--model", "openai/m", "--rpm", 60_000),
            *("--base-url", server.base_url, "--concurrency", IN_FLIGHT, "--no-adaptive"),
            cwd=tmp_path,
            OPENAI_API_KEY=CANARY,
        )
        ended_s = time.time()
        time.sleep(0.5)  # in which nothing may arrive any more
        stopped = server.stop()
    assert ended.returncode == 0, ended.stderr
    arrived, endings = calls_of(tmp_path / "ledger")

    answers = [row["output"] for row in read_rows(tmp_path / "out.jsonl")]
    questions = [[{"role": "user", "content": row["prompt"]}] for row in prompts(ROWS)]
    assert answers == [expected_answer("m", question) for question in questions]
    answered = Counter(row["key"] for row in endings if row["answered"])
    assert set(answered) == {answer.removeprefix("A:") for answer in answers}
    assert set(answered.values()) == {1}  # paid once

    report = report_of(tmp_path / "out.jsonl")
    assert len(arrived) == len(endings) == report["calls"]["attempts"]
    assert {row["fault"] for row in endings} == {None, "error", "cut"}
    statuses = Counter(row["status"] for row in endings)
    assert statuses[429] > 0
    assert statuses[200] + statuses[500] + statuses[429] == len(endings)
    assert max(row["time_s"] for row in arrived) < ended_s
    assert_limited(arrived, endings)
    assert_summary(stopped, endings)
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert CANARY.encode() not in written
    assert CANARY not in stopped.stdout + stopped.stderr + ended.stdout + ended.stderr
    assert all(row["authorization"] for row in arrived)


def assert_limited(arrived: list[dict[str, Any]], endings: list[dict[str, Any]]) -> None:
    """The phase of few calls let through as many as it may, and no more."""
    refused = {row["call"] for row in endings if row["status"] == 429}
    last_s = max(row["time_s"] for row in arrived if row["call"] in refused)
    through = [row for row in arrived if row["call"] not in refused and row["time_s"] <= last_s]
    assert len(through) <= LOWER


def assert_summary(stopped: Run, endings: list[dict[str, Any]]) -> None:
    answered = sum(row["answered"] for row in endings)
    faults = sum(row["fault"] is not None for row in endings)
    refused = len(endings) - answered - faults
    assert stopped.stderr == (
        f"{len(endings)} calls: {answered} answered, {refused} refused, {faults} faults\n"
    )


def test_texts_are_embedded_against_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One text.\n")
    with mock("--error-rate", 0.3, cwd=tmp_path) as server:
        ended = llmscale(
            *("embed", "a.txt", "-o", "out.jsonl", "--model", "openai/e"),
            *("--base-url", server.base_url),
            cwd=tmp_path,
        )
    assert ended.returncode == 0, ended.stderr
    assert read_rows(tmp_path / "out.jsonl")
