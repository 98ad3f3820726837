"""`report.json`, typed: everything that is known of a run at its end.

Its schema: `llmscale help report`. Written by `report.builder`, read by everyone else.
"""

import msgspec

from llmscale.accounting.forecast.drift_summary import DriftSummary
from llmscale.accounting.stats.counts import Spend
from llmscale.accounting.stats.summaries import (
    BatchesSummary,
    CallsSummary,
    FailureSummary,
    RowsSummary,
    SavedSummary,
    Timeline,
    UsersSummary,
)

SCHEMA_VERSION = 2


class ReportedRows(RowsSummary, frozen=True, kw_only=True):
    """The rows of the job: those of this run, and those before and after it."""

    total: int
    kept: int  # answered by earlier runs
    pending: int


class StoreCounts(msgspec.Struct, frozen=True):
    """What the cache has gone through in this run."""

    stored: int = 0
    dropped: int = 0
    evicted: int = 0
    refused: int = 0
    errors: int = 0


class CacheUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the cache has done; `hit_rate` is None without look-ups.

    The last five are those of `StoreCounts`, absent without a cache.
    """

    mode: str
    hits: int
    misses: int
    hit_rate: float | None
    deduped: int
    saved_tokens: int
    saved_usd: float
    saved_by_cache: SavedSummary
    saved_by_sharing: SavedSummary
    stored: int | None = None
    dropped: int | None = None
    evicted: int | None = None
    refused: int | None = None
    errors: int | None = None


class DocumentCounts(msgspec.Struct, frozen=True):
    """The files that were embedded."""

    files: int
    failed: int
    complete: int
    chunks: int
    skipped: dict[str, int]  # by reason


class ModelNumbers(msgspec.Struct, frozen=True):
    """One model: the rows that were to be answered by it, and its calls."""

    rows: RowsSummary
    calls: CallsSummary


class EndpointLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits as they are set, as the provider reports them, and as they were adapted to."""

    rpm: float | None = None
    tpm: float | None = None
    provider_rpm: float | None = None
    provider_tpm: float | None = None
    adaptive_rpm: float | None = None


class EndpointState(msgspec.Struct, frozen=True):
    """How often the circuit of an endpoint opened, and its limits."""

    trips: int
    limits: EndpointLimits


class EndpointUse(CallsSummary, frozen=True, kw_only=True):
    """The calls to one endpoint."""

    trips: int
    limits: EndpointLimits


class BottleneckSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What held the run back most, and all of it in seconds."""

    main: str
    share: float
    says: str
    advice: str | None
    seconds: dict[str, float]


class AlertRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that has tripped."""

    rule: str
    decides: bool  # the exit code
    fails: bool
    value: float | None
    tripped_at_s: float | None
    value_at_end: float | None


class JobCosts(msgspec.Struct, frozen=True, kw_only=True):
    """What all runs of the job have cost; `left_usd` is None without a cap."""

    runs: int
    spend: Spend
    unconfirmed_usd: float
    max_cost_usd: float | None
    left_usd: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run. All numbers but those under `job` are of this run."""

    schema: int
    llmscale: str  # the version
    inputs: list[str]
    output: str
    started: str
    wall_s: float
    exit_code: int
    rows: ReportedRows
    failures: list[FailureSummary]  # the messages of most rows
    rows_per_s: float | None
    calls: CallsSummary
    cache: CacheUse
    batches: BatchesSummary
    documents: DocumentCounts | None
    models: dict[str, ModelNumbers]
    endpoints: dict[str, EndpointUse]
    users: UsersSummary
    bottleneck: BottleneckSummary
    timeline: Timeline
    alerts: list[AlertRecord]
    max_repeated_calls: int
    job: JobCosts
    estimate: DriftSummary | None

    @property
    def calls_per_s(self) -> float | None:
        """Calls per second; None if the run made none."""
        return self.calls.attempts / self.wall_s if self.calls.attempts and self.wall_s else None

    def provider_rpm(self, endpoint: str) -> float | None:
        """Return the requests per minute that the provider reported for an endpoint."""
        found = self.endpoints.get(endpoint)
        return None if found is None else found.limits.provider_rpm
