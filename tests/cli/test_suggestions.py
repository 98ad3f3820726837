"""What an option or a command that does not exist is answered with."""

import re
from pathlib import Path

import pytest

from llmscale.cli.suggestions import (
    ADVICE,
    COMMANDS,
    OPTIONS,
    unknown_command,
    unknown_option,
)
from tests.cli.help_pages import command_names, flags_of
from tests.cli.tool import llmscale

EVERY_FLAG = {flag for command in command_names() for flag in flags_of(command)}


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("--schema", "did you mean --json-schema?"),
        ("--max-retries", "did you mean --max-attempts (attempts = retries + 1)?"),
        ("--budget", "did you mean --max-cost?"),
        ("--workers", "did you mean --concurrency?"),
        ("--parallel", "did you mean --concurrency?"),
        ("--no-cache", "did you mean --cache off?"),
        ("--resume", "run the same command again: it resumes by itself"),
        ("--force", "did you mean --overwrite?"),
        ("--top-k", "did you mean --param top_k=N?"),
        ("--out", "did you mean --output?"),
        ("-j", "did you mean --concurrency?"),
        ("--prompt", "prompts are the rows of a file, or of standard input as -"),
        ("--concurency", "did you mean --concurrency?"),
        ("--temper", "did you mean --temperature?"),
        ("--qqqqqq", "see `llmscale run --help`"),
    ],
)
def test_an_unknown_option_names_what_it_is_here(word: str, meant: str) -> None:
    said = unknown_option(word, flags_of("run"), "llmscale run")
    assert said == f"unknown option {word}; {meant}"


def test_a_word_means_an_option_that_the_command_has() -> None:
    assert "did you mean -k?" in unknown_option("--top-k", flags_of("search"), "llmscale search")
    said = unknown_option("--schema", flags_of("embed"), "llmscale embed")
    assert said == "unknown option --schema; see `llmscale embed --help`"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("batch", "did you mean `llmscale run`?"),
        ("embeddings", "did you mean `llmscale embed`?"),
        ("dry-run", "did you mean `llmscale run --dry-run`?"),
        ("version", "did you mean `llmscale --version`?"),
        ("verfy", "did you mean `llmscale verify`?"),
        ("prompts.jsonl", "did you mean `llmscale run prompts.jsonl`?"),
        ("docs/", "did you mean `llmscale embed docs/`?"),
        ("qqqqqq", "see `llmscale --help`"),
    ],
)
def test_an_unknown_command_names_the_one_that_is_meant(word: str, meant: str) -> None:
    said = unknown_command(word, command_names(), "llmscale")
    assert said == f"unknown command {word}; {meant}"


def test_what_is_suggested_exists_and_what_is_explained_does_not() -> None:
    for meant, words in OPTIONS.items():
        having = [
            name for name in ("", *command_names()) if meant.partition(" ")[0] in flags_of(name)
        ]
        assert having, meant
        for word in words:
            assert any(word not in flags_of(name) for name in having), f"{word} is an option"
    for words in ADVICE.values():
        assert not EVERY_FLAG & set(words)
    for meant, words in COMMANDS.items():
        group = "" if meant.partition(" ")[0] in command_names() else "cache"
        exist = {name.removeprefix(group).strip() for name in command_names(group)}
        assert meant.partition(" ")[0] in {*exist, "--version"}
        assert not exist & set(words)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["run", "x", "--max-retries=3"], "unknown option --max-retries; did you mean"),
        (["run", "x", "-j8"], "unknown option -j; did you mean --concurrency?"),
        (
            ["--model", "x", "run"],
            "option --model follows the command: `llmscale run INPUT --model ...",
        ),
        (["-v"], "unknown option -v; did you mean --version?"),
        (["--modle", "x", "run"], "unknown option --modle; see `llmscale --help`"),
        (["batch", "x"], "unknown command batch; did you mean `llmscale run`?"),
        (["cache", "purge"], "unknown command purge; did you mean `llmscale cache prune`?"),
        (["run"], "missing argument 'INPUT...'; see `llmscale run --help`"),
        (["run", "x", "--seed", "y"], "'y' is not a valid int; see `llmscale run --help`"),
        (["run", "x", "--model"], "option '--model' requires an argument; see `llmscale run"),
        (["run", "x", "--a\x1b[2J"], "unknown option --a\ufffd[2J; see"),
    ],
)
def test_a_command_line_that_is_wrong_gets_one_sentence(
    tmp_path: Path, line: list[str], said: str
) -> None:
    ended = llmscale(*line, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"error: .+\n", ended.stderr)
    assert said in ended.stderr
