"""Numbers about a run that add: two shards' `Stats` merge into the whole's.

Counts, sums and mergeable sketches only, so that the size is the same after ten rows and after ten
million. Rows are counted by model, calls by endpoint and model; what is asked of both is added up
when it is asked. Decides nothing and prints nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from ddsketch import DDSketch

from llmscale.records import FailureKind, Outcome, Reply, Usage

RELATIVE_ACCURACY = 0.01
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


class Latency:
    """A distribution of seconds. Quantiles are right to 1 %.

    Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 2019.
    """

    def __init__(self) -> None:
        self._sketch = DDSketch(RELATIVE_ACCURACY)
        self._max_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._sketch.add(seconds)
        if seconds > self._max_s:
            self._max_s = seconds

    def merge(self, other: "Latency") -> None:
        """Take in another distribution."""
        self._sketch.merge(other._sketch)
        self._max_s = max(self._max_s, other._max_s)

    def summary(self) -> dict[str, float | None]:
        """Return quantiles, mean and maximum in seconds; None where nothing was counted."""
        count = self._sketch.count
        if not count:
            return dict.fromkeys((*QUANTILES, "mean", "max"))
        quantiles = {name: self._sketch.get_quantile_value(q) for name, q in QUANTILES.items()}
        figures = {**quantiles, "mean": self._sketch.sum / count, "max": self._max_s}
        return {name: round(seconds, 6) for name, seconds in figures.items()}


class Rows:
    """What became of rows."""

    def __init__(self) -> None:
        self.answered = 0
        self.truncated = 0  # of those answered: cut at max_tokens
        self.cached = 0  # of those answered: from the cache
        self.deduped = 0  # of those answered: by the call of another row
        self.saved_tokens = 0  # by both
        self.saved_usd = 0.0
        self.failures: Counter[FailureKind] = Counter()
        self.latency = Latency()  # from being taken up to the answer

    @property
    def failed(self) -> int:
        """Rows without an answer."""
        return self.failures.total()

    def add(self, outcome: Outcome) -> None:
        """Count one row."""
        if outcome.failure is not None:
            self.failures[outcome.failure.kind] += 1
        elif outcome.reply is not None:
            self.answered += 1
            self.truncated += outcome.reply.finish_reason == "length"
            self.latency.add(outcome.latency_s)
            if outcome.reply.cached or outcome.reply.deduped:
                self._add_saving(outcome.reply)

    def _add_saving(self, reply: Reply) -> None:
        self.cached += reply.cached
        self.deduped += reply.deduped
        self.saved_tokens += reply.usage.input_tokens + reply.usage.output_tokens
        self.saved_usd += reply.cost_usd or 0.0

    def merge(self, other: "Rows") -> None:
        """Take in another count."""
        self.answered += other.answered
        self.truncated += other.truncated
        self.cached += other.cached
        self.deduped += other.deduped
        self.saved_tokens += other.saved_tokens
        self.saved_usd += other.saved_usd
        self.failures.update(other.failures)
        self.latency.merge(other.latency)

    def summary(self) -> dict[str, Any]:
        """Return the numbers as JSON."""
        return {
            "answered": self.answered,
            "truncated": self.truncated,
            "cached": self.cached,
            "deduped": self.deduped,
            "failed": self.failed,
            "failures": dict(self.failures.most_common()),
            "latency_s": self.latency.summary(),
        }


class Lookups:
    """What the cache was asked for."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0

    def merge(self, other: "Lookups") -> None:
        """Take in another count."""
        self.hits += other.hits
        self.misses += other.misses


class Calls:
    """What was sent, what came back, and what it cost: every attempt counts, answered or not."""

    def __init__(self) -> None:
        self.attempts = 0
        self.failures: Counter[FailureKind] = Counter()
        self.usage = Usage()
        self.cost_usd = 0.0
        self.unpriced = 0  # attempts whose price is unknown: `cost_usd` leaves them out
        self.latency = Latency()  # of attempts that were answered

    def add(self, latency_s: float, replies: Sequence[Reply], failure: FailureKind | None) -> None:
        """Count one attempt. A failed one has a reply too where it was paid for."""
        self.attempts += 1
        if failure is None:
            self.latency.add(latency_s)
        else:
            self.failures[failure] += 1
        for reply in replies:
            self.usage += reply.usage
            if reply.cost_usd is None:
                self.unpriced += 1
            else:
                self.cost_usd += reply.cost_usd

    def merge(self, other: "Calls") -> None:
        """Take in another count."""
        self.attempts += other.attempts
        self.failures.update(other.failures)
        self.usage += other.usage
        self.cost_usd += other.cost_usd
        self.unpriced += other.unpriced
        self.latency.merge(other.latency)

    @property
    def known_cost_usd(self) -> float | None:
        """Dollars, or None where no price was known for any of it."""
        return None if self.unpriced and not self.cost_usd else self.cost_usd

    def summary(self) -> dict[str, Any]:
        """Return the numbers as JSON."""
        cost_usd = self.known_cost_usd
        return {
            "attempts": self.attempts,
            "failures": dict(self.failures.most_common()),
            "tokens": {name: getattr(self.usage, name) for name in Usage.__struct_fields__},
            "cost_usd": None if cost_usd is None else round(cost_usd, 9),
            "unpriced": self.unpriced,
            "latency_s": self.latency.summary(),
        }


