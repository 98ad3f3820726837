"""All that is known of a job before a row of it is asked: what `estimate` and `plan` begin with.

Reads the input, the job's own files and the cache; writes nothing and sends nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from llmscale.accounting.forecast.saved_estimate import SavedEstimate
from llmscale.commands.estimate.input_counts import Columns, InputCounts, taken
from llmscale.config import CHANGES_ANSWERS, Config, with_settings
from llmscale.job.finished_rows import answered, job_there
from llmscale.job.job import Identity
from llmscale.job.job_paths import JobPaths
from llmscale.job.manifest import Manifest
from llmscale.rows.precheck import precheck
from llmscale.rows.sources import Source, expand
from llmscale.runtime.estimate_drift import NEVER_COMPARED, saved_estimate
from llmscale.runtime.job_inputs import identity_of, job_paths, rereadable
from llmscale.runtime.models import Models
from llmscale.runtime.targets import STDOUT


class JobState(NamedTuple):
    """A job, looked at from outside."""

    config: Config
    models: Models
    sources: Sequence[Source]
    files: JobPaths
    identity: Identity
    job: Manifest | None  # that a run would resume
    spent_usd: float  # by its runs until now
    census: InputCounts
    columns: Columns
    kept: SavedEstimate | None  # an earlier estimate of this job
    keeps: bool  # the output is a file, with others beside it


@contextmanager
def surveyed(config: Config) -> Iterator[JobState]:
    """Yield what is known of a job. Raises `ConfigError` for what a run would refuse too."""
    keeps = config.files.output != STDOUT
    if not keeps:
        config = with_settings(config, output=None)
    found = expand(config.files.inputs)
    files = job_paths(
        config.files, config.observe, [s.path for s in found], [s.name for s in found], "results"
    )
    assert files is not None  # noqa: S101
    with rereadable(found, files) as sources:
        models, names = (
            Models(config.models),
            [n for n in CHANGES_ANSWERS if n not in NEVER_COMPARED],
        )
        checked = precheck(sources, config.files.limit)
        identity = identity_of(config, sources, names, checked)
        job = job_there(files, identity, NEVER_COMPARED) if keeps else None
        done = answered(files, job)
        census = taken(config, models, sources, done.rows)
        yield JobState(
            config=config,
            models=models,
            sources=sources,
            files=files,
            identity=identity,
            job=job,
            spent_usd=done.spent_usd,
            census=census,
            columns=census.columns(shares=config.cache.mode == "on"),
            kept=saved_estimate(files, identity.inputs, identity.settings) if keeps else None,
            keeps=keeps,
        )
