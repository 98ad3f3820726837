"""Everything that a run counts, by model and by endpoint; sums are made when they are asked for."""

from collections import defaultdict
from collections.abc import Iterable

from llmscale.accounting.stats.bottlenecks import BOTTLENECK_OF, Bottleneck, Cause
from llmscale.accounting.stats.counts import (
    Batches,
    Calls,
    Lookups,
    Rows,
    Spend,
)
from llmscale.accounting.stats.failures import Failures
from llmscale.accounting.stats.series import Progressed, Series
from llmscale.accounting.stats.users import Users
from llmscale.core.records import Outcome


class Stats:
    """Everything that a run counts."""

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = {}  # by model; "" for rows that are no request
        self._calls: dict[tuple[str, str], Calls] = {}  # by endpoint and model
        self._lookups: dict[str, Lookups] = {}  # by model
        self.done = 0  # rows that have an outcome
        self.batches = Batches()
        self.users = Users()
        self.failures = Failures()
        self.series = Series()
        self.causes_s: defaultdict[Cause, float] = defaultdict(float)  # of what held the run back

    def add_outcome(self, outcome: Outcome) -> None:
        """Count what became of a row."""
        request = outcome.row.request
        model = request.model if request is not None else ""
        rows = self._rows.get(model)
        if rows is None:
            rows = self._rows[model] = Rows()
        rows.add(outcome)
        if outcome.row.user is not None:
            self.users.add(outcome.row.user, outcome)
        if outcome.failure is not None:
            self.failures.add(outcome)
        self.done += 1

    def calls_at(self, endpoint: str, model: str) -> Calls:
        """Return the count of the calls to an endpoint for a model, to be added to."""
        calls = self._calls.get((endpoint, model))
        if calls is None:
            calls = self._calls[endpoint, model] = Calls()
        return calls

    def add_lookup(self, model: str, *, hit: bool) -> None:
        """Count one question to the cache."""
        lookups = self._lookups.get(model)
        if lookups is None:
            lookups = self._lookups[model] = Lookups()
        if hit:
            lookups.hits += 1
        else:
            lookups.misses += 1

    def add_batch(self, rows: int, fill: float) -> None:
        """Count a call for several rows; `fill`: the share of the cap that closed it."""
        self.batches.add(rows, fill)

    def merge(self, other: "Stats") -> None:
        """Take in the numbers of another shard."""
        self.done += other.done
        self.batches.merge(other.batches)
        self.users.merge(other.users)
        self.failures.merge(other.failures)
        self.series.merge(other.series)
        for cause, seconds in other.causes_s.items():
            self.causes_s[cause] += seconds
        for model, rows in other._rows.items():
            self._rows.setdefault(model, Rows()).merge(rows)
        for key, calls in other._calls.items():
            self._calls.setdefault(key, Calls()).merge(calls)
        for model, lookups in other._lookups.items():
            self._lookups.setdefault(model, Lookups()).merge(lookups)

    def progressed(self) -> Progressed:
        """Return what has come to an end, without the distributions, which take their time."""
        calls = self._calls.values()
        return Progressed(
            self.done,
            sum(rows.failed for rows in self._rows.values()),
            sum(c.usage.total_tokens for c in calls),
            sum(c.cost_usd for c in calls),
        )

    def held_s(self) -> dict[Bottleneck, float]:
        """Return for how many seconds the run was held back by what."""
        held_s: defaultdict[Bottleneck, float] = defaultdict(float)
        for cause, seconds in self.causes_s.items():
            held_s[BOTTLENECK_OF[cause]] += seconds
        return dict(held_s)

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

    def calls_by_endpoint_and_model(self) -> dict[tuple[str, str], Calls]:
        """Return the counts of the calls to each endpoint for each model."""
        return dict(sorted(self._calls.items()))

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
