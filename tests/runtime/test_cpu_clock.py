"""The clocks of a thread and a process: they run while it works, and stand still while it waits."""

import threading
import time
from pathlib import Path

import pytest

from llmscale.runtime import cpu_clock as processor
from llmscale.runtime.cpu_clock import CpuClock


def work(seconds: float) -> None:
    """Use a core for so long, however long that takes."""
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        pass


def test_a_core_is_had_by_who_works_and_not_by_who_waits() -> None:
    with CpuClock() as one:
        before_s = one.had_s()
        work(0.05)
        assert one.had_s() - before_s >= 0.05
        one = CpuClock(threads_count=False)
        before_s = one.had_s()
        time.sleep(0.05)
        assert one.had_s() - before_s < 0.05


def test_the_work_of_other_threads_counts_where_it_is_wanted() -> None:
    whole, alone = CpuClock(), CpuClock(threads_count=False)
    before_s = whole.had_s(), alone.had_s()
    other = threading.Thread(target=work, args=(0.05,))
    other.start()
    other.join()
    assert whole.had_s() - before_s[0] >= 0.05
    assert alone.had_s() - before_s[1] < 0.05


def test_what_was_lacked_never_shrinks_and_is_known_only_while_it_is_open() -> None:
    one = CpuClock()
    assert one.lacked_s() == 0
    with one:
        seen_s = [one.lacked_s()]
        for _ in range(20):
            work(0.001)
            seen_s.append(one.lacked_s())
    assert seen_s == sorted(seen_s)
    assert min(seen_s) >= 0
    assert one.lacked_s() == 0


def test_without_kernel_statistics_nothing_is_lacked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processor, "_SCHEDULED", str(tmp_path / "none"))
    with CpuClock() as one:
        assert one.lacked_s() == 0
