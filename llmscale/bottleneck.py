"""What holds a run back, moment by moment, and the verdict over all of it.

At any moment one thing is scarce: what the calls that wait are waiting for, or else what those are
busy with that do not. A resource that is always busy is what binds (Goldratt, "The Goal", 1984; the
utilisation law of queueing theory). The seconds of all bounds add up to the time of the run.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from llmscale.stats import BOUNDS, Bound

CPU_IS_FULL = 0.9  # of a core: Python works on one at a time


class Moment(NamedTuple):
    """How a run stands. All but the last are numbers of rows or calls."""

    held: Mapping[Bound, int]  # calls that wait for a place, by what holds them
    in_flight: int
    backing_off: int  # calls between two attempts
    workers: int  # that may take up a row
    for_rows: int  # workers that wait for one
    for_room: int  # workers that wait until something is written
    rows_wait_for: Bound  # what keeps the next row, where there is one
    has_ended: bool  # the input: there is no further row to take up
    can_take_more: bool  # whether more in flight would be worked on at once
    cpu: float  # share of a core that this process used


def shares(now: Moment) -> dict[Bound, float]:
    """Return what holds the run back at a moment: parts of 1."""
    waiting = sum(now.held.values())
    limited = waiting - now.held.get("concurrency", 0) - now.held.get("provider", 0)
    if now.cpu >= CPU_IS_FULL and not limited:
        return {"cpu": 1.0}
    if waiting:
        return {by: count / waiting for by, count in now.held.items() if count}
    if now.backing_off > now.in_flight:
        return {"retries": 1.0}
    if now.has_ended:
        return {"provider" if now.in_flight or now.backing_off else "disk": 1.0}
    return _of_workers(now)


def _of_workers(now: Moment) -> dict[Bound, float]:
    """Nobody waits for a place: what the workers do tells."""
    if not now.workers:
        return {"disk": 1.0}
    if not now.in_flight and not now.backing_off:
        busy: Bound = "disk"  # they look into the cache
    else:
        busy = "concurrency" if now.can_take_more else "provider"
    parts: Counter[Bound] = Counter()
    parts[now.rows_wait_for] += now.for_rows
    parts["disk"] += now.for_room
    parts[busy] += max(0, now.workers - now.for_rows - now.for_room)
    total = sum(parts.values())
    return {by: count / total for by, count in parts.items() if count}


class Settings(NamedTuple):
    """What the advice speaks of."""

    width: int | None = None  # rows in flight; None: nothing was opened
    is_local: bool = False


def verdict(held_s: Mapping[Bound, float], wall_s: float, settings: Settings) -> dict[str, Any]:
    """Return what held the run back most, and all of it in seconds, as JSON.

    `held_s` without `end`, which is what is left of `wall_s`.
    """
    seconds = {by: held_s.get(by, 0.0) for by in BOUNDS}
    seconds["end"] += max(0.0, wall_s - sum(seconds.values()))
    main = max(BOUNDS, key=lambda by: seconds[by])
    share = seconds[main] / wall_s if wall_s else 0.0
    return {
        "main": main,
        "share": round(share, 4),
        "says": f"{share:.0%} of the time {_SAYS[main]}".replace("%", " %", 1),
        "advice": _advice(main, settings),
        "seconds": {by: round(s, 6) for by, s in seconds.items()},
    }


_SAYS: dict[Bound, str] = {
    "start": "went by before the first row could go",
    "requests": "rows waited for the limit of requests",
    "tokens": "rows waited for the limit of tokens",
    "users": "rows waited for the limits of their users",
    "concurrency": "all places in flight were taken, and more would have been answered",
    "provider": "only the model was waited for",
    "retries": "rows waited for an endpoint that rested, or backed off after a failure",
    "budget": "rows waited for money that was set aside for others",
    "cpu": "this process had a core to itself and used all of it",
    "disk": "rows waited to be read or written",
    "end": "went into putting the output in order",
}

_ADVICE: dict[Bound, str] = {
    "requests": "--rpm: raise it if the provider grants more, or add an [[endpoint]]",
    "tokens": "--tpm: raise it if the provider grants more; a lower --max-tokens needs less",
    "users": "[limits.user]: raise it if the users may have more",
    "retries": "--rpm: set it to what the provider takes, so that it refuses nothing",
    "budget": "--max-cost: raise it; a lower --max-tokens sets less aside for each call",
    "cpu": "-o: split the input and run its parts side by side, each with an output of its own",
    "disk": "--cache-dir: put it on a faster disk, and the output too",
}


def _advice(main: Bound, settings: Settings) -> str | None:
    """Return the one flag to change, and how; None where none would help."""
    if main == "concurrency" and settings.width is not None:
        return f"--concurrency {2 * settings.width}: {settings.width} were in flight at most"
    if main == "provider":
        if settings.is_local:
            return "--model: a smaller one is faster; or another machine as an [[endpoint]]"
        return "--model: a faster one, or a further [[endpoint]] for it"
    return _ADVICE.get(main)
