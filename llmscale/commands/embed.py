"""`llmscale embed`: from files and rows to vectors, by way of the same job as `run`.

Files are cut into chunks first, into a file of rows without a name: from there on it is a job like
any other, with its lock, its journal and its report. A job whose files have changed begins anew by
itself: what has not changed comes from the cache, and what is gone drops out.
"""

import glob
import logging
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from llmscale.config import CHANGES_VECTORS, DEFAULT_EMBEDDING_MODEL, Config, with_settings
from llmscale.core.errors import ConfigError
from llmscale.job.job import Job
from llmscale.job.job_paths import JobPaths
from llmscale.observe.json_summary import Told
from llmscale.observe.progress import Reading, how_to_show
from llmscale.rows.sources import Source
from llmscale.rows.text_rows import TextParser
from llmscale.runtime.document_rows import rows_as_files
from llmscale.runtime.file_counts import FileCounts
from llmscale.runtime.job_inputs import check_output, identity_of
from llmscale.runtime.job_run import STDOUT, JobRun
from llmscale.runtime.models import Models
from llmscale.runtime.observers import Observers

log = logging.getLogger(__name__)


def embed(config: Config, told: Told | None = None) -> int:
    """Embed every chunk and row; return the exit code: 0 all embedded, 1 some failed.

    `told` is given the report. Raises `JobError`; the vectors made until then are safe.
    """
    # numpy starts a thread for each core when it is imported; they spin, and have nothing to do
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    config = for_vectors(config)
    output = None if config.files.output == STDOUT else _output_of(config)
    _check_files(config, output)
    observers = Observers(config, config.files.inputs, output, told)
    beside = Path.cwd() if output is None else output.parent
    reading = Reading(how_to_show(quiet=config.logging.quiet, log_format=config.logging.log_format))
    with rows_as_files(config, beside, reading) as (sources, found):
        if found is not None:
            log.info("%s", found)
        parser = TextParser(config, 0 if found is None else found.complete.rows)
        counts = FileCounts(found)
        run = JobRun(config, Models(config), sources, parser, "embedding", observers, counts)
        if output is None:
            return run.to_stdout()
        files = JobPaths(output)
        with closing(_job(config, files, sources)) as job:
            if job.is_finished:
                log.info("%s is finished and nothing has changed; nothing to do", output)
                observers.finish_unasked(job.manifest)
                exit_code = 0
            else:
                exit_code = run.to_file(job)
            if config.files.export:
                from llmscale.commands import vector_export as exporting

                exporting.export(config.files.export, output)
            return exit_code


def embed_texts(config: Config, texts: Sequence[str]) -> list[bytes]:
    """Return the vector of each text, float32, little-endian. Raises `JobError`, `CallFailed`."""
    import asyncio

    from llmscale.accounting.stats import Stats
    from llmscale.core.records import Reply, Request
    from llmscale.runtime.event_loop import run_loop
    from llmscale.runtime.layer_stack import open_all, stacked

    config = for_vectors(config)
    models, stats = Models(config), Stats()
    vectors: list[bytes] = []

    async def work() -> None:
        async with stacked(config, models, open_all(config, models, "embedding"), stats) as stack:
            requests = [
                Request(
                    model=config.models.default_model,
                    text=text,
                    dimensions=config.embed.dimensions,
                    extra=dict(config.sampling.param) or None,
                )
                for text in texts
            ]
            found: dict[int, Reply | Exception] = {}
            asking = asyncio.create_task(stack.answers.answer_all(requests, found.__setitem__))
            await asyncio.sleep(0)
            stack.input_ended()
            await asking
            for _, result in sorted(found.items()):
                if isinstance(result, Exception):
                    raise result
                vectors.append(result.vector or b"")

    run_loop(work())
    return vectors


def for_vectors(config: Config) -> Config:
    """Return the settings with the model that embeds in the place of the one that answers."""
    return with_settings(config, model=config.embed.model or DEFAULT_EMBEDDING_MODEL)


def _job(config: Config, files: JobPaths, sources: Sequence[Source]) -> Job:
    """Open the job; begin it anew where nothing but the content of its input has changed."""
    identity = identity_of(config, sources, CHANGES_VECTORS)
    return Job(files, identity, overwrite=config.files.overwrite, follows_input=True)


def _output_of(config: Config) -> Path:
    if config.files.output is not None:
        output = Path(config.files.output)
    elif len(config.files.inputs) == 1 and config.files.inputs[0] != "-":
        name = Path(config.files.inputs[0]).resolve().name
        for ending in (".gz", ".jsonl", ".ndjson"):
            name = name.removesuffix(ending)
        output = Path(f"{name}.vectors.jsonl")
    else:
        raise ConfigError("these inputs need one output: say where with -o FILE")
    check_output(output)
    return output


def _check_files(config: Config, output: Path | None) -> None:
    """Refuse what can't be written, and to write over what is read, before anything is embedded."""
    if output is None:
        if config.files.export:
            raise ConfigError("--export needs an output in a file; say where with -o FILE")
        return
    if config.files.export:
        from llmscale.commands import vector_export as exporting  # numpy, only where it is wanted

        may_replace = config.files.overwrite or JobPaths(output).manifest.exists()
        exporting.check(config.files.export, output, may_replace=may_replace)
    written = {output.resolve(), *(Path(name).resolve() for name in config.files.export)}
    for name in config.files.inputs:
        for found in [name] if os.path.lexists(name) else glob.glob(name):  # noqa: PTH207
            if Path(found).resolve() in written:
                raise ConfigError(f"{found} is both input and output; say where else with -o")
