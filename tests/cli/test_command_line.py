"""Command lines that are made of the options that were given."""

import shlex
from typing import Any

from llmscale.cli.command_line import command_line


def test_options_that_were_given_come_again_in_a_command_line() -> None:
    given: dict[str, Any] = {
        "inputs": ["a b.jsonl", "c.jsonl"],
        "model": "openai/m",
        "stop": ["x", "y"],
        "adaptive": False,
        "cache_mode": "read",
        "seed": 0,
        "quiet": True,
    }
    assert shlex.split(command_line("run", given)) == [
        *("llmscale", "run", "a b.jsonl", "c.jsonl", "--model", "openai/m"),
        *("--stop", "x", "--stop", "y", "--no-adaptive", "--cache", "read", "--seed", "0"),
    ]


def test_other_options_take_their_place_or_come_after_them() -> None:
    given = {"inputs": ["in.jsonl"], "limit": 5, "rpm": "10/s"}
    assert command_line("run", given, limit=None, max_cost=2.5) == (
        "llmscale run in.jsonl --rpm 10/s --max-cost 2.5"
    )
    assert command_line("run", given, limit=50).endswith("--limit 50 --rpm 10/s")


def test_a_command_gets_only_the_options_that_it_takes() -> None:
    given = {"inputs": ["in.jsonl"], "report": "r.json", "cache_dir": "c", "model": "sim/a"}
    assert "--report" not in command_line("estimate", given, sample=50)
    assert "--report r.json" in command_line("run", given)
    assert command_line("cache export", given, inputs=["x"]) == (
        "llmscale cache export --cache-dir c x"
    )
