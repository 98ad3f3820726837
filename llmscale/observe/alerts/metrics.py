"""The numbers of a run that a rule can be about, and the words for them."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import NamedTuple

from llmscale.accounting.stats import QUANTILES, Calls, Latency, Lookups, Rows, Stats
from llmscale.config import Rule

MIN_ROWS = 20  # before which a share or a distribution says little


class Spent(NamedTuple):
    """How far the budget of a job has been used."""

    used_usd: float
    max_usd: float


class RunMetrics:
    """The numbers at one moment."""

    def __init__(
        self,
        stats: Stats,
        elapsed_s: float,
        stalled_s: float,
        spent: Spent | None,
        kept: int = 0,
    ) -> None:
        """`stalled_s`: without a row that has completed; `spent` None: there is no budget.

        `kept`: rows that earlier runs have answered, and that count too.
        """
        self.stats = stats
        self.elapsed_s = elapsed_s
        self.stalled_s = stalled_s
        self.spent = spent
        self.done = stats.done + kept  # rows with an outcome

    @cached_property
    def rows(self) -> Rows:
        """All rows of this run that have an outcome."""
        return self.stats.rows()

    @cached_property
    def calls(self) -> Calls:
        """All calls of this run."""
        return self.stats.calls()

    @cached_property
    def lookups(self) -> Lookups:
        """What the cache was asked for."""
        return self.stats.lookups()

    def of(self, rule: Rule) -> float | None:
        """Return the number that a rule is about; None: there is none."""
        return _FIGURES[_name_of(rule)].value(self)

    def are_enough(self, rule: Rule) -> bool:
        """Tell whether there are rows enough to judge a rule while the run goes on."""
        return not _FIGURES[_name_of(rule)].needs_rows or self.stats.done >= MIN_ROWS

    def said(self, rule: Rule, value: float) -> str:
        """Return the number that a rule is about, in words."""
        return _FIGURES[_name_of(rule)].words(self, value)


class _Figure(NamedTuple):
    value: Callable[[RunMetrics], float | None]
    words: Callable[[RunMetrics, float], str]
    needs_rows: bool = True


def _name_of(rule: Rule) -> str:
    """A count and a share of the same thing are two figures."""
    return f"{rule.metric}%" if rule.is_share else rule.metric


def percent(share: float) -> str:
    """Return a share for a person: `12.5 %`."""
    return f"{share * 100:.3g} %"


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _cost_usd(now: RunMetrics) -> float | None:
    return now.calls.known_cost_usd


def _cost_words(now: RunMetrics, usd: float) -> str:
    return f"the calls have cost {'at least ' if now.calls.unpriced else ''}${usd:.4f}"


def _spent_share(now: RunMetrics) -> float | None:
    return None if now.spent is None else now.spent.used_usd / now.spent.max_usd


def _spent_words(now: RunMetrics, share: float) -> str:
    used_usd, max_usd = now.spent or (0.0, 0.0)
    return f"{percent(share)} of the budget is used, ${used_usd:.4f} of --max-cost {max_usd:g}"


def _quantile(of: Callable[[RunMetrics], Latency], name: str, what: str) -> _Figure:
    def words(_: RunMetrics, seconds: float) -> str:
        return f"{name} of {what} is {seconds:.3g} s"

    return _Figure(lambda now: getattr(of(now).summary(), name), words)


_FIGURES: Mapping[str, _Figure] = {
    "errors": _Figure(
        lambda now: now.rows.failed, lambda _, count: f"{count:.0f} rows have failed", False
    ),
    "errors%": _Figure(
        lambda now: _ratio(now.rows.failed, now.done),
        lambda now, share: (
            f"{percent(share)} of the rows have failed, {now.rows.failed} of {now.done}"
        ),
    ),
    "retries": _Figure(
        lambda now: now.calls.retries, lambda _, count: f"{count:.0f} calls were retries", False
    ),
    "retries%": _Figure(
        lambda now: _ratio(now.calls.retries, now.calls.attempts),
        lambda now, share: (
            f"{percent(share)} of the calls were retries, "
            f"{now.calls.retries} of {now.calls.attempts}"
        ),
    ),
    **{name: _quantile(lambda n: n.rows.latency, name, "rows") for name in QUANTILES},
    **{f"call_{name}": _quantile(lambda n: n.calls.latency, name, "calls") for name in QUANTILES},
    "stalled": _Figure(
        lambda now: now.stalled_s,
        lambda _, seconds: f"no row has completed for {seconds:.0f} s",
        False,
    ),
    "cost": _Figure(_cost_usd, _cost_words, False),
    "spend%": _Figure(_spent_share, _spent_words, False),
    "hit_rate%": _Figure(
        lambda now: _ratio(now.lookups.hits, now.lookups.hits + now.lookups.misses),
        lambda _, share: f"the cache has answered {percent(share)} of its look-ups",
    ),
    "rows_per_s": _Figure(
        lambda now: _ratio(now.stats.done, now.elapsed_s),
        lambda _, rate: f"{rate:.3g} rows a second have completed",
    ),
}
