"""`llmscale run`: rows of prompts to answers."""

from contextlib import nullcontext

from llmscale.config import Config
from llmscale.rows.sources import expand
from llmscale.runtime.job_inputs import job_paths, rereadable
from llmscale.runtime.job_run import JobInput, run_job
from llmscale.runtime.models import Models
from llmscale.runtime.observers import Observers
from llmscale.runtime.run_result import RunResult
from llmscale.runtime.workload import ChatWorkload, chat_parser


def run(config: Config) -> RunResult:
    """Answer every row of the input. Exit code 0: all answered, 1: some failed.

    Raises `JobError` where nothing was sent; what ends a run later is in the result, and the rows
    answered until then are safe.
    """
    found = expand(config.files.inputs)
    paths = job_paths(
        config.files, config.observe, [s.path for s in found], [s.name for s in found], "results"
    )
    observers = Observers(config.observe, None if paths is None else paths.output)
    models = Models(config.models)
    parser = chat_parser(config, models)
    with nullcontext(found) if paths is None else rereadable(found, paths) as sources:
        source = JobInput(sources, models, parser)
        return run_job(config, ChatWorkload(config), source, paths, observers)
