"""Lines to standard output as they come, until the reader closes the pipe."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import orjson
import pytest
from msgspec.structs import replace

from llmscale.core.choices import OutputFormat
from llmscale.core.errors import Interrupted, StorageError
from llmscale.core.output_line import line_of, to_batch
from llmscale.job.stdout import StdoutSink
from tests.job import full, outcome


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Return the two ends of a pipe: to read from, to write to."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb") as writer:
        yield reader, writer


Pipe = tuple[IO[bytes], IO[bytes]]


def sink_to(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, output_format: OutputFormat = "llmscale"
) -> StdoutSink:
    monkeypatch.setattr(sys, "stdout", pipe[1])
    return StdoutSink(output_format)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_on_a_terminal_it_is_the_same_json_with_escapes_for_what_could_steer_it(
    is_terminal: bool, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "isatty", lambda descriptor: is_terminal)
    steering = "\x1b[2J\x9b2J\x7f\u202e"
    said = outcome(0)
    assert said.reply is not None
    sink_to(pipe, monkeypatch).put([replace(said, reply=replace(said.reply, text=steering))])
    line = pipe[0].readline().decode()
    assert orjson.loads(line)["output"] == steering
    assert ("\x9b" in line) is not is_terminal
    assert ("\u202e" in line) is not is_terminal


@pytest.mark.parametrize("output_format", ["llmscale", "openai-batch"])
def test_a_line_is_there_when_put_returns(
    output_format: OutputFormat, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sink_to(pipe, monkeypatch, output_format)
    for index in (2, 0):
        sink.take_up(1)
        sink.put([outcome(index, failed=index == 0)])
        line = line_of(outcome(index, failed=index == 0))
        shaped = line if output_format == "llmscale" else to_batch(line)
        assert orjson.loads(pipe[0].readline()) == shaped
    sink.put_back()


def test_a_group_is_one_write(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    def write(_: int, content: bytes) -> int:
        written.append(content)
        return len(content)

    sink = sink_to(pipe, monkeypatch)
    monkeypatch.setattr(os, "write", write)
    sink.put([outcome(2), outcome(0)])
    (lines,) = written
    assert [orjson.loads(line) for line in lines.splitlines()] == [
        line_of(outcome(2)),
        line_of(outcome(0)),
    ]


def test_a_line_that_is_taken_in_pieces_is_whole(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sink_to(pipe, monkeypatch)
    really = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: really(descriptor, content[:7]))
    sink.put([outcome(1)])
    assert orjson.loads(pipe[0].readline()) == line_of(outcome(1))


def test_a_reader_that_has_gone_ends_the_run_like_a_signal(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sink_to(pipe, monkeypatch)
    pipe[0].close()
    with pytest.raises(Interrupted, match="stdout was closed by its reader") as caught:
        sink.put([outcome(1)])
    assert caught.value.exit_code == 141


def test_what_can_not_be_written_is_a_sentence(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = sink_to(pipe, monkeypatch)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="can't write to standard output: No space left"):
        sink.put([outcome(1)])


def llmscale(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    environ = {n: v for n, v in os.environ.items() if not n.startswith("LLMSCALE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "llmscale", "run", *arguments],
        cwd=folder,
        env=environ | {"XDG_CACHE_HOME": str(folder / "cache")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def prompts(count: int) -> str:
    return "".join(f'{{"id": {index}, "prompt": "prompt {index}"}}\n' for index in range(count))


def test_head_ends_the_run_with_141_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(prompts(5000))
    model = ("--model", "sim/latency=0.002", "--concurrency", "4")
    with llmscale(tmp_path, "in.jsonl", *model, "-o", "-") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "prompt" not in orjson.loads(process.stdout.readline())
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=20) == 141
    assert "stdout was closed by its reader" in said
    assert "Traceback" not in said
    assert "to resume" not in said, "nothing is kept"


def test_a_stream_answers_a_row_before_the_next_is_written(tmp_path: Path) -> None:
    """So that it can stand in a pipe between two programs that talk."""
    with llmscale(tmp_path, "-", "--model", "sim/a", "-o", "-", "-q") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        impatient = threading.Timer(20, process.kill)
        impatient.start()
        for line in prompts(3).splitlines(keepends=True):
            process.stdin.write(line)
            process.stdin.flush()
            assert orjson.loads(process.stdout.readline())["id"] == orjson.loads(line)["id"]
        process.stdin.close()
        assert process.wait(timeout=20) == 0
        impatient.cancel()
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []
