"""`llmscale status` as labelled lines, or as one line of JSON."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from llmscale.commands.status import JobStatus
from llmscale.core.printable import escaped
from llmscale.report.figures import counted, duration, usd

LABEL_COLUMNS = 10


def as_line(status: JobStatus) -> str:
    """Return a status as one line of JSON."""
    return escaped(msgspec.json.encode(status).decode())


def as_lines(status: JobStatus) -> list[str]:
    """Return a status in words."""
    head = f"{status.output}: {_state(status)}"
    return [head, *(f"{label:<{LABEL_COLUMNS}}{text}" for label, text in _figures(status))]


def _state(status: JobStatus) -> str:
    process, resumes = f"process {status.pid}", "the same command resumes"
    match status.state:
        case "running":
            return f"running since {_time(status.started)} ({process})"
        case "silent":
            return f"{process} has not moved since {_time(status.updated)}"
        case "stopped":
            return f"stopped at {_time(status.updated)}, exit code {status.exit_code}; {resumes}"
        case "killed":
            seen = "" if status.updated is None else f" after {_time(status.updated)}"
            return f"killed{seen}; {resumes}"
        case "finished":
            return "finished; `llmscale report` has the details"


def _figures(status: JobStatus) -> Iterator[tuple[str, str]]:
    yield "rows", _rows(status)
    if status.rows_per_s is not None:
        left = "" if status.eta_s is None else f", about {duration(status.eta_s)} left"
        yield "rate", f"{status.rows_per_s:,.1f} rows/s{left}"
    if status.failures:
        kinds = (f"{count:,} {kind}" for kind, count in status.failures.items())
        yield "failures", ", ".join(kinds)
    if status.tokens is not None:
        yield "tokens", f"{status.tokens:,}"
    if status.cost_usd is not None:
        yield "cost", _cost(status)


def _rows(status: JobStatus) -> str:
    done = status.answered + status.failed
    if status.rows is None:
        parts = [f"{counted(done, 'row')} done"]
    else:
        share = f" ({done / status.rows:.1%})".replace("%", " %") if status.rows else ""
        parts = [f"{done:,} of {status.rows:,}{share}"]
    parts.append(f"{status.failed:,} failed")
    if status.cached:
        parts.append(f"{status.cached:,} from the cache")
    return ", ".join(parts)


def _cost(status: JobStatus) -> str:
    at_least = "at least " if status.unpriced else ""
    cap = "" if status.max_cost_usd is None else f" of {usd(status.max_cost_usd)}"
    return f"{at_least}{usd(status.cost_usd)}{cap}"


def _time(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone().isoformat(sep=" ", timespec="seconds")
