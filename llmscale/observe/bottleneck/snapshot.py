"""How a run stands at one moment, and what holds it back then. Knows nothing of time."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from llmscale.accounting.stats import BOTTLENECK_OF, Bottleneck, Cause

CORE_IS_FULL = 0.9  # Python works on one at a time
_LIMITS: frozenset[Bottleneck] = frozenset({"requests", "tokens", "retries", "budget"})


class Snapshot(NamedTuple):
    """Numbers of calls and of rows in flight, what is waited for, and what was used of a core."""

    held: Mapping[Cause, int]  # calls that wait for a slot or a reservation, by cause
    in_flight: int  # calls, where more would be answered at once
    in_full: int  # calls, where no more would be
    backing_off: Mapping[Cause, int]  # calls between two attempts
    rows: int  # in flight
    waits_for: (
        Literal["rows", "space"] | None
    )  # before a row starts: space, until others are stored
    rows_wait_for: Cause  # what keeps the next row, where there is one
    has_ended: bool  # the input: there is no further row to take up
    cpu: float  # share of a core that this process had
    starved: float  # share of the time in which it could have worked, and others had the cores


def shares(now: Snapshot) -> dict[Cause, float]:
    """Return what holds the run back at a moment: parts of 1."""
    held = _parts(now.held)
    core: dict[Cause, float] = {"cpu": now.cpu, "starved": now.starved}
    if sum(core.values()) >= CORE_IS_FULL and not any(BOTTLENECK_OF[by] in _LIMITS for by in held):
        return _parts(core)
    if held:
        return held
    if now.waits_for == "space" and not now.has_ended:
        return {"storing": 1.0}
    if now.waits_for == "rows" and not now.has_ended:
        return {now.rows_wait_for: 1.0}
    return _of_calls(now)


def _of_calls(now: Snapshot) -> dict[Cause, float]:
    """Nobody waits: what the rows are at tells."""
    calls: dict[Cause, float] = {
        **now.backing_off,
        "local": now.in_full,
        "last" if now.has_ended else "width": now.in_flight,
    }
    return _parts(calls) or {"cache" if now.rows else "storing": 1.0}


def _parts(counts: Mapping[Cause, float]) -> dict[Cause, float]:
    """Return each as a part of all; nothing where there is nothing."""
    total = sum(counts.values())
    return {by: count / total for by, count in counts.items() if count}
