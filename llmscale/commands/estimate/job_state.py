"""The state of a job before a run: what `estimate` and `plan` start from.

Reads the input, the job's own files and the cache; writes nothing and sends nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from llmscale.accounting.forecast.saved_estimate import SavedEstimate
from llmscale.commands.estimate.input_counts import InputCounts, count_input
from llmscale.commands.estimate.row_columns import RowColumns
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

_COMPARED = [name for name in CHANGES_ANSWERS if name not in NEVER_COMPARED]


class JobState(NamedTuple):
    """A job as it is on disk."""

    config: Config
    models: Models
    sources: Sequence[Source]
    paths: JobPaths
    identity: Identity
    manifest: Manifest | None  # of the run that the next one would resume
    spent_usd: float  # by all runs until now
    counts: InputCounts
    columns: RowColumns
    saved_estimate: SavedEstimate | None  # an earlier estimate of this job
    to_file: bool  # OUT is a file; False: standard output, and nothing is saved

    @property
    def output(self) -> str:
        """OUT, as the user would name it."""
        return str(self.paths.output) if self.to_file else "-"


@contextmanager
def job_state(config: Config) -> Iterator[JobState]:
    """Yield the state of a job. Raises `ConfigError` for what a run would refuse too."""
    to_file = config.files.output != STDOUT
    if not to_file:
        config = with_settings(config, output=None)
    found = expand(config.files.inputs)
    paths = job_paths(
        config.files, config.observe, [s.path for s in found], [s.name for s in found], "results"
    )
    assert paths is not None  # noqa: S101
    with rereadable(found, paths) as sources:
        models = Models(config.models)
        checked = precheck(sources, config.files.limit)
        identity = identity_of(config, sources, _COMPARED, checked)
        manifest = job_there(paths, identity, NEVER_COMPARED) if to_file else None
        done = answered(paths, manifest)
        counts = count_input(config, models, sources, done.rows)
        saved = saved_estimate(paths, identity.inputs, identity.settings) if to_file else None
        yield JobState(
            config=config,
            models=models,
            sources=sources,
            paths=paths,
            identity=identity,
            manifest=manifest,
            spent_usd=done.spent_usd,
            counts=counts,
            columns=counts.columns(deduplicates=config.cache.mode == "on"),
            saved_estimate=saved,
            to_file=to_file,
        )
