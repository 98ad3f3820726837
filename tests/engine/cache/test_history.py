"""The history of the cache: one line a run, uses that add, and no damage that stops a reader."""

import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.engine.cache.history import FILE, RunUse, Use, append, runs

counts = st.integers(0, 10**12)
uses = st.builds(Use, counts, counts, counts, counts, st.integers(0, 1000).map(float))


def run(number: int = 0) -> RunUse:
    """Return one run's use."""
    models = {"sim/m": Use(number, 2, 3, 4, 0.5), 'a "b"\n': Use()}
    return RunUse("2026-01-02T03:04:05+00:00", f"out {number}.jsonl", models, 1, 2, 3, 4, 5)


def test_what_was_noted_is_read_in_order(tmp_path: Path) -> None:
    for number in range(5):
        append(tmp_path, run(number))
    assert list(runs(tmp_path)) == [run(number) for number in range(5)]


def test_a_run_is_one_line(tmp_path: Path) -> None:
    append(tmp_path, run())
    assert (tmp_path / FILE).read_bytes().count(b"\n") == 1


def test_a_folder_without_a_history_has_no_runs(tmp_path: Path) -> None:
    assert list(runs(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_can_read_the_history(tmp_path: Path) -> None:
    append(tmp_path, run())
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\n",
        b"{}\n",
        b"null\n",
        b'{"started": 1}\n',
        b"\xff\xfe\n",
        b'{"started": "\xff"}\n',
        pytest.param(b'{"x":' + b"[" * 100_000 + b"\n", id="deep"),
    ],
)
def test_a_damaged_line_is_passed_over(tmp_path: Path, damage: bytes) -> None:
    append(tmp_path, run(1))
    with (tmp_path / FILE).open("ab") as file:
        file.write(damage)
    append(tmp_path, run(2))
    assert list(runs(tmp_path)) == [run(1), run(2)]


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    append(tmp_path, run(1))
    append(tmp_path, run(2))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-5])
    assert list(runs(tmp_path)) == [run(1)]


def test_runs_that_end_together_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    def note(first: int) -> None:
        for number in range(first, first + 50):
            append(tmp_path, run(number))

    threads = [threading.Thread(target=note, args=(first,)) for first in (0, 50, 100, 150)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.models["sim/m"].hits for one in runs(tmp_path)) == list(range(200))


def test_a_history_that_can_not_be_written_is_an_os_error_and_has_no_runs(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(OSError, match="directory"):
        append(tmp_path, run())
    assert list(runs(tmp_path)) == []


@given(uses, uses, uses)
def test_uses_add_in_any_order(one: Use, two: Use, three: Use) -> None:
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)
    assert one + Use() == one
    assert (one + two).hits == one.hits + two.hits
    assert (one + two).saved_usd == one.saved_usd + two.saved_usd


def test_the_hit_rate_is_hits_among_look_ups_and_none_without_any() -> None:
    assert Use(3, 1).hit_rate == 0.75
    assert Use(0, 1).hit_rate == 0
    assert Use(deduped=5).hit_rate is None
