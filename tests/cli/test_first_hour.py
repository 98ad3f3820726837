"""Mistakes of a first hour: each is one sentence that says what to do, with the right exit code."""

import socket
from pathlib import Path

import pytest

from tests.cli.tool import llmscale, prompts, write_rows
from tests.servers.chat import chat_process

SIM = ("-m", "sim/a")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.jsonl", prompts(3))
    (tmp_path / "empty").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("Some text.\n")
    write_rows(tmp_path / "v.jsonl", [{"vector": [1.0], "model": "sim/a"}])
    return tmp_path


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("in.jsonl",), "unknown command in.jsonl; did you mean `llmscale run in.jsonl`?"),
        (("run", "-h"), "unknown option -h; did you mean --help?"),
        (("-V",), "unknown option -V; did you mean --version?"),
        (("run", "im.jsonl"), "there is no input im.jsonl; did you mean in.jsonl?"),
        (("run", "Why is the sky blue?"), "a prompt is a row of a file or of standard input"),
        (("run", "docs"), "docs is a folder; name its files: 'docs/*.jsonl'"),
        (("run", "in.jsonl", "-m", "gpt-4.1"), "did you mean openai/gpt-4.1?"),
        (("run", "in.jsonl", "-m", "openai"), "model 'openai' names no model; write one of"),
        (("run", "in.jsonl", "-m", "ollama/llama3"), "openai/llama3 with --base-url URL"),
        (
            ("run", "in.jsonl", "-m", "openai/gpt-4.1"),
            "set the environment variable OPENAI_API",
        ),
        (("run", "in.jsonl", *SIM, "-o", "in.jsonl"), "is both input and output; name another"),
        (("run", "in.jsonl", *SIM, "-o", "docs"), "docs is a folder; name a file with -o"),
        (("run", "in.jsonl", *SIM, "-o", "no/out.jsonl"), "no folder no for the output; create it"),
        (
            ("run", "in.jsonl", *SIM, "-o", ""),
            "--output is empty; give it a value, or leave",
        ),
        (("run", "in.jsonl", *SIM, "--report", "v.jsonl"), "v.jsonl exists and was not written by"),
        (("run", "in.jsonl", *SIM, "--limit", 0), "--limit must be at least 1, not 0"),
        (("run", "in.jsonl", *SIM, "--temperature", 3), "--temperature must be at most 2, not 3"),
        (("run", "in.jsonl", *SIM, "--fail-on", "error>5%"), "did you mean errors?"),
        (("run", "in.jsonl", *SIM, "--max-failures", "few"), "a number of rows such as 20, or a"),
        (("run", "in.jsonl", *SIM, "--max-errors", 5), "did you mean --max-failures?"),
        (("run", "in.jsonl", *SIM, "--allow-host", "http://x"), "'http://x' is no host"),
        (("embed", "nothing"), "there is no file or folder nothing"),
        (("embed", "docs", "-m", "text-embedding-3-small"), "mean openai/text-embedding-3-small?"),
        (("search", "v.jsonl", "a query"), "first: `llmscale search 'a query' v.jsonl`"),
        (("status", "in.jsonl"), "there is no job with the output in.jsonl; name the file that"),
        (("report", "in.jsonl"), "there is no report in.report.json; name the output of a run"),
        (("help", "runs"), "unknown topic runs; did you mean run?"),
        (("progress", "in.jsonl"), "did you mean `llmscale status`?"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    args: tuple[object, ...], sentence: str, folder: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    ended = llmscale(*args, cwd=folder)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert "error: " in line
    assert sentence in line
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_folder_without_files_to_embed_is_warned_of(folder: Path) -> None:
    ended = llmscale("embed", "empty", *SIM, cwd=folder)
    assert ended.returncode == 0
    assert "warning: no file to embed; `llmscale help embed` lists what is read" in ended.stderr


def test_a_page_replaces_only_a_page(folder: Path) -> None:
    assert llmscale("run", "in.jsonl", "-o", "out.jsonl", *SIM, cwd=folder).returncode == 0
    report = ("report", "out.jsonl", "--html")
    ended = llmscale(*report, "docs/a.md", cwd=folder)
    assert ended.returncode == 2
    assert "docs/a.md exists and is no page" in ended.stderr
    for _ in range(2):
        assert llmscale(*report, "page.html", cwd=folder).returncode == 0


def test_a_model_that_the_server_does_not_know_is_named(folder: Path) -> None:
    with chat_process("--faults", "404:1") as url:
        to_server = ("-m", "openai/typo", "--base-url", url, "--verbose")
        ended = llmscale("run", "in.jsonl", *to_server, cwd=folder)
    assert ended.returncode in (1, 3)
    assert "model_not_found" in ended.stderr


def test_a_server_that_is_not_there_is_said_in_the_words_of_the_system(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    write_rows(folder / "in.jsonl", prompts(40))
    address = ("--base-url", f"http://127.0.0.1:{port}/v1")
    ended = llmscale("run", "in.jsonl", "-m", "openai/m", *address, cwd=folder)
    assert ended.returncode == 3
    said = f"(no connection to 127.0.0.1:{port}: connection refused)"
    summary, error, resume = ended.stderr.splitlines()
    assert "0 of 40 rows answered" in summary
    assert "->" not in summary, "there is no row anywhere"
    assert said in error
    assert "to resume: llmscale run in.jsonl" in resume


@pytest.mark.parametrize(
    ("env", "advice"),
    [
        ({}, "no key was sent: set OPENAI_API_KEY, or name another variable with --api-key-env"),
        ({"OPENAI_API_KEY": "sk-0123456789abcdef"}, "check the key in OPENAI_API_KEY"),
    ],
)
def test_a_refused_key_is_told_with_the_variable_that_holds_it(
    env: dict[str, str], advice: str, folder: Path
) -> None:
    with chat_process("--faults", "401:1") as url:
        run = ("run", "in.jsonl", "-m", "openai/m", "--base-url", url)
        ended = llmscale(*run, cwd=folder, **env)
    assert ended.returncode == 3
    assert f"; {advice}\n" in ended.stderr
    assert "sk-0123456789abcdef" not in ended.stderr
