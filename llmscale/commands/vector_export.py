"""`llmscale embed --export`: vectors in the formats of other programs, beside the output."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from llmscale import vector_files as exports
from llmscale.core.atomic_file import publish, stage
from llmscale.core.errors import ConfigError
from llmscale.job.job_paths import JobPaths

log = logging.getLogger(__name__)


def check(names: Sequence[str], job: JobPaths, *, may_replace: bool) -> None:
    """Raise `ConfigError` for a file that can't be written, or is not to be.

    `may_replace`: an existing file was made by this job, or is given up.
    """
    for path in map(Path, names):
        exports.check(path)
        if path.exists() and not may_replace:
            raise ConfigError(
                f"{path} exists, and {job.output} is no job yet; name another file, or replace it "
                "with --overwrite"
            )


def export(names: Sequence[str], output: Path) -> None:
    """Write the files, each completely or not at all."""
    for path in map(Path, names):

        def write(file: IO[bytes], path: Path = path) -> None:
            exports.export(exports.jsonl.lines_of(output), path, Path(file.name))

        publish(stage(path, write), path)
        log.info("exported vectors to %s", path)
