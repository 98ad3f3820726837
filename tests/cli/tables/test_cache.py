"""The table of the cache: every figure once, and nothing in a name that steers a terminal."""

from typing import Any

import pytest

from llmscale.cli.tables.cache import print_stats

USE: dict[str, Any] = {
    "hits": 3,
    "misses": 1,
    "hit_rate": 0.75,
    "deduped": 5,
    "saved_tokens": 123456,
    "saved_usd": 1.25,
}
NO_USE = dict.fromkeys(("hits", "misses", "deduped", "saved_tokens"), 0) | {
    "hit_rate": None,
    "saved_usd": 0.0,
}


def stats(**changed: Any) -> dict[str, Any]:
    """Return numbers as `cache_use.stats` does."""
    return {
        "folder": "/home/me/.cache/llmscale",
        "entries": 1234,
        "size_bytes": 2_500_000,
        "ages": {"1h": 1200, "1d": 0, "7d": 30, "30d": 0, "older": 4},
        "life": USE | {"runs": 7},
        "stored": 1300,
        "evicted": 66,
        "refused": 2,
        "models": {"openai/m": USE | {"entries": 1230, "bytes": 2_000_000}},
        "last_runs": [{"started": "2026-01-02T03:04:05+00:00", "output": "out.jsonl"} | USE],
    } | changed


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def shown(capsys: pytest.CaptureFixture[str], **changed: Any) -> str:
    """Return what is printed for a person."""
    print_stats(stats(**changed))
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def cells(line: str) -> list[str]:
    return line.split()


def test_what_is_stored_is_shown_with_its_size_and_age(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys).splitlines()
    assert lines[0] == "/home/me/.cache/llmscale"
    assert "1,234 in 2.5 MB" in lines[1]
    assert "1,200 < 1h, 30 < 7d, 4 older" in lines[2]


def test_hits_and_savings_of_all_runs_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    printed = shown(capsys)
    assert "3 of 4 look-ups (75.0%)" in printed
    assert "5 rows" in printed
    assert "123,456 tokens, $1.2500" in printed
    assert "1,300, 66 evicted, 2 refused" in printed


def test_each_model_and_each_of_the_last_runs_has_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys).splitlines()
    (model,) = (line for line in lines if line.strip().startswith("openai/m"))
    assert cells(model) == ["openai/m", "1,230", "3", "1", "75.0%", "123,456", "1.2500"]
    (run,) = (line for line in lines if "out.jsonl" in line)
    assert cells(run) == [
        "2026-01-02T03:04:05+00:00",
        *("out.jsonl", "3", "1", "75.0%", "123,456", "1.2500"),
    ]


def test_an_empty_cache_has_no_rate_and_no_tables(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(
        capsys,
        entries=0,
        ages=dict.fromkeys(("1h", "1d", "7d", "30d", "older"), 0),
        life=NO_USE | {"runs": 0},
        models={},
        last_runs=[],
    ).splitlines()
    facts = [cells(line) for line in lines]
    assert ["hits", "0", "of", "0", "look-ups"] in facts
    assert ["ages", "0", "<", "1h"] in facts
    assert len(facts) == 7


def test_a_model_without_look_ups_has_no_rate(capsys: pytest.CaptureFixture[str]) -> None:
    printed = shown(capsys, models={"sim/a": NO_USE | {"entries": 1, "bytes": 2}})
    (model,) = (line for line in printed.splitlines() if line.strip().startswith("sim/a"))
    assert cells(model) == ["sim/a", "1", "0", "0", "-", "0", "0.0000"]


HOSTILE = "\x1b]52;c;aGk=\x07\x9b2J\u202e[bold]x[/b]"


@pytest.mark.parametrize("place", ["folder", "model", "output", "started"])
def test_no_name_can_steer_the_terminal_or_the_markup(
    capsys: pytest.CaptureFixture[str], place: str
) -> None:
    run = stats()["last_runs"][0]
    changed: dict[str, dict[str, Any]] = {
        "folder": {"folder": HOSTILE},
        "model": {"models": {HOSTILE: stats()["models"]["openai/m"]}},
        "output": {"last_runs": [run | {"output": HOSTILE}]},
        "started": {"last_runs": [run | {"started": HOSTILE}]},
    }
    printed = shown(capsys, **changed[place])
    assert "[bold]x[/b]" in printed
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(printed)
