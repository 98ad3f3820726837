"""What is counted of rows, look-ups and calls. Each count takes in another of its kind."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from llmscale.accounting.stats.latency import Latency
from llmscale.accounting.stats.summaries import (
    BatchesSummary,
    CallsSummary,
    RowsSummary,
    SavedSummary,
)
from llmscale.core.records import FailureKind, Outcome, Reply, Usage


class Saved:
    """What was not paid for again."""

    def __init__(self) -> None:
        self.tokens = 0
        self.usd = 0.0

    def add(self, reply: Reply) -> None:
        """Count one reply that was there already."""
        self.tokens += reply.usage.total_tokens
        self.usd += reply.cost_usd or 0.0

    def merge(self, other: "Saved") -> None:
        """Take in another count."""
        self.tokens += other.tokens
        self.usd += other.usd

    def summary(self) -> SavedSummary:
        """Return the numbers."""
        return SavedSummary(self.tokens, round(self.usd, 9))


class Rows:
    """What became of rows."""

    def __init__(self) -> None:
        self.answered = 0
        self.truncated = 0  # of those answered: cut at max_tokens
        self.cached = 0  # of those answered: from the cache
        self.deduped = 0  # of those answered: by the call of another row
        self.fallback = 0  # of those answered: by another model than the row's
        self.saved_by_cache = Saved()
        self.saved_by_sharing = Saved()
        self.failures: Counter[FailureKind] = Counter()
        self.latency = Latency()  # from being taken up to the answer

    @property
    def failed(self) -> int:
        """Rows without an answer."""
        return self.failures.total()

    @property
    def saved_tokens(self) -> int:
        """Tokens that were not paid for again."""
        return self.saved_by_cache.tokens + self.saved_by_sharing.tokens

    @property
    def saved_usd(self) -> float:
        """Dollars that were not paid again."""
        return self.saved_by_cache.usd + self.saved_by_sharing.usd

    def add(self, outcome: Outcome) -> None:
        """Count one row."""
        if outcome.failure is not None:
            self.failures[outcome.failure.kind] += 1
        elif outcome.reply is not None:
            self.answered += 1
            self.truncated += outcome.reply.finish_reason == "length"
            self.latency.add(outcome.latency_s)
            if outcome.row.request is not None and outcome.reply.answered_by:
                self.fallback += outcome.reply.answered_by != outcome.row.request.model
            if outcome.reply.cached or outcome.reply.deduped:
                self._add_saving(outcome.reply)

    def _add_saving(self, reply: Reply) -> None:
        self.cached += reply.cached
        self.deduped += reply.deduped
        (self.saved_by_cache if reply.cached else self.saved_by_sharing).add(reply)

    def merge(self, other: "Rows") -> None:
        """Take in another count."""
        self.answered += other.answered
        self.truncated += other.truncated
        self.cached += other.cached
        self.deduped += other.deduped
        self.fallback += other.fallback
        self.saved_by_cache.merge(other.saved_by_cache)
        self.saved_by_sharing.merge(other.saved_by_sharing)
        self.failures.update(other.failures)
        self.latency.merge(other.latency)

    def summary(self) -> RowsSummary:
        """Return the numbers."""
        return RowsSummary(
            answered=self.answered,
            truncated=self.truncated,
            cached=self.cached,
            deduped=self.deduped,
            fallback=self.fallback,
            failed=self.failed,
            failures=dict(self.failures.most_common()),
            latency_s=self.latency.summary(),
            latency_histogram=self.latency.histogram(),
        )


class Lookups:
    """What the cache was asked for."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0

    def merge(self, other: "Lookups") -> None:
        """Take in another count."""
        self.hits += other.hits
        self.misses += other.misses


class Batches:
    """Rows that went out together."""

    def __init__(self) -> None:
        self.count = 0
        self.rows = 0
        self.fill = 0.0  # the sum of the shares to which each was full

    def add(self, rows: int, fill: float) -> None:
        """Count one."""
        self.count += 1
        self.rows += rows
        self.fill += fill

    def merge(self, other: "Batches") -> None:
        """Take in another count."""
        self.count += other.count
        self.rows += other.rows
        self.fill += other.fill

    def summary(self) -> BatchesSummary:
        """Return the numbers; means are None where there was no batch."""
        count = self.count
        return BatchesSummary(
            count,
            self.rows,
            round(self.rows / count, 3) if count else None,
            round(self.fill / count, 6) if count else None,
        )


class Waited(NamedTuple):
    """How long a call waited until it went out."""

    queued_s: float  # for a slot
    limited_s: float  # for a limit, a cooldown, an adaptive rate, or a reservation


NOT_WAITED = Waited(0.0, 0.0)


class Calls:
    """What was sent, what came back, and what it cost: every attempt counts, answered or not."""

    def __init__(self) -> None:
        self.attempts = 0
        self.retries = 0  # of those: not the first of a call
        self.failures: Counter[FailureKind] = Counter()
        self.usage = Usage()
        self.cost_usd = 0.0
        self.unpriced = 0  # attempts whose price is unknown: `cost_usd` leaves them out
        # of attempts that were answered: waiting for a slot, for a limit or a cooldown; the call
        self.queued = Latency()
        self.limited = Latency()
        self.latency = Latency()
        self.total = Latency()

    def add(
        self,
        latency_s: float,
        replies: Sequence[Reply],
        failure: FailureKind | None = None,
        waited: Waited = NOT_WAITED,
        attempt: int = 1,
    ) -> None:
        """Count one attempt. A failed one has a reply too where it was paid for."""
        self.attempts += 1
        self.retries += attempt > 1
        if failure is None:
            self.queued.add(waited.queued_s)
            self.limited.add(waited.limited_s)
            self.latency.add(latency_s)
            self.total.add(waited.queued_s + waited.limited_s + latency_s)
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
        self.retries += other.retries
        self.failures.update(other.failures)
        self.usage += other.usage
        self.cost_usd += other.cost_usd
        self.unpriced += other.unpriced
        self.queued.merge(other.queued)
        self.limited.merge(other.limited)
        self.latency.merge(other.latency)
        self.total.merge(other.total)

    @property
    def known_cost_usd(self) -> float | None:
        """Dollars, or None where no price was known for any of it."""
        return None if self.unpriced and not self.cost_usd else self.cost_usd

    def summary(self) -> CallsSummary:
        """Return the numbers."""
        cost_usd = self.known_cost_usd
        return CallsSummary(
            attempts=self.attempts,
            retries=self.retries,
            failures=dict(self.failures.most_common()),
            tokens=self.usage,
            cost_usd=None if cost_usd is None else round(cost_usd, 9),
            unpriced=self.unpriced,
            queued_s=self.queued.summary(),
            limited_s=self.limited.summary(),
            latency_s=self.latency.summary(),
            total_s=self.total.summary(),
        )


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
