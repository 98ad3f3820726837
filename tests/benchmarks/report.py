"""How long the report of a million rows takes: to be built of the numbers, and to be shown.

A report is as long after ten rows as after ten million: this prints that it is so. The rows never
were; their outcomes are counted as a run counts them.
"""

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from random import Random

import orjson

from llmscale.accounting.run_numbers import EndpointLimits, EndpointState
from llmscale.accounting.stats import Progressed, Stats, Waited
from llmscale.cli.tables.report import print_report
from llmscale.core.records import Failure, FailureKind, Outcome, Reply, Request, Row, Usage
from llmscale.observe.bottleneck import Settings, analyze
from llmscale.report.builder import JobFacts, RunFacts, build, encode
from llmscale.report.page import page
from tests.benchmarks.machine import print_machine

MODELS = [f"sim/model-{number}" for number in range(5)]
FAILURES: list[FailureKind] = ["timeout", "rate_limited", "bad_response", "context_length"]


def counted(rows: int, seed: int = 0) -> Stats:
    """Return the numbers of a run of so many rows of five models and 10,000 users."""
    rng, stats = Random(seed), Stats()
    for index in range(rows):
        model = rng.choice(MODELS)
        latency_s = rng.lognormvariate(0, 0.7)
        request = Request(model=model)
        row = Row(index=index, request=request, user=f"user-{rng.randrange(10_000)}")
        waited = Waited(0.01, rng.random())
        if rng.random() < 0.02:
            failure = Failure(kind=rng.choice(FAILURES), message="")
            stats.calls_at(f"at {model}", model).add(latency_s, [], failure.kind, attempt=2)
            stats.add_outcome(Outcome(row=row, failure=failure, latency_s=latency_s))
        else:
            usage = Usage(rng.randrange(1000), rng.randrange(300))
            reply = Reply(text="", finish_reason="stop", model=model, usage=usage, cost_usd=1e-4)
            stats.calls_at(f"at {model}", model).add(latency_s, [reply], None, waited)
            stats.add_outcome(Outcome(row=row, reply=reply, latency_s=latency_s))
        if index % 100 == 0:
            stats.series.add(1 + index / 100, 1.0, Progressed(100, 2, 60_000, 0.01), 60.0, 20.0)
    return stats


def built(stats: Stats, rows: int) -> bytes:
    """Return the report of these numbers."""
    wall_s = rows / 100
    run = RunFacts(
        inputs=["in.jsonl"],
        output="out.jsonl",
        started=datetime.now(UTC),
        wall_s=wall_s,
        exit_code=1,
        cache_mode="off",
        store=None,
        endpoints={f"at {model}": EndpointState(0, EndpointLimits()) for model in MODELS},
        bottleneck=analyze({"requests": wall_s}, wall_s, Settings(64)),
    )
    return encode(build(stats, JobFacts(total=rows, spend=stats.spend()), run))


def timed(work: Callable[[], object], runs: int) -> str:
    """Return the median and the spread of a piece of work, in milliseconds."""
    taken_ms = []
    for _ in range(runs):
        began_s = time.perf_counter()
        work()
        taken_ms.append((time.perf_counter() - began_s) * 1000)
    return f"{statistics.median(taken_ms):8.1f} ({min(taken_ms):.1f} to {max(taken_ms):.1f})"


def main() -> None:
    """Print a line for each number of rows."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.report")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    print_machine()
    print(f"\n{'rows':>10}{'bytes':>9}  milliseconds, median (least to most) of {options.runs}")
    for rows in options.rows:
        build_it = partial(built, counted(rows), rows)
        report = orjson.loads(build_it())
        print(f"{rows:>10,}{len(build_it()):>9,}  report.json {timed(build_it, options.runs)}")
        print(f"{'':21}page        {timed(partial(page, report), options.runs)}")
        with contextlib.redirect_stdout(io.StringIO()):
            tables = timed(partial(print_report, report), options.runs)
        print(f"{'':21}tables      {tables}")


if __name__ == "__main__":
    main()
