"""What a run says of itself is right, for jobs whose bottleneck is known; and its advice helps.

The jobs are those of `python -m tests.benchmarks.bottleneck`.
"""

import pytest

from llmscale.accounting.stats import BOTTLENECKS
from tests.benchmarks import bottleneck_in_tool, bottleneck_jobs
from tests.benchmarks.bottleneck import real, simulated
from tests.benchmarks.bottleneck_in_tool import ToolJob
from tests.benchmarks.known_bottleneck import Job


def named(job: Job | ToolJob) -> str:
    return job.name


@pytest.mark.parametrize("job", bottleneck_jobs.JOBS, ids=named)
def test_the_verdict_of_a_simulated_job_is_right_and_its_advice_helps(job: Job) -> None:
    assert simulated(job).wrong() == []


@pytest.mark.parametrize("job", bottleneck_in_tool.JOBS, ids=named)
def test_the_verdict_of_a_run_of_the_tool_is_right_and_adds_up(job: ToolJob) -> None:
    finding = real(job)
    assert set(finding.wrong()) <= {"the bottleneck"}
    seconds = dict(finding.verdict.seconds)
    if job.bottleneck != "start":  # which takes as long as others let it, on a busy machine
        del seconds["start"]
    assert max(seconds, key=lambda bound: seconds[bound]) == job.bottleneck


def test_each_bound_but_the_end_is_the_bottleneck_of_a_job() -> None:
    jobs: list[Job | ToolJob] = [*bottleneck_jobs.JOBS, *bottleneck_in_tool.JOBS]
    assert {job.bottleneck for job in jobs} == set(BOTTLENECKS) - {"end"}
