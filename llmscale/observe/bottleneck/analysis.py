"""What held a run back for longest, as a sentence, and the one flag to change."""

from collections.abc import Mapping
from math import floor
from typing import NamedTuple

from llmscale.accounting.run_numbers import BottleneckSummary
from llmscale.accounting.stats import BOTTLENECK_OF, BOTTLENECKS, Bottleneck, Cause


class Settings(NamedTuple):
    """What the advice speaks of."""

    width: int | None = None  # calls that may be in flight; None: nothing was opened
    capacity: int | None = None  # of all endpoints; None: it follows --concurrency


class _Wording(NamedTuple):
    """What is said of a cause."""

    says: str
    advice: str | None  # begins with the flag; None: there is none that would help


_FOR_REQUESTS = "rows waited for the request limit"
_FOR_TOKENS = "rows waited for the token limit"
_FOR_THE_MODEL = "rows waited only for the model"
_PLACES_TAKEN = "all slots were in use, and the endpoint could have answered more"
_ANOTHER = "[[endpoint]]: add one with its own limits;"
_FASTER_CACHE = "--cache-dir: put it on a faster disk"

_WORDING: dict[Cause, _Wording] = {
    "start": _Wording("passed before the first row was sent", None),
    "rpm": _Wording(
        _FOR_REQUESTS,
        "--rpm, or rpm of the [[endpoint]]: raise it if the provider grants more",
    ),
    "rpd": _Wording(
        f"{_FOR_REQUESTS} a day",
        "rpd of the [[endpoint]]: raise it if the provider grants more",
    ),
    "provider_rpm": _Wording(
        f"{_FOR_REQUESTS} that the provider reports", f"{_ANOTHER} --rpm can't raise what it grants"
    ),
    "adaptive_rpm": _Wording(
        f"{_FOR_REQUESTS} that was learned from 429s", f"{_ANOTHER} this one refuses more"
    ),
    "tpm": _Wording(
        _FOR_TOKENS,
        "--tpm, or tpm of the [[endpoint]]: raise it if the provider grants more",
    ),
    "tpd": _Wording(
        f"{_FOR_TOKENS} a day",
        "tpd of the [[endpoint]]: raise it if the provider grants more",
    ),
    "provider_tpm": _Wording(
        f"{_FOR_TOKENS} that the provider reports", f"{_ANOTHER} --tpm can't raise what it grants"
    ),
    "users": _Wording(
        "rows waited for the limits of their users",
        "[limits.user]: raise it if the users may have more",
    ),
    "width": _Wording(
        _PLACES_TAKEN,
        "--concurrency {twice}: {width} were in flight at most",
    ),
    "capacity": _Wording(
        _PLACES_TAKEN,
        "capacity of the [[endpoint]]: raise it; no more calls than that are in flight there",
    ),
    "ramp": _Wording(
        "an endpoint was still ramping up",
        "--no-adaptive: use the full concurrency from the start",
    ),
    "last": _Wording(_FOR_THE_MODEL, "--model: a faster one"),
    "saturated": _Wording(
        f"{_FOR_THE_MODEL}, and more in flight would not have been answered sooner",
        "[[endpoint]]: add a server, or name a faster --model",
    ),
    "local": _Wording(
        _FOR_THE_MODEL,
        "--model: a smaller one is faster; or another machine as an [[endpoint]]",
    ),
    "refused": _Wording(
        "rows waited after 429s",
        "--rpm: set it to the limit of the provider, so that it sends no 429",
    ),
    "too_many": _Wording(
        "rows waited after 429s for too many concurrent calls",
        "--concurrency: lower it to the limit of the provider",
    ),
    "failing": _Wording(
        "rows waited because calls failed",
        "[[endpoint]]: add one that takes over, or a [fallback] to another model",
    ),
    "budget": _Wording(
        "rows waited for budget that was reserved for calls in flight",
        "--max-cost: raise it; a lower --max-tokens reserves less for each call",
    ),
    "cpu": _Wording(
        "this process used all of a core",
        "-o: split the input and run the parts in parallel, each with its own output",
    ),
    "starved": _Wording("other programs used the cores of this machine", None),
    "reading": _Wording("rows waited for the input to be read", None),
    "cache": _Wording("rows were looked up in the cache", _FASTER_CACHE),
    "storing": _Wording("answers waited to be stored", _FASTER_CACHE),
    "writing": _Wording(
        "the output was too slow",
        "-o: name a file on a faster disk; the reader of -o - must keep up",
    ),
    "end": _Wording("passed while the output was put in order", None),
}


def analyze(
    held_s: Mapping[Bottleneck, float],
    wall_s: float,
    settings: Settings,
    causes_s: Mapping[Cause, float] | None = None,
) -> BottleneckSummary:
    """Return what held the run back most, and all of it in seconds.

    `held_s` without `end`, which is what is left of `wall_s`. `causes_s`: the same by cause, for
    the advice.
    """
    seconds = _adding_up(held_s, wall_s)
    main = max(BOTTLENECKS, key=lambda by: seconds[by])
    share = seconds[main] / wall_s if wall_s else 0.0
    wording = _WORDING[_cause(main, causes_s or {}, settings)]
    return BottleneckSummary(
        main=main,
        share=round(share, 4),
        says=f"{share:.0%} of the time {wording.says}".replace("%", " %", 1),
        advice=_advice(wording, settings),
        seconds={str(by): held for by, held in seconds.items()},
    )


def _adding_up(held_s: Mapping[Bottleneck, float], wall_s: float) -> dict[Bottleneck, float]:
    """Return the seconds of each bound, to the microsecond and with the sum `wall_s`."""
    held = sum(held_s.values())
    factor = min(1.0, wall_s / held) if held else 1.0  # two clocks may differ slightly
    seconds = {by: floor(held_s.get(by, 0.0) * factor * 1e6) / 1e6 for by in BOTTLENECKS}
    seconds["end"] = max(0.0, round(wall_s - sum(seconds.values()), 6))
    return seconds


def _cause(main: Bottleneck, causes_s: Mapping[Cause, float], settings: Settings) -> Cause:
    """Return what most of the time of a bound went into."""
    causes = [cause for cause in _WORDING if BOTTLENECK_OF[cause] == main]
    cause = max(causes, key=lambda c: causes_s.get(c, 0.0))
    if cause != "width" or settings.capacity is None or settings.width is None:
        return cause
    return "capacity" if settings.capacity <= settings.width else "width"  # where rows are left


def _advice(wording: _Wording, settings: Settings) -> str | None:
    if wording.advice is None or "{" not in wording.advice:
        return wording.advice
    if settings.width is None:
        return None
    return wording.advice.format(width=settings.width, twice=2 * settings.width)
