"""Commands that take the flags of run, and command lines that are made of them."""

import shlex
from typing import Any

import pytest
from typer.testing import CliRunner

from llmscale.cli import app
from llmscale.cli.shared_flags import TAKEN, command_line


def flags_of(command: str) -> str:
    return CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output


@pytest.mark.parametrize("command", ["estimate", "plan"])
def test_a_command_has_the_flags_of_run_with_their_words(command: str) -> None:
    run, ours = (flags_of(name).split("Options:")[1] for name in ("run", command))
    told = {line.strip() for line in run.splitlines()}
    shared = [line.strip() for line in ours.splitlines() if line.strip() in told]
    assert len([line for line in shared if line.startswith("-")]) > len(TAKEN)


def test_flags_that_were_given_come_again_in_a_command_line() -> None:
    flags: dict[str, Any] = {
        "inputs": ["a b.jsonl", "c.jsonl"],
        "model": "openai/m",
        "stop": ["x", "y"],
        "adaptive": False,
        "cache_mode": "read",
        "seed": 0,
        "quiet": True,
    }
    assert shlex.split(command_line("run", flags)) == [
        *("llmscale", "run", "a b.jsonl", "c.jsonl", "--model", "openai/m"),
        *("--stop", "x", "--stop", "y", "--no-adaptive", "--cache", "read", "--seed", "0"),
    ]


def test_other_flags_stand_in_their_place_or_beside_them() -> None:
    flags = {"inputs": ["in.jsonl"], "limit": 5, "rpm": "10/s"}
    assert command_line("run", flags, limit=None, max_cost=2.5) == (
        "llmscale run in.jsonl --rpm 10/s --max-cost 2.5"
    )
    assert command_line("run", flags, limit=50).endswith("--limit 50 --rpm 10/s")


def test_a_command_gets_only_what_it_takes() -> None:
    flags = {"inputs": ["in.jsonl"], "report": "r.json", "cache_dir": "c", "model": "sim/a"}
    assert "--report" not in command_line("estimate", flags, sample=50)
    assert "--report r.json" in command_line("run", flags)
    assert command_line("cache export", flags, inputs=["x"]) == (
        "llmscale cache export --cache-dir c x"
    )
