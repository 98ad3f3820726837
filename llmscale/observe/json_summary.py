"""How a command has ended, in one line of JSON: for CI, which reads the last line of stderr."""

from collections.abc import Mapping
from typing import Any

import orjson

from llmscale.core.printable import printable


def summary_line(exit_code: int, report: Mapping[str, Any] | None, error: str | None) -> str:
    """Return the line. Fields of a run that has not begun are null: `llmscale help ci`.

    `report` None: there was no run. `error`: the sentence that ended the command.
    """
    output = None if report is None else printable(report["output"])
    report = report or {}
    rows, calls = report.get("rows", {}), report.get("calls", {})
    tokens, latency_s = calls.get("tokens", {}), rows.get("latency_s", {})
    known = {
        "exit_code": exit_code,
        "error": None if error is None else printable(error),
        "output": output,
        "wall_s": report.get("wall_s"),
        **{f"rows_{name}": rows.get(name) for name in _ROWS},
        "failures": rows.get("failures"),
        "rows_per_s": report.get("rows_per_s"),
        "p50_s": latency_s.get("p50"),
        "p99_s": latency_s.get("p99"),
        "input_tokens": tokens.get("input_tokens"),
        "output_tokens": tokens.get("output_tokens"),
        "cost_usd": calls.get("cost_usd"),
        "hit_rate": report.get("cache", {}).get("hit_rate"),
        "alerts": [alert["rule"] for alert in report.get("alerts", ())],
        "failed_on": [alert["rule"] for alert in report.get("alerts", ()) if alert["fails"]],
    }
    return orjson.dumps(known).decode()


_ROWS = ("total", "kept", "answered", "failed", "pending")
