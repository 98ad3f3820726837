"""The input of a job: its paths, what identifies it, and standard input as a rereadable file."""

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmscale.config import Config, FilesConfig, ObserveConfig, value_of
from llmscale.core.atomic_file import storage_error
from llmscale.job.job import Identity
from llmscale.job.job_paths import FlagPath, JobPaths, OutputKind, check_paths, default_output
from llmscale.rows.precheck import Precheck
from llmscale.rows.sources import STDIN, Source, digest
from llmscale.runtime.input_watch import input_files
from llmscale.runtime.targets import STDOUT


def job_paths(
    files: FilesConfig,
    observe: ObserveConfig,
    read: Iterable[str],
    names: Sequence[str],
    kind: OutputKind,
) -> JobPaths | None:
    """Return the paths of a job, None for standard output.

    `read`: the paths of the input; `names`: after which the output is named where `-o` is not set.
    Raises `ConfigError` where a file can't be used as asked.
    """
    paths = None
    if files.output != STDOUT:
        paths = JobPaths(Path(files.output or default_output(names, kind)))
    flags = {"--report": files.report, "--junit": observe.junit, "--metrics": observe.metrics}
    flagged = [FlagPath(flag, Path(name)) for flag, name in flags.items() if name is not None]
    check_paths(paths, read, files.export, flagged)
    return paths


def identity_of(
    config: Config,
    sources: Sequence[Source],
    names: Sequence[str],
    checked: Precheck | None = None,
) -> Identity:
    """Return what makes two runs the same job: the content, and the settings of these names.

    `checked`: has the digests of the content; None: they are taken here.
    """
    settings = {name: value_of(config, name) for name in names}
    settings["model"] = config.models.default_model
    if "stop" in names:
        settings["stop"] = list(config.sampling.stop)
    if "json_schema" in names and config.sampling.json_schema is not None:
        json_schema = config.sampling.json_schema
        settings["json_schema"] = digest(Source(json_schema, json_schema))
    given = {name: value for name, value in settings.items() if value not in (None, [], {})}
    inputs = input_files(sources, None if checked is None else checked.digests)
    return Identity(inputs, given, config.files.limit)


@contextmanager
def rereadable(sources: list[Source], paths: JobPaths) -> Iterator[list[Source]]:
    """Yield sources that can be read several times.

    Standard input is copied to the disk of OUT first, into a file without a name: it
    disappears with the process, however that ends.
    """
    if sources[0].path != STDIN:
        yield sources
        return
    folder = paths.output.parent
    with tempfile.TemporaryFile(dir=folder) as copy:
        try:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.flush()
        except OSError as error:
            raise storage_error(folder / "a copy of standard input", error) from None
        yield [Source.of_descriptor(copy.fileno(), sources[0].name)]
