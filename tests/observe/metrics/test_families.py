"""The metrics are the numbers of the run, under names and labels that dashboards are built on."""

from prometheus_client.parser import text_string_to_metric_families

from llmscale.accounting.stats import Stats
from llmscale.core.records import Failure, Outcome, Reply, Request, Row, Usage
from llmscale.observe.metrics import Facts, families_of
from llmscale.observe.metrics.exposition import text_of
from llmscale.observe.metrics.families import BUCKETS_S

Labels = frozenset[tuple[str, str]]

AT = {"endpoint": "there", "model": "sim/a"}


def reply(cost_usd: float | None = 0.5) -> Reply:
    usage = Usage(100, 20)
    return Reply(text="x", finish_reason="stop", model="a", usage=usage, cost_usd=cost_usd)


def mixed() -> Stats:
    """Four calls, one of them a failed one that was tried again, and two that were slow."""
    stats = Stats()
    row = Row(index=0, request=Request(model="sim/a", messages=[]))
    for latency_s in (0.02, 2.0, 7.0):
        stats.calls_at("there", "sim/a").add(latency_s, [reply()])
        stats.add_outcome(Outcome(row=row, reply=reply(), latency_s=latency_s))
    stats.calls_at("there", "sim/a").add(0.1, [], "rate_limited")
    stats.calls_at("here", "sim/a").add(0.2, [], "timeout", attempt=2)
    stats.add_outcome(Outcome(row=row, failure=Failure(kind="timeout", message="")))
    stats.calls_at("there", "openai/b").add(0.2, [reply(None)])
    for hit in (True, True, False):
        stats.add_lookup("sim/a", hit=hit)
    return stats


def samples(stats: Stats, facts: Facts, run: str = "nightly") -> dict[tuple[str, Labels], float]:
    """Return each sample, as the client library reads it, without the label `run`."""
    found = {}
    for family in text_string_to_metric_families(text_of(families_of(run, stats, facts))):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("run") == run
            key = (sample.name, frozenset(labels.items()))
            assert key not in found, "a sample is there once"
            found[key] = sample.value
    return found


def facts(**fields: object) -> Facts:
    known = {"total": 10, "kept": 2, "breakers": {}, "written_s": 1.5e9} | fields
    return Facts(**known)  # type: ignore[arg-type]


def value(found: dict[tuple[str, Labels], float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_calls_are_counted_by_endpoint_model_and_outcome() -> None:
    found = samples(mixed(), facts())
    requests = "llmscale_requests_total"
    assert value(found, requests, **AT, outcome="answered") == 3
    assert value(found, requests, **AT, outcome="failed") == 1
    assert value(found, requests, endpoint="here", model="sim/a", outcome="failed") == 1
    assert value(found, "llmscale_errors_total", **AT, type="rate_limited") == 1
    assert value(found, "llmscale_retries_total", endpoint="here", model="sim/a") == 1
    assert value(found, "llmscale_retries_total", **AT) == 0


def test_durations_are_a_histogram_with_sum_and_count() -> None:
    found = samples(mixed(), facts())
    name = "llmscale_request_duration_seconds"
    counts = [value(found, f"{name}_bucket", **AT, le=f"{b:g}") for b in BUCKETS_S]
    assert counts == [1, 1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3]
    assert value(found, f"{name}_bucket", **AT, le="+Inf") == 3
    assert value(found, f"{name}_count", **AT) == 3
    assert abs(value(found, f"{name}_sum", **AT) - 9.02) < 1e-6


def test_tokens_and_dollars_are_counted_by_model_and_an_unknown_price_is_not_zero() -> None:
    found = samples(mixed(), facts())
    assert value(found, "llmscale_tokens_total", model="sim/a", direction="input") == 300
    assert value(found, "llmscale_tokens_total", model="sim/a", direction="output") == 60
    assert value(found, "llmscale_cost_usd_total", model="sim/a") == 1.5
    assert ("llmscale_cost_usd_total", frozenset({("model", "openai/b")})) not in found
    assert value(found, "llmscale_unpriced_requests_total", model="openai/b") == 1
    assert value(found, "llmscale_unpriced_requests_total", model="sim/a") == 0


def test_lookups_breakers_and_rows_are_counted() -> None:
    found = samples(mixed(), facts(breakers={"here": (3, 2)}))
    assert value(found, "llmscale_cache_hits_total", model="sim/a") == 2
    assert value(found, "llmscale_cache_misses_total", model="sim/a") == 1
    assert value(found, "llmscale_breaker_transitions_total", endpoint="here", to="open") == 3
    assert value(found, "llmscale_breaker_transitions_total", endpoint="here", to="closed") == 2
    rows = {s: value(found, "llmscale_rows", state=s) for s in ("kept", "answered", "failed")}
    assert rows == {"kept": 2, "answered": 3, "failed": 1}
    assert value(found, "llmscale_rows", state="pending") == 4


def test_the_exit_code_is_there_at_the_end_only_and_the_time_always() -> None:
    running, ended = samples(Stats(), facts()), samples(Stats(), facts(exit_code=4))
    assert value(running, "llmscale_last_run_timestamp_seconds") == 1.5e9
    assert ("llmscale_exit_code", frozenset()) not in running
    assert value(ended, "llmscale_exit_code") == 4


def test_rows_that_are_not_counted_yet_are_not_pending() -> None:
    found = samples(Stats(), facts(total=None))
    assert ("llmscale_rows", frozenset({("state", "pending")})) not in found


def test_a_model_with_an_ugly_name_breaks_no_line() -> None:
    stats = Stats()
    stats.calls_at('a"b', 'sim/\x1b[1m\n"\\').add(0.1, [reply()])
    found = samples(stats, facts())
    at = {"endpoint": 'a"b', "model": 'sim/\ufffd[1m\ufffd"\\'}
    assert value(found, "llmscale_requests_total", **at, outcome="answered") == 1


def test_every_metric_is_named_as_promised() -> None:
    families = {f.name: f.kind for f in families_of("x", mixed(), facts(exit_code=0))}
    assert families == {
        "llmscale_requests_total": "counter",
        "llmscale_request_duration_seconds": "histogram",
        "llmscale_errors_total": "counter",
        "llmscale_retries_total": "counter",
        "llmscale_tokens_total": "counter",
        "llmscale_cost_usd_total": "counter",
        "llmscale_unpriced_requests_total": "counter",
        "llmscale_cache_hits_total": "counter",
        "llmscale_cache_misses_total": "counter",
        "llmscale_breaker_transitions_total": "counter",
        "llmscale_rows": "gauge",
        "llmscale_last_run_timestamp_seconds": "gauge",
        "llmscale_exit_code": "gauge",
    }
