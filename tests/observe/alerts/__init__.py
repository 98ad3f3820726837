"""What the tests of alerts share: runs made of a few numbers, and what was said of them."""

import logging

from llmscale.accounting.stats import Stats
from llmscale.config import parse_rules
from llmscale.core.records import Failure, Outcome, Reply, Request, Row, Usage
from llmscale.observe.alerts import Alerts, Rules

ROW = Row(index=0, request=Request(model="sim/a", messages=[]))


def add_rows(stats: Stats, answered: int = 0, failed: int = 0, latency_s: float = 1.0) -> None:
    """Count rows that were answered, with a call each, and rows that failed."""
    reply = Reply(text="x", finish_reason="stop", model="a", usage=Usage(10, 2), cost_usd=0.25)
    for _ in range(answered):
        stats.calls_at("here", "sim/a").add(latency_s / 2, [reply])
        stats.add_outcome(Outcome(row=ROW, reply=reply, latency_s=latency_s))
    for _ in range(failed):
        stats.calls_at("here", "sim/a").add(latency_s, [], "timeout")
        stats.add_outcome(Outcome(row=ROW, failure=Failure(kind="timeout", message="secret text")))


def alerts(
    stats: Stats, fail_on: str = "", alert_on: str = "", told: list[bytes] | None = None
) -> Alerts:
    """Return alerts that are told to a list."""
    return Alerts(
        stats,
        rules=Rules(parse_rules(fail_on), parse_rules(alert_on)),
        job="out.jsonl",
        tell=(told if told is not None else []).append,
    )


def said(records: list[logging.LogRecord]) -> list[str]:
    """Return what was said, each with its level."""
    return [f"{record.levelname}: {record.getMessage()}" for record in records]
