"""Connections within the open files of a process: the soft limit is raised, the hard one kept."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmscale.runtime import open_files
from llmscale.runtime.open_files import SPARE_FILES, connections_for

OPEN = 10


class RateLimits:
    """Stands for the kernel's limits."""

    def __init__(self, soft: int, hard: int) -> None:
        self.soft, self.hard = soft, hard

    def get(self, which: int) -> tuple[int, int]:
        assert which == resource.RLIMIT_NOFILE
        return self.soft, self.hard

    def set(self, which: int, limits: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        assert limits[1] == self.hard, "the hard limit can't be had back"
        assert self.hard == resource.RLIM_INFINITY or limits[0] <= self.hard
        self.soft = limits[0]


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], RateLimits]:
    def limit(soft: int, hard: int) -> RateLimits:
        limits = RateLimits(soft, hard)
        monkeypatch.setattr(resource, "getrlimit", limits.get)
        monkeypatch.setattr(resource, "setrlimit", limits.set)
        monkeypatch.setattr(open_files, "_open_now", lambda: OPEN)
        return limits

    return limit


def test_where_the_limit_is_high_enough_nothing_is_changed(
    limited: Callable[[int, int], RateLimits],
) -> None:
    limits = limited(1_024, 4_096)
    assert connections_for(500).connections == 500
    assert limits.soft == 1_024


def test_the_soft_limit_is_raised_by_what_is_needed(
    limited: Callable[[int, int], RateLimits],
) -> None:
    limits = limited(256, 4_096)
    assert connections_for(500) == (500, OPEN + SPARE_FILES + 500)
    assert limits.soft == OPEN + SPARE_FILES + 500


def test_above_the_hard_limit_there_are_fewer(limited: Callable[[int, int], RateLimits]) -> None:
    limits = limited(64, 128)
    assert connections_for(500) == (128 - OPEN - SPARE_FILES, 128)
    assert limits.soft == 128


def test_no_limit_is_no_bound(limited: Callable[[int, int], RateLimits]) -> None:
    limited(resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert connections_for(10_000).connections == 10_000


def test_a_soft_limit_below_no_hard_one_is_raised(
    limited: Callable[[int, int], RateLimits],
) -> None:
    limits = limited(256, resource.RLIM_INFINITY)
    assert connections_for(1_000).connections == 1_000
    assert limits.hard == resource.RLIM_INFINITY


def test_where_no_file_is_left_one_connection_is_tried(
    limited: Callable[[int, int], RateLimits],
) -> None:
    limited(20, 20)
    assert connections_for(500).connections == 1


@pytest.mark.parametrize("error", [ValueError("not allowed"), OSError("not allowed")])
def test_a_limit_that_may_not_be_raised_stays(
    error: Exception, limited: Callable[[int, int], RateLimits], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(which: int, limits: tuple[int, int]) -> None:
        raise error

    limited(64, 4_096)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert connections_for(500) == (64 - OPEN - SPARE_FILES, 64)


def test_a_bound_below_the_hard_limit_is_used_up_to_that_bound(
    limited: Callable[[int, int], RateLimits], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As macOS has one."""
    limits = limited(256, resource.RLIM_INFINITY)

    def bounded(which: int, wanted: tuple[int, int]) -> None:
        if wanted[0] > 10_240:
            raise ValueError("not allowed")
        limits.set(which, wanted)

    monkeypatch.setattr(resource, "setrlimit", bounded)
    assert connections_for(500) == (500, OPEN + SPARE_FILES + 500)
    assert connections_for(20_000) == (10_240 - OPEN - SPARE_FILES, 10_240)


def test_where_open_files_can_not_be_counted_a_few_are_assumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_: Path) -> Iterator[Path]:
        raise FileNotFoundError("there is no /dev/fd")

    monkeypatch.setattr(Path, "iterdir", missing)
    assert open_files._open_now() == open_files._OPEN_BEFORE


def test_the_open_files_are_counted() -> None:
    before = open_files._open_now()
    with Path(__file__).open("rb"), Path(__file__).open("rb"):
        assert open_files._open_now() == before + 2
