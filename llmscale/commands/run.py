"""`llmscale run`: rows of prompts to answers."""

from contextlib import nullcontext
from typing import TYPE_CHECKING

from llmscale.config import Config
from llmscale.job.job_paths import JobPaths
from llmscale.rows.sources import Source, expand
from llmscale.runtime.job_inputs import job_paths, rereadable
from llmscale.runtime.job_run import JobInput, run_job
from llmscale.runtime.models import Models
from llmscale.runtime.observers import Observers
from llmscale.runtime.run_result import RunResult
from llmscale.runtime.workload import ChatWorkload, chat_parser

if TYPE_CHECKING:
    from llmscale.commands.dry_run import Preview


def run(config: Config) -> RunResult:
    """Answer every row of the input. Exit code 0: all answered, 1: some failed.

    Raises `JobError` where nothing was sent; what ends a run later is in the result, and the rows
    answered until then are safe.
    """
    found = expand(config.files.inputs)
    paths = _paths(config, found)
    observers = Observers(config.observe, None if paths is None else paths.output)
    models = Models(config.models)
    parser = chat_parser(config, models)
    with nullcontext(found) if paths is None else rereadable(found, paths) as sources:
        source = JobInput(sources, models, parser)
        return run_job(config, ChatWorkload(config), source, paths, observers)


def dry_run(config: Config) -> "Preview":
    """Read everything and send nothing. Raises what a run would raise."""
    from llmscale.commands.dry_run import preview, refuse_stdin

    refuse_stdin(config.files.inputs)
    found, models = expand(config.files.inputs), Models(config.models)
    source = JobInput(found, models, chat_parser(config, models))
    return preview(config, ChatWorkload(config), source, _paths(config, found))


def _paths(config: Config, found: list[Source]) -> JobPaths | None:
    read, names = [source.path for source in found], [source.name for source in found]
    return job_paths(config.files, config.observe, read, names, "results")
