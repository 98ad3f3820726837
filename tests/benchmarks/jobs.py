"""The jobs that benchmarks and reliability runs give to the tool, and how they judge its answers.

Everything streams: a million rows are written and checked in a few megabytes.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.servers.chat import expected_answer

MODEL = "test"  # as the server sees it; the tool calls it openai/test


def prompt(index: int) -> str:
    """Return the prompt of a row; no two rows have the same."""
    return f"Question {index}: what is {index} plus {index % 97}?"


def write_prompts(
    path: Path, rows: int, first_model: str | None = None, metadata: str | None = None
) -> None:
    """Write a job of so many rows; the first may name a model of its own."""
    with path.open("wb") as file:
        for index in range(rows):
            row = {"prompt": prompt(index)}
            if metadata is not None:
                row["metadata"] = metadata
            if index == 0 and first_model is not None:
                row["model"] = first_model
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def right_answer(index: int) -> str:
    """Return what the chat server answers to a row."""
    return expected_answer(MODEL, [{"role": "user", "content": prompt(index)}])


def program() -> str:
    """Return the path of the tool: the one on PATH, else that of this interpreter."""
    found = shutil.which("llmscale") or shutil.which("llmscale", path=Path(sys.executable).parent)
    if found is None:
        raise SystemExit("llmscale is not installed: pip install -e .")
    return found


def run_command_line(base_url: str, *options: str) -> list[str]:
    """Return the command that runs `prompts.jsonl` of the current folder into `out.jsonl`."""
    return [
        *(program(), "run", "prompts.jsonl", "-o", "out.jsonl"),
        *("--model", "openai/" + MODEL, "--base-url", base_url, "--quiet", *options),
    ]


def environment(folder: Path) -> dict[str, str]:
    """Return an environment without the keys, settings and caches of whoever runs this.

    The cache of answers is off: `--cache` says otherwise. Python's own switches go too: without
    its bytecode, a program starts at half the speed.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith("_API_KEY") and not name.startswith(("LLMSCALE_", "PYTHON"))
    }
    return {**kept, "XDG_CACHE_HOME": str(folder / "cache"), "LLMSCALE_CACHE_MODE": "off"}


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the object of each line."""
    with path.open("rb") as file:
        for line in file:
            yield orjson.loads(line)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with the lines of an output; all zero: each row is there once and right."""

    rows: int
    lost: int  # no line, or a line without an answer
    duplicated: int  # lines beyond the first of a row
    wrong: int  # answers to another question, and rows that the job never had

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing is wrong."""
        return self.lost == self.duplicated == self.wrong == 0


def judge(output: Path, rows: int) -> Verdict:
    """Hold every line of an output against what the server answers."""
    seen = bytearray(rows)
    answered = duplicated = wrong = 0
    for line in read_lines(output):
        index = line["index"]
        if not 0 <= index < rows:
            wrong += 1
            continue
        duplicated += seen[index]
        first, seen[index] = not seen[index], 1
        if line["output"] is not None:
            answered += first
            wrong += line["output"] != right_answer(index)
    return Verdict(rows, rows - answered, duplicated, wrong)


def insist(output: Path, rows: int) -> None:
    """Raise unless the output is right: a figure about wrong answers is none."""
    verdict = judge(output, rows)
    if not verdict.is_clean:
        raise SystemExit(f"{output.name} is not right, so there is no figure: {verdict}")