class Spend(msgspec.Struct, frozen=True):
    """What calls have cost, small enough to be kept from run to run."""

    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0  # attempts whose price is unknown

    def __add__(self, other: "Spend") -> "Spend":
        return Spend(
            self.attempts + other.attempts,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_usd + other.cost_usd,
            self.unpriced + other.unpriced,
        )


class Stats:
    """Everything that a run counts."""

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = {}  # by model; "" for rows that are no request
        self._calls: dict[tuple[str, str], Calls] = {}  # by endpoint and model
        self._lookups: dict[str, Lookups] = {}  # by model
        self.done = 0  # rows that have an outcome

    def add_outcome(self, outcome: Outcome) -> None:
        """Count what became of a row."""
        request = outcome.row.request
        model = request.model if request is not None else ""
        rows = self._rows.get(model)
        if rows is None:
            rows = self._rows[model] = Rows()
        rows.add(outcome)
        self.done += 1

    def add_attempt(
        self,
        endpoint: str,
        model: str,
        latency_s: float,
        replies: Sequence[Reply],
        failure: FailureKind | None = None,
    ) -> None:
        """Count one call to an endpoint."""
        calls = self._calls.get((endpoint, model))
        if calls is None:
            calls = self._calls[endpoint, model] = Calls()
        calls.add(latency_s, replies, failure)

    def add_lookup(self, model: str, *, hit: bool) -> None:
        """Count one question to the cache."""
        lookups = self._lookups.get(model)
        if lookups is None:
            lookups = self._lookups[model] = Lookups()
        if hit:
            lookups.hits += 1
        else:
            lookups.misses += 1

    def merge(self, other: "Stats") -> None:
        """Take in the numbers of another shard."""
        self.done += other.done
        for model, rows in other._rows.items():
            self._rows.setdefault(model, Rows()).merge(rows)
        for key, calls in other._calls.items():
            self._calls.setdefault(key, Calls()).merge(calls)
        for model, lookups in other._lookups.items():
            self._lookups.setdefault(model, Lookups()).merge(lookups)

    def rows(self) -> Rows:
        """Return the count of all rows."""
        return _sum_rows(self._rows.values())

    def calls(self) -> Calls:
        """Return the count of all calls."""
        return _sum_calls(self._calls.values())

    def spend(self) -> Spend:
        """Return what all calls have cost."""
        calls = self.calls()
        return Spend(
            calls.attempts,
            calls.usage.input_tokens,
            calls.usage.output_tokens,
            calls.cost_usd,
            calls.unpriced,
        )

    def lookups(self) -> Lookups:
        """Return what the cache was asked for."""
        total = Lookups()
        for lookups in self._lookups.values():
            total.merge(lookups)
        return total

    def lookups_by_model(self) -> dict[str, Lookups]:
        """Return what the cache was asked for, by model."""
        return dict(sorted(self._lookups.items()))

    def rows_by_model(self) -> dict[str, Rows]:
        """Return the counts of the rows that were requests."""
        return {model: rows for model, rows in sorted(self._rows.items()) if model}

    def calls_by_model(self) -> dict[str, Calls]:
        """Return the counts of the calls for each model."""
        models = sorted({model for _, model in self._calls})
        return {
            m: _sum_calls(c for (_, model), c in self._calls.items() if model == m) for m in models
        }

    def calls_by_endpoint(self) -> dict[str, Calls]:
        """Return the counts of the calls to each endpoint."""
        names = sorted({name for name, _ in self._calls})
        return {
            n: _sum_calls(c for (name, _), c in self._calls.items() if name == n) for n in names
        }


def _sum_rows(parts: Iterable[Rows]) -> Rows:
    total = Rows()
    for part in parts:
        total.merge(part)
    return total


def _sum_calls(parts: Iterable[Calls]) -> Calls:
    total = Calls()
    for part in parts:
        total.merge(part)
    return total
