"""What the tests of JUnit files and summaries share: the report of a run, made of its numbers."""

from typing import Any

from llmscale.accounting.stats import Stats


def report_of(
    stats: Stats, total: int, *, exit_code: int = 1, output: str = "out.jsonl", kept: int = 0
) -> dict[str, Any]:
    """Return the parts of a report that a summary and a JUnit file are made of."""
    pending = total - kept - stats.done
    return {
        "llmscale": "1.2.3",
        "output": output,
        "started": "2026-01-02T03:04:05+00:00",
        "wall_s": 2.0,
        "exit_code": exit_code,
        "rows": {"total": total, "kept": kept, **stats.rows().summary(), "pending": pending},
        "rows_per_s": stats.done / 2.0,
        "calls": stats.calls().summary(),
        "cache": {"hit_rate": None},
    }
