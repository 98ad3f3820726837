"""All that is known of a job before a row of it is asked: what `estimate` and `plan` begin with.

Reads the input, the job's own files and the cache; writes nothing and sends nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from msgspec.structs import replace

from llmscale.accounting.forecast.kept import KeptEstimate
from llmscale.commands.estimating.census import Census, Columns, taken
from llmscale.config import CHANGES_ANSWERS, Config
from llmscale.job.answered import answered, job_there
from llmscale.job.files import JobFiles
from llmscale.job.job import Identity
from llmscale.job.manifest import Manifest
from llmscale.rows.sources import Source, expand
from llmscale.rows.survey import survey
from llmscale.runtime.drifting import NEVER_COMPARED, kept_estimate
from llmscale.runtime.inputs import files_of, identity_of, readable_twice
from llmscale.runtime.job_run import STDOUT
from llmscale.runtime.models import Models


class Surveyed(NamedTuple):
    """A job, looked at from outside."""

    config: Config
    models: Models
    sources: Sequence[Source]
    files: JobFiles
    identity: Identity
    job: Manifest | None  # that a run would resume
    spent_usd: float  # by its runs until now
    census: Census
    columns: Columns
    kept: KeptEstimate | None  # an earlier estimate of this job
    keeps: bool  # the output is a file, with others beside it


@contextmanager
def surveyed(config: Config) -> Iterator[Surveyed]:
    """Yield what is known of a job. Raises `ConfigError` for what a run would refuse too."""
    keeps = config.output != STDOUT
    if not keeps:
        config = replace(config, output=None)
    found = expand(config.inputs)
    files = files_of(config, found)
    with readable_twice(found, files) as sources:
        models, names = Models(config), [n for n in CHANGES_ANSWERS if n not in NEVER_COMPARED]
        survey(sources, config.limit)
        identity = identity_of(config, sources, names)
        job = job_there(files, identity, NEVER_COMPARED) if keeps else None
        done = answered(files, job)
        census = taken(config, models, sources, done.rows)
        yield Surveyed(
            config=config,
            models=models,
            sources=sources,
            files=files,
            identity=identity,
            job=job,
            spent_usd=done.spent_usd,
            census=census,
            columns=census.columns(shares=config.cache_mode == "on"),
            kept=kept_estimate(files, identity.inputs, identity.settings) if keeps else None,
            keeps=keeps,
        )
