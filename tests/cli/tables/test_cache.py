"""The statistics of the cache on a terminal."""

from typing import Any

import pytest
from msgspec.structs import replace

from llmscale.cli.tables.cache import print_stats
from llmscale.commands.cache.statistics import CacheStats, LastRun, LifetimeUse, ModelUse

USE: dict[str, Any] = {
    "hits": 3,
    "misses": 1,
    "hit_rate": 0.75,
    "deduped": 5,
    "saved_tokens": 123456,
    "saved_usd": 1.25,
}
NO_USE: dict[str, Any] = dict.fromkeys(USE, 0) | {"hit_rate": None}
MODEL = ModelUse(**USE, entries=1230, bytes=2_000_000)
RUN = LastRun(**USE, started="2026-01-02T03:04:05+00:00", output="out.jsonl")
STATS = CacheStats(
    folder="/home/me/.cache/llmscale",
    entries=1234,
    size_bytes=2_500_000,
    ages={"1h": 1200, "1d": 0, "7d": 30, "30d": 0, "older": 4},
    life=LifetimeUse(**USE, runs=7),
    stored=1300,
    evicted=66,
    refused=2,
    models={"openai/m": MODEL},
    last_runs=[RUN],
)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def shown(capsys: pytest.CaptureFixture[str], **changed: Any) -> str:
    print_stats(replace(STATS, **changed))
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def cells_of(printed: str, name: str) -> list[str]:
    (line,) = (line for line in printed.splitlines() if line.strip().startswith(name))
    return line.split()


def test_entries_are_shown_with_their_size_and_age(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys).splitlines()
    assert lines[0] == "/home/me/.cache/llmscale"
    assert "1,234 in 2.5 MB" in lines[1]
    assert "1,200 < 1h, 30 < 7d, 4 older" in lines[2]


def test_hits_and_savings_of_all_runs_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    printed = shown(capsys)
    assert "3 of 4 lookups (75.0%)" in printed
    assert "5 rows" in printed
    assert "123,456 tokens, $1.2500" in printed
    assert "1,300, 66 evicted, 2 refused" in printed


def test_each_model_and_each_run_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    printed = shown(capsys)
    use = ["3", "1", "75.0%", "123,456", "1.2500"]
    assert cells_of(printed, "openai/m") == ["openai/m", "1,230", *use]
    assert cells_of(printed, RUN.started) == [RUN.started, "out.jsonl", *use]


def test_an_empty_cache_has_no_rate_and_no_tables(capsys: pytest.CaptureFixture[str]) -> None:
    life = LifetimeUse(**NO_USE, runs=0)
    printed = shown(capsys, entries=0, ages={"1h": 0}, life=life, models={}, last_runs=[])
    assert cells_of(printed, "hits") == ["hits", "0", "of", "0", "lookups"]
    assert cells_of(printed, "ages") == ["ages", "-"]
    assert len(printed.splitlines()) == 7


def test_a_model_without_lookups_has_no_rate(capsys: pytest.CaptureFixture[str]) -> None:
    printed = shown(capsys, models={"sim/a": ModelUse(**NO_USE, entries=1, bytes=2)})
    assert cells_of(printed, "sim/a") == ["sim/a", "1", "0", "0", "-", "0", "0.0000"]


HOSTILE = "\x1b]52;c;aGk=\x07\x9b2J\u202e[bold]x[/b]"


@pytest.mark.parametrize(
    "changed",
    [
        {"folder": HOSTILE},
        {"models": {HOSTILE: MODEL}},
        {"last_runs": [replace(RUN, output=HOSTILE)]},
        {"last_runs": [replace(RUN, started=HOSTILE)]},
    ],
)
def test_no_name_can_steer_the_terminal_or_the_markup(
    capsys: pytest.CaptureFixture[str], changed: dict[str, Any]
) -> None:
    printed = shown(capsys, **changed)
    assert "[bold]x[/b]" in printed
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(printed)
