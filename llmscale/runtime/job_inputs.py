"""The input of a job: which files, what they are, and standard input made into one of them."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmscale.config import Config, value_of
from llmscale.core.atomic_file import storage_error
from llmscale.core.errors import ConfigError
from llmscale.job.job import Identity
from llmscale.job.job_paths import JobPaths
from llmscale.job.manifest import InputFile
from llmscale.rows.sources import STDIN, Source, digest


def files_of(config: Config, sources: Sequence[Source]) -> JobPaths:
    """Return the files of the job. Raises `ConfigError` where they can't be what is asked."""
    output = Path(config.files.output) if config.files.output else _default_output(sources)
    check_output(output)
    if any(Path(source.path).resolve() == output.resolve() for source in sources):
        raise ConfigError(f"{output} is both input and output; say where else with -o")
    return JobPaths(output)


def check_output(output: Path) -> None:
    """Raise `ConfigError` where no file can be put in the place of an output."""
    try:
        if output.is_dir():
            raise ConfigError(f"{output} is a folder; name a file with -o")
        if output.exists() and not output.is_file():
            raise ConfigError(f"{output} is a device or a pipe; name a file with -o")
        if not output.parent.is_dir():
            raise ConfigError(f"there is no folder {output.parent} for the output")
        output.with_name(output.name + ".job.json.tmp").exists()  # the longest name beside it
    except OSError as error:
        raise ConfigError(
            f"the output can't be {output}: {error.strerror}; name another file with -o"
        ) from None


def identity_of(config: Config, sources: Sequence[Source], names: Sequence[str]) -> Identity:
    """Return what makes two runs the same job: the content, and the settings of these names."""
    settings = {name: value_of(config, name) for name in names}
    settings["model"] = config.models.default_model
    if "stop" in names:
        settings["stop"] = list(config.sampling.stop)
    if "json_schema" in names and config.sampling.json_schema is not None:
        settings["json_schema"] = digest(config.sampling.json_schema)
    given = {name: value for name, value in settings.items() if value not in (None, [], {})}
    inputs = [InputFile(source.name, digest(source.path)) for source in sources]
    return Identity(inputs, given, config.files.limit)


@contextmanager
def readable_twice(sources: list[Source], files: JobPaths) -> Iterator[list[Source]]:
    """Yield sources that can be surveyed and then read.

    Standard input is copied to the disk of OUT first, into a file without a name: it is gone with
    the process, however that ends.
    """
    if sources[0].path != STDIN:
        yield sources
        return
    folder = files.output.parent
    with tempfile.TemporaryFile(dir=folder) as copy:
        try:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.flush()
        except OSError as error:
            raise storage_error(folder / "a copy of standard input", error) from None
        yield [Source(f"/dev/fd/{copy.fileno()}", sources[0].name)]


def _default_output(sources: Sequence[Source]) -> Path:
    """`x.jsonl` has `x.results.jsonl`, in the current folder."""
    if len(sources) > 1:
        raise ConfigError(f"{len(sources)} input files need one output: say where with -o FILE")
    name = Path(sources[0].name).name
    for ending in (".gz", ".jsonl", ".ndjson", ".json"):
        name = name.removesuffix(ending)
    return Path(f"{name}.results.jsonl")
