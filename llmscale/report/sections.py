"""The tables of a report, as text: the same on a terminal and on the page."""

from collections.abc import Iterator
from typing import NamedTuple

from llmscale.accounting.run_numbers import Report
from llmscale.accounting.stats.summaries import CallsSummary
from llmscale.report.comparison import compare
from llmscale.report.figures import cost_of, hours, number, seconds, share, significant, usd


class Section(NamedTuple):
    """A table: its first column is text, the others are aligned as numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def sections(report: Report, baseline: Report | None = None) -> list[Section]:
    """Return the tables that have something to say. `baseline`: the report of an earlier run."""
    made = [
        *_compared(report, baseline),
        _estimate(report),
        _alerts(report),
        _models(report),
        _endpoints(report),
        _waiting(report),
        _failures("Failed rows", report.rows.failures, report.rows.total),
        _messages(report),
        _failures("Failed calls", report.calls.failures, report.calls.attempts),
        _users(report),
        _cache(report),
        _documents(report),
        _held(report),
    ]
    return [_narrowed(section) for section in made if section.rows]


def _narrowed(section: Section) -> Section:
    """Leave out the columns that say nothing in any row."""
    columns = zip(*section.rows, strict=True)
    kept = [n for n, cells in enumerate(columns) if not n or set(cells) - {"0", "-", ""}]
    rows = [[row[n] for n in kept] for row in section.rows]
    return Section(section.title, [section.columns[n] for n in kept], rows)


def _compared(report: Report, baseline: Report | None) -> Iterator[Section]:
    if baseline is None:
        return
    words = {True: "better", False: "worse", None: ""}
    rows = []
    for c in compare(baseline, report):
        ratio = "-" if c.ratio is None else f"{c.ratio:.2f}x"
        rows.append([c.name, *c.said, ratio, words[c.is_better]])
    yield Section("Beside the baseline", ["", "baseline", "this run", "ratio", ""], rows)


def _estimate(report: Report) -> Section:
    """The estimate of the job, and its projection by this run."""
    estimate, rows = report.estimate, []
    for name, title, text in (("usd", "cost", usd), ("hours", "time", hours)):
        if estimate is not None:
            values = [getattr(estimate, key) for key in (name, f"{name}_low", f"{name}_high")]
            projected = getattr(estimate, f"projected_{name}")
            drift = "outside" if name in estimate.drift else "within"
            rows.append([title, *(text(v) for v in values), text(projected), drift])
    columns = ["", "estimated", "at least", "at most", "comes to", "bounds"]
    return Section("Beside the estimate", columns, rows)


def _alerts(report: Report) -> Section:
    rows = [
        [
            alert.rule,
            "fails" if alert.fails else "",
            seconds(alert.tripped_at_s),
            significant(alert.value, 4),
            significant(alert.value_at_end, 4),
        ]
        for alert in report.alerts
    ]
    return Section("Alerts", ["rule", "exit code", "at s", "then", "at the end"], rows)


def _documents(report: Report) -> Section:
    documents = report.documents
    if documents is None:
        return Section("Documents", [], [])
    rows = [
        [name, f"{getattr(documents, name):,}"]
        for name in ("files", "complete", "failed", "chunks")
    ]
    rows += [[f"left out: {reason}", f"{n:,}"] for reason, n in documents.skipped.items()]
    return Section("Documents", ["", "count"], rows)


def _models(report: Report) -> Section:
    columns = ["model", "answered", "failed", "cached", "shared", "cut", "fallback"]
    columns += ["tokens in", "tokens out", "cost", "p50 s", "p99 s"]
    rows = []
    for model, part in report.models.items():
        counts, calls = part.rows, part.calls
        names = ("answered", "failed", "cached", "deduped", "truncated", "fallback")
        rows.append(
            [
                model,
                *(f"{getattr(counts, name):,}" for name in names),
                f"{calls.tokens.input_tokens:,}",
                f"{calls.tokens.output_tokens:,}",
                cost_of(calls),
                seconds(counts.latency_s.p50),
                seconds(counts.latency_s.p99),
            ]
        )
    return Section("Models", columns, rows)


def _endpoints(report: Report) -> Section:
    columns = ["endpoint", "calls", "retries", "failed", "429", "trips", "tokens", "cost"]
    columns += ["rpm", "tpm", "adaptive rpm"]
    rows = [
        [
            name,
            f"{part.attempts:,}",
            f"{part.retries:,}",
            f"{sum(part.failures.values()):,}",
            f"{part.failures.get('rate_limited', 0):,}",
            f"{part.trips:,}",
            f"{part.tokens.total_tokens:,}",
            cost_of(part),
            _lower(part.limits.rpm, part.limits.provider_rpm),
            _lower(part.limits.tpm, part.limits.provider_tpm),
            number(part.limits.adaptive_rpm),
        ]
        for name, part in report.endpoints.items()
    ]
    return Section("Endpoints", columns, rows)


def _lower(configured: float | None, reported: float | None) -> str:
    """Return the lower of what is set and what the provider has said."""
    known = [value for value in (configured, reported) if value is not None]
    return number(min(known, default=None))


def _waiting(report: Report) -> Section:
    parts = ("queued_s", "limited_s", "latency_s", "total_s")
    columns = ["seconds of a call"]
    for word in ("queued", "limited", "in the model", "total"):
        columns += [f"{word} p50", "p99"]
    places: dict[str, CallsSummary] = dict(report.endpoints)
    if len(report.models) > 1:
        places |= {model: part.calls for model, part in report.models.items()}
    rows = []
    for name, calls in places.items():
        if calls.total_s.p50 is not None:
            found = [getattr(calls, part) for part in parts]
            rows.append([name, *(seconds(v) for part in found for v in (part.p50, part.p99))])
    return Section("Where calls spend their time", columns, rows)


def _failures(title: str, failures: dict[str, int], of: int) -> Section:
    rows = [[kind, f"{n:,}", share(n / of if of else None)] for kind, n in failures.items()]
    return Section(title, ["type", "count", "share"], rows)


def _messages(report: Report) -> Section:
    rows = [
        [f"{found.message}", found.kind, f"{found.count:,}", f"{found.row}", str(found.id or "-")]
        for found in report.failures
    ]
    columns = ["message", "type", "rows", "for example row", "its id"]
    return Section("What failed rows have met", columns, rows)


def _users(report: Report) -> Section:
    users = report.users
    listed = [(u.user or "", u) for u in users.top]
    if users.others is not None:
        listed.append(("all others", users.others))
    rows = [
        [name, f"{u.rows:,}", f"{u.failed:,}", f"{u.tokens:,}", usd(u.cost_usd)]
        for name, u in listed
    ]
    return Section("Users", ["user", "rows", "failed", "tokens", "cost"], rows)


def _cache(report: Report) -> Section:
    cache = report.cache
    rows = []
    if cache.hits or cache.misses:
        text = f"{cache.hits:,} of {cache.hits + cache.misses:,} look-ups"
        rows.append(["hit rate", share(cache.hit_rate), text])
    for name, saved in (
        ("saved by the cache", cache.saved_by_cache),
        ("saved by shared calls", cache.saved_by_sharing),
    ):
        if saved.tokens:
            rows.append([name, usd(saved.usd), f"{saved.tokens:,} tokens"])
    troubles = ("dropped", "evicted", "refused", "errors")
    found = {name: getattr(cache, name) for name in troubles}
    rows += [[name, f"{count:,}", ""] for name, count in found.items() if count]
    return Section("Cache", ["", "", ""], rows)


def _held(report: Report) -> Section:
    wall_s = report.wall_s
    found = [(by, s) for by, s in report.bottleneck.seconds.items() if s]
    found.sort(key=lambda part: -part[1])
    rows = [[by, seconds(s), share(s / wall_s if wall_s else None)] for by, s in found]
    return Section("What held the run back", ["", "seconds", "share"], rows)
