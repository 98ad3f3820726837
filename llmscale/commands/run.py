"""`llmscale run`: rows of prompts to answers."""

import logging
from contextlib import closing

from llmscale.config import Config
from llmscale.job.job import Job, looks_finished
from llmscale.rows.precheck import precheck
from llmscale.rows.sources import expand
from llmscale.runtime.job_inputs import identity_of, job_paths, rereadable
from llmscale.runtime.job_run import JobInput, JobRun
from llmscale.runtime.models import Models
from llmscale.runtime.observers import Observers
from llmscale.runtime.run_result import RunResult
from llmscale.runtime.targets import FileTarget, StdoutTarget
from llmscale.runtime.workload import ChatWorkload, chat_parser

log = logging.getLogger(__name__)


def run(config: Config) -> RunResult:
    """Answer every row of the input. Exit code 0: all answered, 1: some failed.

    Raises `JobError` where nothing was sent; what ends a run later is in the result, and the rows
    answered until then are safe.
    """
    sources = expand(config.files.inputs)
    read = [source.path for source in sources]
    paths = job_paths(config, read, [source.name for source in sources], "results")
    observers = Observers(config.observe, None if paths is None else paths.output)
    workload, models = ChatWorkload(config), Models(config.models)
    parser = chat_parser(config, models)
    if paths is None:
        job_input = JobInput(sources, models, parser)
        job_run = JobRun(config, workload, job_input, observers)
        return job_run.to(StdoutTarget(config.files.report))
    with rereadable(sources, paths) as sources:
        is_new = config.files.overwrite or not looks_finished(paths, config.files.limit)
        checked = precheck(sources, config.files.limit) if is_new else None
        identity = identity_of(config, sources, workload.identity_settings, checked)
        with closing(Job(paths, identity, overwrite=config.files.overwrite)) as job:
            if job.is_finished:
                rows = job.manifest.rows
                log.info(
                    "%s is finished: all %d rows are answered; nothing to do", paths.output, rows
                )
                return observers.finish_unchanged(job.manifest)
            job_input = JobInput(sources, models, parser, checked=checked)
            job_run = JobRun(config, workload, job_input, observers)
            return job_run.to(FileTarget(job, config.files.report))
