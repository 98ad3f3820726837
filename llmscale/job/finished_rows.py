"""Which rows of a job have an answer already, read from its files without touching them.

For estimates; a run has its journal, which writes.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from llmscale.core.json_text import loads
from llmscale.core.output_line import is_answered, is_own_line
from llmscale.job import manifest as manifests
from llmscale.job.job import Identity
from llmscale.job.job_paths import JobPaths
from llmscale.job.journal import lines_of
from llmscale.job.manifest import Manifest


def job_there(
    files: JobPaths, identity: Identity, never_compared: Collection[str] = ()
) -> Manifest | None:
    """Return the manifest of the job that a run would resume, None where it would start one.

    `never_compared`: settings that `identity` lacks. Raises for a damaged manifest.
    """
    found = manifests.load(files.manifest)
    if found is None:
        return None
    inputs, settings, _ = identity
    compared = {name: value for name, value in found.settings.items() if name not in never_compared}
    if manifests.differences(replace(found, settings=compared), inputs, settings):
        return None
    if found.state == "finished" and not files.output.exists():
        return None  # the answers are lost with the output
    return found


class Answered(NamedTuple):
    """The progress of a job."""

    rows: bytearray  # 1 for each that has an answer, by index
    spent_usd: float  # by all its runs, unconfirmed cost included


def answered(files: JobPaths, job: Manifest | None) -> Answered:
    """Return which rows of a job have an answer, and what it has cost; nothing without a job."""
    if job is None:
        return Answered(bytearray(), 0.0)
    rows, spent_usd = bytearray(job.rows), job.spend.cost_usd + job.unconfirmed_usd
    if files.output.exists():
        for index, line in enumerate(_objects(files.output)):
            _note(rows, index, line)
    if job.state != "finished" and files.partial.exists():
        for line in _objects(files.partial):
            if is_own_line(line) and isinstance(line["index"], int):
                _note(rows, line["index"], line)
                spent_usd += line["cost_usd"] or 0.0
    return Answered(rows, spent_usd)


def _note(found: bytearray, index: int, line: dict[str, Any]) -> None:
    if 0 <= index < len(found) and line and is_answered(line):
        found[index] = 1


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the object of each line, an empty one for a line that is torn or damaged."""
    for _, raw in lines_of(path):
        try:
            line = loads(raw)
        except ValueError:
            line = None
        yield line if isinstance(line, dict) else {}
