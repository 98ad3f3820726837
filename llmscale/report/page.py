"""A report as one page of HTML that needs nothing else: no script, no asset, no network.

Everything that comes from a report is escaped by the template; a content security policy allows
the page's own style sheet, by its hash, and nothing more.
"""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from llmscale.accounting.run_numbers import Report, ReportedRows
from llmscale.core.printable import printable
from llmscale.report import figures as amounts
from llmscale.report.charts import ChartLine, Mark, Part, bars, histogram, over_time, stacked
from llmscale.report.remarks import remarks
from llmscale.report.sections import sections

_FOLDER = Path(__file__).parent

MAX_POINTS = 80  # of a line

_COLOURS = {
    "start": "f9",
    "requests": "f1",
    "tokens": "f2",
    "users": "f3",
    "concurrency": "f0",
    "provider": "f4",
    "retries": "f5",
    "budget": "f6",
    "cpu": "f7",
    "disk": "f8",
    "end": "f9",
}
"""What held a run back, and its colour in the style sheet."""


def page(report: Report, baseline: Report | None = None) -> bytes:
    """Return the page of a report, beside that of an earlier run if there is one."""
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html.j2")
    text = template.render(
        report=report,
        style=Markup(style),  # noqa: S704 (a file of this package)
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        tiles=_tiles(report),
        remarks=remarks(report),
        held=_held(report),
        held_bar=stacked(_held(report)),
        charts=_charts(report),
        sections=sections(report, baseline),
        printable=printable,
    )
    return text.encode("utf-8", errors="replace")


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    """Return what is to be seen first: a name, a figure, and a word on it."""
    rows, calls, cache = report.rows, report.calls, report.cache
    answered = rows.kept + rows.answered
    tiles = [
        ("answered", f"{answered:,}", f"of {rows.total:,} rows"),
        ("failed", f"{rows.failed:,}", _pending(rows)),
        ("time", amounts.duration(report.wall_s), f"{report.rows_per_s or 0:,.1f} rows/s"),
        ("cost", amounts.cost_of(calls), f"{calls.tokens.total_tokens:,} tokens"),
        ("retries", f"{calls.retries:,}", f"of {calls.attempts:,} calls"),
    ]
    if cache.hit_rate is not None:
        saved = f"{amounts.usd(cache.saved_usd)} saved"
        tiles.append(("cache hits", amounts.share(cache.hit_rate), saved))
    return tiles


def _pending(rows: ReportedRows) -> str:
    return f"{rows.pending:,} pending" if rows.pending else "none pending"


def _held(report: Report) -> list[Part]:
    wall_s = report.wall_s or 1.0
    parts = [
        Part(by, _COLOURS.get(by, "f9"), s, f"{amounts.duration(s)}, {amounts.share(s / wall_s)}")
        for by, s in report.bottleneck.seconds.items()
        if s / wall_s >= 0.001
    ]
    return sorted(parts, key=lambda part: -part.value)


def _charts(report: Report) -> list[tuple[str, list[tuple[str, str]], Markup]]:
    """Return title, legend (class and name) and picture of each chart."""
    timeline = report.timeline
    every = max(1, -(-len(timeline.rows) // MAX_POINTS))  # steps that become one point
    step_s = timeline.step_s * every

    def line(name: str, colour: str, field: str, per: float) -> ChartLine:
        values: list[float] = getattr(timeline, field)
        groups = [values[n : n + every] for n in range(0, len(values), every)]
        return ChartLine(name, colour, [sum(group) / (len(group) * per) for group in groups])

    rate = [line("rows/s", "c0", "rows", timeline.step_s)]
    if report.rows.failed:
        rate.append(line("failed/s", "c5", "failed", timeline.step_s))
    calls = [line("in flight", "c0", "in_flight", 1), line("waiting", "c1", "waiting", 1)]
    charts = [
        ("Rows over time", _legend(rate), over_time(rate, step_s)),
        ("Calls over time", _legend(calls), over_time(calls, step_s)),
    ]
    spread = report.rows.latency_histogram
    if spread.rows:
        latency = report.rows.latency_s
        marks = [Mark(name, getattr(latency, name) or 0.0) for name in ("p50", "p95", "p99")]
        picture = histogram(spread.upper_s, spread.rows, marks)
        charts.append(("Latency of rows, with waiting and retries", [], picture))
    if report.models:
        charts.append(("Tokens and spend by model", [], bars(_spend(report))))
    return charts


def _legend(lines: list[ChartLine]) -> list[tuple[str, str]]:
    return [(line.colour, line.name) for line in lines]


def _spend(report: Report) -> list[Part]:
    parts = []
    for model, part in report.models.items():
        tokens = part.calls.tokens.total_tokens
        text = f"{tokens:,} tokens, {amounts.cost_of(part.calls)}"
        parts.append(Part(printable(model), "f0", tokens, text))
    return sorted(parts, key=lambda part: -part.value)[:12]
