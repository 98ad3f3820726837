"""Is the verdict of a run right? Jobs whose bottleneck is known, and what the tool says of them.

Most run on a virtual clock, with the layers of the tool and simulated providers; the others are the
tool itself. A share is right where it is known and within 5 %; the seconds have to add up to those
of the run; a job has to become faster by the change that the advice names, and by another change
no more than the rest of its time allows (Amdahl, 1967).
"""

import argparse
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import convert

from llmscale.accounting.run_numbers import BottleneckSummary
from llmscale.accounting.stats import Bottleneck
from tests.benchmarks import bottleneck_in_tool, bottleneck_jobs
from tests.benchmarks.bottleneck_in_tool import ToolJob
from tests.benchmarks.known_bottleneck import Job
from tests.benchmarks.machine import print_machine
from tests.benchmarks.simulated_run import simulate

TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of a job, and what the tool has said of it."""

    job: str
    bottleneck: Bottleneck
    wall_s: float
    verdict: BottleneckSummary
    shares: Mapping[Bottleneck, float] = field(default_factory=dict)  # as far as they are known
    names: str = ""  # what the advice has to name
    heeded: float | None = None  # times as fast; None: there is nothing to heed
    faster: float = 0.0  # that it has to be
    unheeded: float | None = None

    def share(self, bound: Bottleneck) -> float:
        """Return for which part of the time a bound held the run back."""
        return float(self.verdict.seconds[bound] / self.wall_s)

    def wrong(self) -> list[str]:
        """Tell what is not as it has to be."""
        found = []
        if self.verdict.main != self.bottleneck:
            found.append("the bottleneck")
        for bound, share in self.shares.items():
            if abs(self.share(bound) - share) > TOLERANCE:
                found.append(f"the share of {bound}, {share:.1%}")
        if round(sum(self.verdict.seconds.values()) - self.wall_s, 6):
            found.append("the sum")
        if self.names not in (self.verdict.advice or ""):
            found.append("the advice")
        if self.heeded is not None and self.heeded < self.faster:
            found.append("what heeding it brings")
        if self.unheeded is not None and self.unheeded > 1.1 / self.share(self.bottleneck):
            found.append("what another change brings")
        return found


def simulated(job: Job) -> Finding:
    """Run a simulated job as it is, as advised, and with another change."""
    ran = simulate(job.simulation)
    changed = [ran.wall_s / simulate(job.changed(c)).wall_s if c else None for c in job.changes]
    shares = {} if job.share is None else {job.bottleneck: job.share(ran)}
    if job.rest is not None:
        shares[job.rest] = 1 - shares[job.bottleneck]
    return Finding(
        job.name,
        job.bottleneck,
        ran.wall_s,
        ran.verdict,
        shares,
        job.names,
        heeded=changed[0],
        faster=job.faster,
        unheeded=changed[1],
    )


def real(job: ToolJob) -> Finding:
    """Run the tool."""
    report = bottleneck_in_tool.report_of(job)
    found = convert(report["bottleneck"], BottleneckSummary)
    return Finding(job.name, job.bottleneck, report["wall_s"], found)


def print_finding(finding: Finding) -> None:
    """Print a line of the table."""
    known = finding.shares.get(finding.bottleneck)
    main = finding.verdict.main
    print(
        f"{finding.job:57}{finding.bottleneck:13}{_percent(known):>6}  {main:13}"
        f"{_percent(finding.verdict.share):>6}{_times(finding.heeded):>8}"
        f"{_times(finding.unheeded):>8}  {'; '.join(finding.wrong()) or 'yes'}",
        flush=True,
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _times(factor: float | None) -> str:
    return "-" if factor is None else f"x {factor:.2f}"


def main() -> None:
    """Run all jobs, or those whose names hold a word; exit 1 when a verdict is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bottleneck")
    parser.add_argument("word", nargs="?", default="", help="of the names of jobs")
    word = parser.parse_args().word
    logging.disable()
    print_machine()
    print(
        f"{'job':57}{'known':13}{'share':>6}  {'verdict':13}{'share':>6}{'heeded':>8}"
        f"{'another':>8}  right"
    )
    jobs: list[Job | ToolJob] = [*bottleneck_jobs.JOBS, *bottleneck_in_tool.JOBS]
    findings = []
    for job in jobs:
        if word in job.name:
            findings.append(simulated(job) if isinstance(job, Job) else real(job))
            print_finding(findings[-1])
    sys.exit(int(any(finding.wrong() for finding in findings)))


if __name__ == "__main__":
    main()
