"""Where a job keeps what: all paths of a job by name, or one sentence why they can't be used.

Looks at the file system and writes nothing.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from llmscale.core.errors import ConfigError

OutputKind = Literal["results", "vectors"]

_INPUT_SUFFIXES = MappingProxyType(
    {
        "results": (".gz", ".jsonl", ".ndjson", ".json"),
        "vectors": (".gz", ".jsonl", ".ndjson"),  # a .json file is a document there
    }
)
"""What the name of an input loses where the default output is named after it."""

_OUTPUT_SUFFIXES = (".results.jsonl", ".jsonl", ".json")
"""What the name of an output loses where its report is named after it; the first that fits."""

_REPORT_SUFFIX = ".report.json"


class JobPaths(NamedTuple):
    """Where a job keeps what; all beside its output."""

    output: Path

    @property
    def partial(self) -> Path:
        """The journal of finished rows."""
        return self._beside(".partial")

    @property
    def manifest(self) -> Path:
        """What the job is: inputs, settings, counts."""
        return self._beside(".job.json")

    @property
    def lock(self) -> Path:
        """Held while a process runs the job."""
        return self._beside(".lock")

    @property
    def status(self) -> Path:
        """How far a run is, while it goes on or after it has stopped."""
        return self._beside(".status.json")

    @property
    def estimate(self) -> Path:
        """What was estimated of the job before it ran."""
        return self._beside(".estimate.json")

    @property
    def report(self) -> Path:
        """The report: `x.results.jsonl` has `x.report.json`."""
        name = self.output.name
        for suffix in _OUTPUT_SUFFIXES:
            if name.endswith(suffix):
                name = name.removesuffix(suffix)
                break
        return self.output.with_name(name + _REPORT_SUFFIX)

    @property
    def page(self) -> Path:
        """The report as a page: `x.report.html`."""
        return page_of(self.output)

    def will_start(self, *, overwrite: bool) -> bool:
        """Tell whether a run starts a job here, as far as the files show without reading them."""
        if self.lock.exists():
            return False
        existing = (path.exists() for path in (self.manifest, self.output, self.partial))
        return overwrite or not any(existing)

    def _beside(self, suffix: str) -> Path:
        return self.output.with_name(self.output.name + suffix)


class FlagPath(NamedTuple):
    """A file that a flag names."""

    flag: str  # "--report"
    path: Path


def report_of(path: Path) -> Path:
    """Return the report that is meant by a path: of an output, or a report itself."""
    if path.name.endswith(_REPORT_SUFFIX):
        return path
    report = JobPaths(path).report
    is_named = not report.exists() and path.exists() and path.suffix == ".json"
    return path if is_named else report  # as --report has named it


def page_of(path: Path) -> Path:
    """Return where the page goes of a report, or of the report of an output."""
    report = path if path.name.endswith(_REPORT_SUFFIX) else JobPaths(path).report
    return report.with_suffix(".html")


def default_output(inputs: Sequence[str], kind: OutputKind) -> Path:
    """Return the output in the current folder that is named after the input.

    Raises `ConfigError` where there are several inputs.
    """
    if len(inputs) > 1:
        raise ConfigError(f"{len(inputs)} inputs need one output: name it with -o FILE")
    name = Path(inputs[0]).name
    for suffix in _INPUT_SUFFIXES[kind]:
        name = name.removesuffix(suffix)
    return Path(f"{name}.{kind}.jsonl")


def check_paths(
    job: JobPaths | None,
    inputs: Iterable[str],
    exports: Sequence[str] = (),
    flagged: Sequence[FlagPath] = (),
) -> None:
    """Raise `ConfigError` for a file that can't be written, or that is another file's already.

    `job` None: standard output.
    """
    taken = {_real(Path(name)): "an input" for name in inputs}
    if job is not None:
        _check_output(job, taken)
    for path in map(Path, exports):
        _claim(path, "--export", taken)
    for flag, path in flagged:
        if path.exists() and not path.is_file():  # it would be replaced: a folder, a device
            raise ConfigError(f"{flag} {path} is not a regular file; name another file")
        if not path.parent.is_dir():
            raise ConfigError(
                f"there is no folder {path.parent} for {flag} {path.name}; create it, or name "
                "another file"
            )
        _claim(path, flag, taken)
        if path.exists() and not _may_replace(flag, path):
            raise ConfigError(
                f"{flag} {path} exists and was not written by {flag}; name another file, or move "
                "it away"
            )


_WRITTEN = MappingProxyType(
    {
        "--report": (b'{\n  "schema"',),
        "--junit": (b"<?xml", b"<testsuite"),
        "--metrics": (b"# HELP llmscale",),
    }
)
"""How a file begins that a flag has written; any other is somebody's and is not replaced."""


def _may_replace(flag: str, path: Path) -> bool:
    """Tell whether a file may be replaced: an earlier one of the same flag, or an empty one."""
    if path.suffix in (".jsonl", ".gz") or JobPaths(path).manifest.exists():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip()
    except OSError:
        return True  # writing it will say why not
    return not head or head.startswith(_WRITTEN[flag])


def _real(path: Path) -> Path:
    """Return where a path leads; unlike `Path.resolve` also for a link to itself."""
    return Path(os.path.realpath(path))


def _check_output(job: JobPaths, taken: dict[Path, str]) -> None:
    output = job.output
    try:
        if output.is_dir():
            raise ConfigError(f"{output} is a folder; name a file with -o")
        if output.exists() and not output.is_file():
            raise ConfigError(f"{output} is a device or a pipe; name a file with -o")
        if not output.parent.is_dir():
            raise ConfigError(
                f"there is no folder {output.parent} for the output; create it, or name another "
                "output with -o"
            )
        output.with_name(output.name + ".job.json.tmp").exists()  # the longest name beside it
    except OSError as error:
        raise ConfigError(
            f"the output can't be {output}: {error.strerror}; name another file with -o"
        ) from None
    if _real(output) in taken:
        raise ConfigError(f"{output} is both input and output; name another output with -o")
    for path in (output, job.partial, job.manifest, job.lock, job.status):
        taken[_real(path)] = "the output"


def _claim(path: Path, flag: str, taken: dict[Path, str]) -> None:
    found = _real(path)
    if found in taken:
        raise ConfigError(f"{flag} {path} is also {taken[found]}; name another file")
    taken[found] = flag
