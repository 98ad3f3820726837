"""`llmscale run`: rows of prompts to answers."""

import logging
from collections.abc import Sequence
from contextlib import closing

from llmscale.config import CHANGES_ANSWERS, Config
from llmscale.engine.layers.schema import load_response_format
from llmscale.job.job import Job
from llmscale.observe.json_summary import Told
from llmscale.rows.chat_rows import RowParser
from llmscale.rows.sources import Source, expand
from llmscale.runtime.job_inputs import files_of, identity_of, readable_twice
from llmscale.runtime.job_run import STDOUT, JobRun
from llmscale.runtime.models import Models
from llmscale.runtime.observers import Observers

log = logging.getLogger(__name__)


def run(config: Config, told: Told | None = None) -> int:
    """Answer every row of the input and return the exit code: 0 all answered, 1 some failed.

    `told` is given the report. Raises `JobError`; the rows answered until then are safe.
    """
    sources = expand(config.files.inputs)
    inputs = [source.path for source in sources]
    if config.files.output == STDOUT:
        return _chat(config, sources, Observers(config, inputs, None, told)).to_stdout()
    files = files_of(config, sources)
    observers = Observers(config, inputs, files.output, told)
    with readable_twice(sources, files) as sources:
        job_run = _chat(config, sources, observers)
        identity = identity_of(config, sources, CHANGES_ANSWERS)
        with closing(Job(files, identity, overwrite=config.files.overwrite)) as job:
            if not job.is_finished:
                return job_run.to_file(job)
            rows = job.manifest.rows
            log.info("%s is finished: all %d rows are answered; nothing to do", files.output, rows)
            observers.finish_unasked(job.manifest)
            return 0


def _chat(config: Config, sources: Sequence[Source], observers: Observers) -> JobRun:
    models = Models(config)
    return JobRun(config, models, sources, row_parser(config, models), "chat", observers)


def row_parser(config: Config, models: Models) -> RowParser:
    """Return what reads the lines of a run. Raises `ConfigError`."""
    response_format = None
    if config.sampling.json_schema is not None:
        response_format = load_response_format(config.sampling.json_schema)
    return RowParser(config, response_format, models.resolve)
