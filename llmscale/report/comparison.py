"""A report beside that of an earlier run: what got better, what got worse.

Speeds of two runs can be compared where they did the same work on the same kind of machine; that
is for the reader to know.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from llmscale.accounting.run_numbers import Report
from llmscale.report.figures import duration, seconds, share, significant, usd


class Compared(NamedTuple):
    """One figure of both runs, and how the second stands to the first."""

    name: str
    before: float | None
    after: float | None
    said: tuple[str, str]  # both, in a person's words
    ratio: float | None  # None: one of them is missing or zero
    is_better: bool | None  # None: neither, or nobody can say


class _FigureOfBoth(NamedTuple):
    name: str
    of: Callable[[Report], float | None]
    text: Callable[[float | None], str]
    more_is: int  # 1: better, -1: worse, 0: neither


def compare(before: Report, after: Report) -> list[Compared]:
    """Return the figures of two reports side by side."""
    return [_compared(figure, figure.of(before), figure.of(after)) for figure in _FIGURES]


_SAME = 0.02  # a difference below this is none


class ComparedFigure(msgspec.Struct, frozen=True):
    """One figure of both runs, without its words."""

    name: str
    before: float | None
    after: float | None
    ratio: float | None
    is_better: bool | None


def without_words(compared: Sequence[Compared]) -> list[ComparedFigure]:
    """Return the figures as a program reads them."""
    return [ComparedFigure(c.name, c.before, c.after, c.ratio, c.is_better) for c in compared]


def _compared(figure: _FigureOfBoth, before: float | None, after: float | None) -> Compared:
    ratio = after / before if before and after is not None else None
    is_better = None
    if before is not None and after is not None and figure.more_is:
        difference = (after - before) * figure.more_is
        if abs(after - before) > _SAME * max(abs(before), abs(after)):
            is_better = difference > 0
    said = (figure.text(before), figure.text(after))
    return Compared(figure.name, before, after, said, ratio, is_better)


def _done(report: Report) -> int:
    return report.rows.answered + report.rows.failed


def _per_row(report: Report, amount: float | None) -> float | None:
    done = _done(report)
    return None if amount is None or not done else amount / done


def _thousand(report: Report) -> float | None:
    cost_usd = _per_row(report, report.calls.cost_usd)
    return None if cost_usd is None else cost_usd * 1000


def _retries(report: Report) -> float | None:
    attempts = report.calls.attempts
    return report.calls.retries / attempts if attempts else None


_FIGURES = (
    _FigureOfBoth("rows", _done, significant, 0),
    _FigureOfBoth("time", lambda r: r.wall_s, lambda v: "-" if v is None else duration(v), 0),
    _FigureOfBoth("rows/s", lambda r: r.rows_per_s, significant, 1),
    _FigureOfBoth("failed", lambda r: _per_row(r, r.rows.failed), share, -1),
    _FigureOfBoth("retries of calls", _retries, share, -1),
    _FigureOfBoth("cache hit rate", lambda r: r.cache.hit_rate, share, 1),
    _FigureOfBoth("p50 s of rows", lambda r: r.rows.latency_s.p50, seconds, -1),
    _FigureOfBoth("p99 s of rows", lambda r: r.rows.latency_s.p99, seconds, -1),
    _FigureOfBoth("p50 s in the model", lambda r: r.calls.latency_s.p50, seconds, -1),
    _FigureOfBoth("p99 s in the model", lambda r: r.calls.latency_s.p99, seconds, -1),
    _FigureOfBoth(
        "tokens a row", lambda r: _per_row(r, r.calls.tokens.total_tokens), significant, -1
    ),
    _FigureOfBoth("cost of 1,000 rows", _thousand, usd, -1),
)
