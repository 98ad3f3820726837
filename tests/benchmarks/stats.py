"""What it costs to count: a row's outcome, its call and its look-up, and a look at all of it.

Each round counts many rows of a few models at two endpoints, as a run does it, and is timed as a
whole.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from llmscale.accounting.stats import Stats, Waited
from llmscale.config import Config, parse_rules
from llmscale.core.records import Outcome, Reply, Request, Row, Usage
from llmscale.observe.alerts import Alerts, Rules
from llmscale.observe.metrics import Facts, families_of
from llmscale.observe.metrics.exposition import text_of
from tests.benchmarks.machine import print_machine

MODELS = ("openai/a", "openai/b", "anthropic/c")


def rounds_of(work: Callable[[], object], count: int, rounds: int) -> list[float]:
    """Return the microseconds for one of `count` in each round."""
    found = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        work()
        found.append((time.perf_counter() - began_s) * 1e6 / count)
    return found


def show(name: str, microseconds: list[float]) -> None:
    """Print minimum, median and maximum."""
    low, middle, high = min(microseconds), statistics.median(microseconds), max(microseconds)
    print(f"{name:<44} {low:8.2f} / {middle:8.2f} / {high:8.2f} us")


def counting(rows: int) -> dict[str, Callable[[Stats], None]]:
    """Return each thing that is counted, for that many rows."""
    replies = [
        Reply(text="x", finish_reason="stop", model=model, usage=Usage(500, 100), cost_usd=0.001)
        for model in MODELS
    ]
    outcomes = [
        Outcome(
            row=Row(index=0, request=Request(model=model, messages=[])),
            reply=reply,
            attempts=1,
            latency_s=0.7,
        )
        for model, reply in zip(MODELS, replies, strict=True)
    ]
    waited = Waited(0.05, 0.2)

    def outcome(stats: Stats) -> None:
        for number in range(rows):
            stats.add_outcome(outcomes[number % 3])

    def attempt(stats: Stats) -> None:
        for number in range(rows):
            model, reply = MODELS[number % 3], replies[number % 3]
            latency_s = 0.2 + number % 100 / 100
            stats.calls_at("xy"[number % 2], model).add(latency_s, [reply], waited=waited)

    def lookup(stats: Stats) -> None:
        for number in range(rows):
            stats.add_lookup(MODELS[number % 3], hit=number % 4 == 0)

    return {"add_outcome": outcome, "calls_at": attempt, "add_lookup": lookup}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.stats")
    parser.add_argument("--rows", type=int, default=20_000, help="in a round")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print_machine()
    stats = Stats()
    works = counting(options.rows)
    print(f"a row, of {options.rows:,} in each of {options.rounds} rounds: minimum/median/maximum")
    sums = [0.0] * options.rounds
    for name, work in works.items():
        took = rounds_of(lambda work=work: work(stats), options.rows, options.rounds)  # type: ignore[misc]
        show(f"Stats.{name}", took)
        sums = [one + other for one, other in zip(sums, took, strict=True)]
    show("all three", sums)
    print("a look at all of it:")
    alerts = Alerts(stats, rules=Rules(alert_on=parse_rules(Config().observe.alert_on)))
    show("the rules, once a second", rounds_of(lambda: alerts.judge_at_end(1.0), 1, options.rounds))
    facts = Facts(None, 0, {}, 0.0)
    metrics = rounds_of(lambda: text_of(families_of("x", stats, facts)), 1, options.rounds)
    show("the text of the metrics, every 5 s", metrics)


if __name__ == "__main__":
    main()
