"""Rules about the numbers of a run: `errors>1%,p95>30s,cost>5`.

Only the grammar of rules; the numbers are in observe/alerts.
"""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import NamedTuple

from llmscale.core.units import duration_s

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_RULE = re.compile(r"([a-z]\w*)\s*(>=|<=|>|<)\s*(\S+)")


class Rule(NamedTuple):
    """A metric of a run, and the bound that it must not cross."""

    text: str  # as written, without blanks
    metric: str
    sign: str  # of what trips it: ">", ">=", "<", "<="
    bound: float  # seconds, dollars, a count, or a share of 1
    is_share: bool  # of all rows, calls, ...

    def trips(self, value: float) -> bool:
        """Tell whether a value is beyond the bound."""
        if self.sign in (">=", "<=") and value == self.bound:
            return True
        return value > self.bound if self.sign[0] == ">" else value < self.bound


class _InvalidBound(ValueError):
    """A bound that its metric does not take; the message says what it takes."""


def _share(text: str) -> float:
    number = text.removesuffix("%")
    if number == text or not _NUMBER.fullmatch(number) or float(number) > 100:
        raise _InvalidBound("a share from 0% to 100%")
    return float(number) / 100


def _count_or_share(text: str) -> float:
    if text.endswith("%"):
        return _share(text)
    if not text.isdecimal():
        raise _InvalidBound("a share such as 1%, or a whole number")
    return float(text)


def _seconds(text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        return duration_s(text)
    except ValueError:
        raise _InvalidBound("a time such as 30s, 500ms or 2m") from None


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise _InvalidBound("a number")
    return float(text)


METRICS: Mapping[str, Callable[[str], float]] = MappingProxyType(
    {
        "errors": _count_or_share,
        "retries": _count_or_share,
        "p50": _seconds,
        "p90": _seconds,
        "p95": _seconds,
        "p99": _seconds,
        "call_p50": _seconds,
        "call_p90": _seconds,
        "call_p95": _seconds,
        "call_p99": _seconds,
        "stalled": _seconds,
        "cost": _number,
        "spend": _share,
        "hit_rate": _share,
        "rows_per_s": _number,
    }
)
"""The metrics of rules, each with the parser of its bound: `llmscale help alerts`."""


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Return the rules of a text, none of one that is blank.

    Raises `ValueError` with a sentence that names the rule that can't be used.
    """
    return tuple(map(_rule, text.split(","))) if text.strip() else ()


def _rule(text: str) -> Rule:
    text = text.strip()
    found = _RULE.fullmatch(text)
    if found is None:
        raise ValueError(f"invalid rule {text!r}; write for example errors>1% or p95>30s")
    metric, sign, bound = found.groups()
    read = METRICS.get(metric)
    if read is None:
        near = get_close_matches(metric, METRICS, n=1)
        meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(METRICS)}"
        raise ValueError(f"unknown metric in rule {text!r}; {meant}")
    try:
        return Rule(f"{metric}{sign}{bound}", metric, sign, read(bound), bound.endswith("%"))
    except _InvalidBound as error:
        raise ValueError(f"rule {text!r} needs {error} after {sign}") from None
