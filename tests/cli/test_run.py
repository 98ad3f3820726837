"""`llmscale run` as a user has it: what goes in, what comes out, what is said on the way."""

import asyncio
import gzip
import re
import signal
from pathlib import Path
from subprocess import PIPE

import orjson
import pytest

from tests.cli.tool import (
    arrived,
    environment,
    lines_in,
    llmscale,
    on_a_terminal,
    on_a_terminal_of,
    prompts,
    read_rows,
    report_of,
    start,
    stop,
    wait_until,
    write_rows,
)
from tests.servers.chat import ChatServer, chat_process, expected_answer

SIM = ("--model", "sim/test")


def test_answers_go_to_the_current_folder_under_the_name_of_the_input(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_rows(elsewhere / "prompts.jsonl", prompts(3))
    ended = llmscale("run", "elsewhere/prompts.jsonl", *SIM, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert [row["index"] for row in read_rows(tmp_path / "prompts.results.jsonl")] == [0, 1, 2]
    assert report_of(tmp_path / "prompts.jsonl")["rows"]["answered"] == 3
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "prompts.report.json",
        "prompts.results.jsonl",
        "prompts.results.jsonl.job.json",
    ]


def test_every_answer_belongs_to_its_row_and_rows_are_in_input_order(tmp_path: Path) -> None:
    rows = prompts(200)
    write_rows(tmp_path / "in.jsonl", rows)
    with chat_process("--latency", 0.005, "--jitter", 0.005) as url:
        ended = llmscale(
            *("run", "in.jsonl", "-o", "out.jsonl", "--model", "openai/m", "--base-url", url),
            cwd=tmp_path,
        )
    assert ended.returncode == 0, ended.stderr
    answers = read_rows(tmp_path / "out.jsonl")
    assert [row["index"] for row in answers] == list(range(200))
    for row, answer in zip(rows, answers, strict=True):
        asked = [{"role": "user", "content": row["prompt"]}]
        assert answer["output"] == expected_answer("m", asked)


def test_faults_of_the_server_are_retried_until_every_row_is_answered(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(100))
    with chat_process("--faults", "500:0.1,reset:0.05,cut:0.05,html:0.05", "--seed", 3) as url:
        ended = llmscale(
            *("run", "in.jsonl", "-o", "out.jsonl", "--model", "openai/m", "--base-url", url),
            *("--max-attempts", 12),
            cwd=tmp_path,
        )
    assert ended.returncode == 0, ended.stderr
    report = report_of(tmp_path / "out.jsonl")
    assert report["calls"]["attempts"] == 100 + sum(report["calls"]["failures"].values())
    assert set(report["calls"]["failures"]) == {"server_error", "connection", "bad_response"}


def test_fields_of_a_row_win_over_flags(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "max_tokens": 3}, {"prompt": "b"}]
    write_rows(tmp_path / "in.jsonl", rows)
    llmscale("run", "in.jsonl", "-o", "out.jsonl", *SIM, "--max-tokens", 5, cwd=tmp_path)
    used = [row["usage"]["output_tokens"] for row in read_rows(tmp_path / "out.jsonl")]
    assert used == [3, 5]


async def test_every_sampling_flag_reaches_the_server(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(1))
    schema = {"type": "object"}
    (tmp_path / "s.json").write_bytes(orjson.dumps(schema))
    flags = (
        *("--max-tokens", 7, "--temperature", 0, "--top-p", 0.5, "--seed", 11),
        *("--stop", "X", "--stop", "Y", "--system", "be kind", "--param", "top_k=3"),
        *("--json-schema", "s.json"),
    )
    async with ChatServer() as server:
        to_server = ("--model", "openai/m", "--base-url", server.base_url, "--max-attempts", 1)
        await asyncio.to_thread(llmscale, "run", "in.jsonl", *to_server, *flags, cwd=tmp_path)
        body = server.requests[0].body
    expected = {
        "max_tokens": 7,
        "temperature": 0,
        "top_p": 0.5,
        "seed": 11,
        "stop": ["X", "Y"],
        "top_k": 3,
    }
    assert {name: body[name] for name in expected} == expected
    assert body["messages"][0] == {"role": "system", "content": "be kind"}
    assert body["response_format"]["json_schema"]["schema"] == schema


