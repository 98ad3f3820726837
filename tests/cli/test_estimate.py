"""`llmscale estimate` as a user has it: what it prints, sends, keeps, and how it ends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cli.tool import Run, arrived, llmscale, prompts, report_of, write_rows
from tests.servers.lengthy import lengthy_process

PRICE = '[[price]]\nmodel = "openai/*"\ninput = 100\noutput = 1_000\n'
ROWS = 120
KEYS = {
    "inputs",
    "output",
    "method",
    "rows",
    "now",
    "scaled",
    "saved",
    "max_cost",
    "models",
    "unpriced",
    "unanswered",
    "unbounded",
    "sample",
}


class Server:
    """A server with answers of different lengths, and its calls."""

    def __init__(self, url: str, ledger: Path) -> None:
        self.model = ("--model", "openai/m-50-0.5", "--base-url", url)
        self._ledger = ledger

    def asked(self) -> int:
        """Return how many calls have arrived."""
        return len(arrived(self._ledger))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    ledger = tmp_path / "calls.jsonl"
    with lengthy_process("--ledger", ledger) as url:
        yield Server(url, ledger)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path / "in.jsonl", prompts(ROWS))
    (tmp_path / "llmscale.toml").write_text(PRICE)
    return tmp_path


def tool(folder: Path, *args: object) -> Run:
    env = {"XDG_CACHE_HOME": str(folder / "cache"), "LLMSCALE_CACHE_MODE": "on"}
    return llmscale(*args, cwd=folder, **env)


def estimated(folder: Path, *args: object) -> dict[str, Any]:
    run = tool(folder, "estimate", "in.jsonl", "--json", *args)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = orjson.loads(run.stdout)
    return found


def test_without_a_sample_no_call_is_made(folder: Path, server: Server) -> None:
    found = estimated(folder, *server.model)
    assert found.keys() == KEYS
    assert found["method"] == "counts"
    assert not (folder / "calls.jsonl").read_bytes()


def test_the_run_pays_nothing_for_the_sample_and_stays_within_its_bounds(
    folder: Path, server: Server
) -> None:
    usd = estimated(folder, *server.model, "--sample", 30)["now"]["usd"]
    assert server.asked() == 30
    assert tool(folder, "run", "in.jsonl", *server.model).returncode == 0
    assert server.asked() == ROWS
    report = report_of(folder / "in.jsonl")
    assert report["calls"]["attempts"] == ROWS - 30
    assert report["rows"]["cached"] == 30
    assert usd["low"] <= report["calls"]["cost_usd"] <= usd["high"]
    assert report["estimate"]["usd"] == usd["estimate"]
    assert report["estimate"]["drift"] == []


def test_a_run_that_drifts_is_warned_about_once(folder: Path, server: Server) -> None:
    estimated(folder, *server.model, "--sample", 30)
    (folder / "llmscale.toml").write_text(PRICE.replace("100", "9_000"))
    run = tool(folder, "run", "in.jsonl", *server.model)
    assert run.returncode == 0
    (warning,) = (line for line in run.stderr.splitlines() if "the estimate was" in line)
    assert "this run is projected to take $" in warning
    report = report_of(folder / "in.jsonl")
    assert report["estimate"]["drift"] == ["usd"]


def test_it_is_a_table_on_standard_output(folder: Path, server: Server) -> None:
    run = tool(folder, "estimate", "in.jsonl", *server.model, "--sample", 10, "--scale", 100)
    assert run.returncode == 0, run.stderr
    assert "100x the rows" in run.stdout
    assert "from a sample of 10 rows (0 failed)" in " ".join(run.stdout.split())
    assert "Traceback" not in run.stderr


def test_a_sample_without_answers_exits_with_1_and_estimates_from_counts(folder: Path) -> None:
    dead = ("--model", "openai/m", "--base-url", "http://127.0.0.1:1/v1")
    run = tool(folder, "estimate", "in.jsonl", *dead, "--sample", 3, "--max-attempts", 1, "--json")
    assert run.returncode == 1
    assert orjson.loads(run.stdout)["method"] == "counts"
    assert "no row of the sample was answered (3 connection)" in run.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--scale", 0.5), "--scale must be from 1 to 1,000,000, not 0.5"),
        (("--scale", "nan"), "--scale must be from 1"),
        (("--scale", "inf"), "--scale must be from 1"),
        (("--sample", -1), "-1"),
        (("--sample", "many"), "many"),
        (("--max-tokens", 0), "--max-tokens must be at least 1"),
        (("--max-cost", 1, "--sample", 3), "price of openai/none"),
    ],
)
def test_invalid_use_is_one_sentence_and_exit_code_2(
    folder: Path, args: tuple[object, ...], says: str
) -> None:
    (folder / "llmscale.toml").unlink()
    run = tool(folder, "estimate", "in.jsonl", "--model", "openai/none", *args)
    assert (run.returncode, run.stdout) == (2, "")
    assert says in run.stderr
    assert "Traceback" not in run.stderr


def test_rows_can_come_from_standard_input(folder: Path) -> None:
    piped = (folder / "in.jsonl").read_text()
    run = llmscale("estimate", "-", "--model", "sim/a", "--json", cwd=folder, stdin=piped)
    assert orjson.loads(run.stdout)["rows"]["total"] == ROWS
