"""`llmscale report`: the report of a finished run as tables, JSON or an HTML page."""

from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import asdict

from llmscale.accounting.run_numbers import Report
from llmscale.core.atomic_file import replace_file
from llmscale.core.errors import ConfigError
from llmscale.job import job_paths
from llmscale.report.report_file import load as load_report


class Reports(NamedTuple):
    """The report of a run, and that of an earlier one to compare with."""

    report: Report
    baseline: Report | None


def load(output: Path, baseline: Path | None) -> Reports:
    """Return the report of an output, and that of an earlier run. Raises `ConfigError`."""
    found, *earlier = (
        load_report(job_paths.report_of(path)) for path in (output, baseline) if path is not None
    )
    return Reports(found, earlier[0] if earlier else None)


def as_json(reports: Reports) -> Any:
    """Return the report for JSON; with a baseline it has a field `compared`."""
    if reports.baseline is None:
        return reports.report
    from llmscale.report.comparison import compare, without_words

    compared = without_words(compare(reports.baseline, reports.report))
    return {**asdict(reports.report), "compared": compared}


def write_page(reports: Reports, output: Path, page: Path | None) -> Path:
    """Write the report as an HTML page and return its path; `page` None: beside the report.

    Raises `StorageError`, and `ConfigError` if the page would replace the report or the output.
    """
    from llmscale.report.page import page as page_of

    path = page or job_paths.page_of(output)
    if path.suffix in (".json", ".jsonl"):
        raise ConfigError(f"--html {path} would replace a job file; use a name that ends in .html")
    if path.is_file() and not path.read_bytes()[:9].lower().startswith(b"<!doctype"):
        raise ConfigError(f"--html {path} exists and is no page; use a name that ends in .html")
    replace_file(path, page_of(*reports))
    return path
