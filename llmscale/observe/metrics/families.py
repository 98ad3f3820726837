"""The Prometheus metrics of a run, and their names: `llmscale help metrics`.

The names and labels are a promise: dashboards and alerts are built on them. Counts begin at 0 with
each run, as with each start of any process.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from llmscale.accounting.stats import Calls, Latency, Stats
from llmscale.core.printable import printable
from llmscale.observe.metrics.exposition import Family, Labels

BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Facts(NamedTuple):
    """What is known of the run beside its numbers."""

    total: int | None  # rows; None: not known yet
    kept: int  # rows that earlier runs answered
    breakers: Mapping[str, tuple[int, int]]  # of endpoints: how often it opened, and closed
    written_s: float  # when, in seconds since 1970
    exit_code: int | None = None  # None: the run goes on


class _Samples:
    """Collects the samples of one family; `run` is a label of all of them."""

    def __init__(self, run: str) -> None:
        self._run = run
        self.all: list[tuple[str, Labels, float]] = []

    def add(self, value: float, ending: str = "", **labels: str) -> None:
        """Count a sample. Names of models come from outside: nothing in them steers a terminal."""
        shown = {name: printable(label) for name, label in labels.items()}
        self.all.append((ending, {"run": self._run, **shown}, value))

    def add_histogram(self, latency: Latency, **labels: str) -> None:
        """Count a distribution of seconds."""
        counts = latency.counts_up_to(BUCKETS_S)
        for bound_s, count in zip(BUCKETS_S, counts, strict=True):
            self.add(count, "_bucket", **labels, le=f"{bound_s:g}")
        self.add(latency.count, "_bucket", **labels, le="+Inf")
        self.add(latency.sum_s, "_sum", **labels)
        self.add(latency.count, "_count", **labels)


def families_of(run: str, stats: Stats, facts: Facts) -> Iterator[Family]:
    """Yield all metrics. `run` tells files of one machine apart."""
    yield from _of_calls(run, stats.calls_by_endpoint_and_model())
    yield from _of_models(run, stats.calls_by_model())
    yield from _of_lookups(run, stats)
    opened = _Samples(run)
    for endpoint, (opens, closes) in sorted(facts.breakers.items()):
        opened.add(opens, endpoint=endpoint, to="open")
        opened.add(closes, endpoint=endpoint, to="closed")
    yield Family(
        "llmscale_breaker_transitions_total",
        "counter",
        "How often the circuit of an endpoint opened (open), and closed again (closed).",
        opened.all,
    )
    yield from _of_run(run, stats, facts)


def _of_calls(run: str, calls: Mapping[tuple[str, str], Calls]) -> Iterable[Family]:
    requests, seconds, errors, retries = (_Samples(run) for _ in range(4))
    for (endpoint, model), counted in calls.items():
        failed = counted.failures.total()
        at = {"endpoint": endpoint, "model": model}
        requests.add(counted.attempts - failed, **at, outcome="answered")
        requests.add(failed, **at, outcome="failed")
        seconds.add_histogram(counted.latency, **at)
        for kind, count in sorted(counted.failures.items()):
            errors.add(count, **at, type=kind)
        retries.add(counted.retries, **at)
    return (
        Family("llmscale_requests_total", "counter", "Calls sent.", requests.all),
        Family(
            "llmscale_request_duration_seconds",
            "histogram",
            "Seconds that answered calls took, without waiting.",
            seconds.all,
        ),
        Family("llmscale_errors_total", "counter", "Failed calls by type.", errors.all),
        Family("llmscale_retries_total", "counter", "Calls after a failed one.", retries.all),
    )


def _of_models(run: str, calls: Mapping[str, Calls]) -> Iterable[Family]:
    tokens, cost, unpriced = (_Samples(run) for _ in range(3))
    for model, counted in calls.items():
        tokens.add(counted.usage.input_tokens, model=model, direction="input")
        tokens.add(counted.usage.output_tokens, model=model, direction="output")
        if counted.known_cost_usd is not None:  # an unknown price is not 0
            cost.add(counted.known_cost_usd, model=model)
        unpriced.add(counted.unpriced, model=model)
    return (
        Family("llmscale_tokens_total", "counter", "Tokens of all calls.", tokens.all),
        Family("llmscale_cost_usd_total", "counter", "Dollars, where prices are known.", cost.all),
        Family(
            "llmscale_unpriced_requests_total",
            "counter",
            "Calls whose price is not known.",
            unpriced.all,
        ),
    )


def _of_lookups(run: str, stats: Stats) -> Iterable[Family]:
    hits, misses = _Samples(run), _Samples(run)
    for model, lookups in stats.lookups_by_model().items():
        hits.add(lookups.hits, model=model)
        misses.add(lookups.misses, model=model)
    return (
        Family("llmscale_cache_hits_total", "counter", "Answers found in the cache.", hits.all),
        Family(
            "llmscale_cache_misses_total", "counter", "Answers not found in the cache.", misses.all
        ),
    )


def _of_run(run: str, stats: Stats, facts: Facts) -> Iterable[Family]:
    rows, written, exit_code = (_Samples(run) for _ in range(3))
    counted = stats.rows()
    rows.add(facts.kept, state="kept")
    rows.add(counted.answered, state="answered")
    rows.add(counted.failed, state="failed")
    if facts.total is not None:
        rows.add(max(0, facts.total - facts.kept - stats.done), state="pending")
    written.add(facts.written_s)
    if facts.exit_code is not None:
        exit_code.add(facts.exit_code)
    return (
        Family("llmscale_rows", "gauge", "Rows of the job; kept: from earlier runs.", rows.all),
        Family(
            "llmscale_last_run_timestamp_seconds",
            "gauge",
            "When the run was last alive, in seconds since 1970.",
            written.all,
        ),
        Family(
            "llmscale_exit_code",
            "gauge",
            "The exit code of the run; not there while it goes on.",
            exit_code.all,
        ),
    )