def test_an_answer_that_does_not_fit_the_schema_is_a_failed_row(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(1))
    (tmp_path / "s.json").write_text('{"type": "object"}')
    ended = llmscale(
        "run", "in.jsonl", "-o", "o.jsonl", *SIM, "--json-schema", "s.json", cwd=tmp_path
    )
    (row,) = read_rows(tmp_path / "o.jsonl")
    assert ended.returncode == 1
    assert row["error"]["type"] == "schema_mismatch"
    assert row["output"] is None
    assert row["usage"]["output_tokens"] > 0  # it was paid for


def test_standard_input_to_standard_output_streams_in_completion_order(tmp_path: Path) -> None:
    lines = "".join(orjson.dumps(row).decode() + "\n" for row in prompts(5))
    ended = llmscale("run", "-", "-o", "-", *SIM, cwd=tmp_path, stdin=lines)
    assert ended.returncode == 0, ended.stderr
    rows = [orjson.loads(line) for line in ended.stdout.splitlines()]
    assert sorted(row["index"] for row in rows) == [0, 1, 2, 3, 4]
    assert list(tmp_path.iterdir()) == []


def test_a_row_is_streamed_while_standard_input_is_still_open(tmp_path: Path) -> None:
    process = start("run", "-", "-o", "-", *SIM, "--quiet", cwd=tmp_path, stdin=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write('{"prompt": "first"}\n')
    process.stdin.flush()
    assert orjson.loads(process.stdout.readline())["index"] == 0
    assert process.communicate("", timeout=20) == ("", "")
    assert process.wait() == 0


def test_standard_input_to_a_file_is_a_job_like_any_other(tmp_path: Path) -> None:
    lines = "".join(orjson.dumps(row).decode() + "\n" for row in prompts(5))
    first = llmscale("run", "-", "-o", "out.jsonl", *SIM, cwd=tmp_path, stdin=lines)
    again = llmscale("run", "-", "-o", "out.jsonl", *SIM, cwd=tmp_path, stdin=lines)
    other = llmscale("run", "-", "-o", "out.jsonl", *SIM, cwd=tmp_path, stdin=lines[1:])
    assert (first.returncode, again.returncode, other.returncode) == (0, 0, 2)
    assert "nothing to do" in again.stderr
    assert "stdin has changed" in other.stderr
    assert not list(tmp_path.glob("*.stdin.*"))


def test_gzip_and_globs_are_read_as_one_input(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"id": "b", "prompt": "2"}\n'))
    write_rows(tmp_path / "a.jsonl", [{"id": "a", "prompt": "1"}])
    ended = llmscale("run", "*.jsonl*", "-o", "out", *SIM, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert [row["id"] for row in read_rows(tmp_path / "out")] == ["a", "b"]


def test_an_empty_input_is_a_finished_job(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("")
    ended = llmscale("run", "in.jsonl", "-o", "out.jsonl", *SIM, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_failed_rows_are_tried_again_and_answered_ones_are_not(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(40))
    ledger = tmp_path / "ledger"
    run = ("run", "in.jsonl", "-o", "out.jsonl", "--model", "openai/m", "--max-attempts", 1)
    with chat_process("--faults", "500:0.3", "--seed", 1) as url:
        first = llmscale(*run, "--base-url", url, cwd=tmp_path)
    failed = {row["index"] for row in read_rows(tmp_path / "out.jsonl") if row["error"]}
    with chat_process("--ledger", ledger) as url:
        second = llmscale(*run, "--base-url", url, cwd=tmp_path)
    assert (first.returncode, second.returncode) == (1, 0)
    assert 0 < len(failed) < 40
    assert len(arrived(ledger)) == len(failed)
    assert all(row["error"] is None for row in read_rows(tmp_path / "out.jsonl"))


def test_the_limit_can_be_raised_and_pays_only_for_the_new_rows(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(10))
    run = ("run", "in.jsonl", "-o", "out.jsonl", *SIM)
    llmscale(*run, "--limit", 4, cwd=tmp_path)
    assert lines_in(tmp_path / "out.jsonl") == 4
    ended = llmscale(*run, cwd=tmp_path)
    report = report_of(tmp_path / "out.jsonl")
    assert ended.returncode == 0, ended.stderr
    assert lines_in(tmp_path / "out.jsonl") == 10
    assert (report["rows"]["kept"], report["calls"]["attempts"]) == (4, 6)


async def test_a_dry_run_reads_everything_and_sends_nothing(tmp_path: Path) -> None:
    rows = [*prompts(2), {"nothing": 1}]
    write_rows(tmp_path / "in.jsonl", rows)
    async with ChatServer() as server:
        to_server = ("--model", "openai/m", "--base-url", server.base_url)
        ended = llmscale("run", "in.jsonl", *to_server, "--dry-run", cwd=tmp_path)
        assert server.requests == []
    assert ended.returncode == 1
    assert "3, of which 1 can't be used" in ended.stdout
    assert "in.jsonl line 3" in ended.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_quiet_prints_nothing_and_json_logs_are_json(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(2))
    quiet = llmscale("run", "in.jsonl", "-o", "a", *SIM, "--quiet", cwd=tmp_path)
    in_json = llmscale("run", "in.jsonl", "-o", "b", *SIM, "--log-format", "json", cwd=tmp_path)
    assert (quiet.stdout, quiet.stderr) == ("", "")
    entries = [orjson.loads(line) for line in in_json.stderr.splitlines()]
    assert entries
    assert all({"time", "level", "message"} <= entry.keys() for entry in entries)


def test_a_terminal_gets_a_bar_and_a_table(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(8))
    slow = ("--model", "sim/latency=0.1", "--concurrency", 2)
    code, seen = on_a_terminal("run", "in.jsonl", *slow, cwd=tmp_path)
    assert code == 0
    assert "8/8" in seen
    assert "answered" in seen
    assert "p99 s" in seen


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_bar_and_table_fit_the_terminal_and_show_what_has_failed(
    columns: int, tmp_path: Path
) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(20))
    run = ("run", "in.jsonl", "--model", "sim/latency=0.1,error_rate=0.5,seed=1")
    given = environment(TERM="xterm")
    _, seen = on_a_terminal_of(
        columns, (*run, "--max-attempts", 1, "--concurrency", 2), tmp_path, given
    )
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "\n", seen))
    bars = [line for line in lines if re.search(r"\|.{2,}\| 20/20 \[", line)]
    assert bars
    assert max(map(len, bars)) <= columns
    assert all(re.search(r", [1-9]\d* failed.*\]$", bar) for bar in bars)
    assert "…" not in seen


@pytest.mark.parametrize("shape", ["llmscale", "openai-batch"])
def test_the_shape_of_the_output_can_be_forced(tmp_path: Path, shape: str) -> None:
    write_rows(tmp_path / "in.jsonl", [{"id": "a", "prompt": "x"}])
    llmscale("run", "in.jsonl", "-o", "o", *SIM, "--output-format", shape, cwd=tmp_path)
    (row,) = read_rows(tmp_path / "o")
    assert ("custom_id" in row) == (shape == "openai-batch")


def test_a_missing_engine_is_one_sentence_with_the_line_that_installs_it(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(1))
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "xllamacpp.py").write_text("raise ImportError")
    ended = llmscale("run", "in.jsonl", cwd=tmp_path, PYTHONPATH=str(tmp_path / "absent"))
    assert ended.returncode == 2
    assert 'pip install "llmscale[local]"' in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_job_in_progress_shows_its_rows_in_the_partial_file(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(20))
    slow = ("--model", "sim/latency=0.2", "--concurrency", 2)
    process = start("run", "in.jsonl", "-o", "o", *slow, cwd=tmp_path)
    wait_until(lambda: lines_in(tmp_path / "o.partial") >= 2)
    stop(process, signal.SIGKILL)
    assert not (tmp_path / "o").exists()
