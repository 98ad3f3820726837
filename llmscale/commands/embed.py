"""`llmscale embed`: from files and rows to vectors, through the same job as `run`.

Files are split into chunks first, into a file of rows without a name: from there on it is a job
like any other, with its lock, its journal and its report. A job whose files have changed starts
over: unchanged texts come from the cache, and removed ones drop out.
"""

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from llmscale.config import Config, FilesConfig, ObserveConfig
from llmscale.core.errors import CallFailed, ConfigError, JobError
from llmscale.core.records import Row
from llmscale.job.job_paths import JobPaths
from llmscale.observe.progress import Reading, how_to_show
from llmscale.providers import split_model
from llmscale.rows.sources import STDIN
from llmscale.rows.text_rows import TextParser
from llmscale.runtime.document_rows import rows_as_files
from llmscale.runtime.file_counts import FileCounts
from llmscale.runtime.job_inputs import job_paths
from llmscale.runtime.job_run import JobInput, run_job
from llmscale.runtime.models import Models
from llmscale.runtime.observers import Observers
from llmscale.runtime.run_result import RunResult
from llmscale.runtime.workload import EmbeddingWorkload, for_embedding, text_request

if TYPE_CHECKING:
    from llmscale.commands.dry_run import Preview

log = logging.getLogger(__name__)


def embed(config: Config) -> RunResult:
    """Embed every chunk and row. Exit code 0: all embedded, 1: some failed.

    Raises `JobError` where nothing was sent; what ends a run later is in the result, and the
    vectors made until then are safe.
    """
    config = for_embedding(config)
    split_model(config.models.default_model)  # before files are read, which takes its time
    paths = _paths(config.files, config.observe)
    observers = Observers(config.observe, None if paths is None else paths.output)
    with _opened(config, paths) as source:
        result = run_job(config, EmbeddingWorkload(config), source, paths, observers)
        return result if paths is None else _exported(result, config.files.export, paths)


def dry_run(config: Config) -> "Preview":
    """Read everything and send nothing. Raises what a run would raise."""
    from llmscale.commands.dry_run import preview, refuse_stdin

    refuse_stdin(config.files.inputs)
    config = for_embedding(config)
    paths = _paths(config.files, config.observe)
    with _opened(config, paths) as source:
        return preview(config, EmbeddingWorkload(config), source, paths)


@contextmanager
def _opened(config: Config, paths: JobPaths | None) -> Iterator[JobInput]:
    """Yield the chunks and rows of the input."""
    # numpy starts a thread for each core when it is imported; they spin, and have nothing to do
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    beside = Path.cwd() if paths is None else paths.output.parent
    reading = Reading(how_to_show(quiet=config.logging.quiet, log_format=config.logging.log_format))
    with rows_as_files(config.files.inputs, config.embed, beside, reading) as (sources, found):
        if found is not None:
            log.info("%s", found)
            if not found.complete.files:
                log.warning("no file to embed; `llmscale help embed` lists what is read")
        parser = TextParser(text_request(config), 0 if found is None else found.complete.rows)
        yield JobInput(sources, Models(config.models), parser, FileCounts(found))


def embed_texts(config: Config, texts: Sequence[str]) -> list[bytes]:
    """Return the vector of each text, float32, little-endian. Raises `JobError`, `CallFailed`."""
    from llmscale.runtime.event_loop import answer_stoppably
    from llmscale.runtime.input_rows import rows_in_memory
    from llmscale.runtime.session import OutcomeList, RunContext, Session

    config = for_embedding(config)
    parser = TextParser(text_request(config))
    session = Session.open(config, Models(config.models), EmbeddingWorkload(config))
    rows = [Row(index=i, request=parser.request_of(text)) for i, text in enumerate(texts)]
    sink = OutcomeList()
    answer_stoppably(session, rows_in_memory(rows), sink, RunContext())
    vectors = []
    for outcome in sorted(sink.outcomes, key=lambda outcome: outcome.row.index):
        if outcome.failure is not None:
            raise CallFailed(outcome.failure, outcome.attempts)
        vectors.append((outcome.reply and outcome.reply.vector) or b"")
    return vectors


def _paths(files: FilesConfig, observe: ObserveConfig) -> JobPaths | None:
    """Refuse what can't be written, and to write over what is read, before anything is embedded."""
    if files.output is None and STDIN in files.inputs:
        raise ConfigError("standard input needs a named output: name it with -o FILE")
    names = [Path(os.path.realpath(name)).name for name in files.inputs]
    paths = job_paths(files, observe, _read(files.inputs), names, "vectors")
    if files.export:
        if paths is None:
            raise ConfigError("--export needs an output in a file; name it with -o FILE")
        from llmscale.commands import vector_export as exporting  # imports numpy

        exporting.check(files.export, paths, may_replace=_may_replace(files, paths))
    return paths


def _exported(result: RunResult, names: Sequence[str], paths: JobPaths) -> RunResult:
    """Write the files of `--export`, unless the run has not come to its end."""
    if not names or result.error is not None:
        return result
    from llmscale.commands import vector_export as exporting

    try:
        exporting.export(names, paths.output)
    except JobError as error:
        return result._replace(exit_code=error.exit_code, error=error)
    return result


def _may_replace(files: FilesConfig, paths: JobPaths) -> bool:
    return files.overwrite or paths.manifest.exists()


def _read(inputs: Sequence[str]) -> Iterator[str]:
    for name in inputs:
        yield from [name] if os.path.lexists(name) else glob.glob(name)  # noqa: PTH207
