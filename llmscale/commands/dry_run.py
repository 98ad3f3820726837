"""`--dry-run`: what `run` or `embed` would do, with every row read and nothing sent."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from llmscale.config import Config, with_settings
from llmscale.core.errors import ConfigError
from llmscale.core.json_text import dumps
from llmscale.core.records import Request
from llmscale.job import manifest as manifests
from llmscale.job.job import Identity
from llmscale.job.job_paths import JobPaths
from llmscale.rows.precheck import precheck
from llmscale.rows.row_parser import RowParser, rows_of
from llmscale.rows.sources import STDIN, Source, blocks_of_lines
from llmscale.runtime.event_loop import run_loop
from llmscale.runtime.job_inputs import identity_of
from llmscale.runtime.job_run import JobInput
from llmscale.runtime.models import Models
from llmscale.runtime.session import Session
from llmscale.runtime.workload import Workload

MAX_BAD_ROWS = 10


class Preview(NamedTuple):
    """What would be done: labelled lines, and the first complaints about rows."""

    facts: list[tuple[str, str]]
    bad_rows: list[str]
    exit_code: int  # 1 where a row can't be used


class _Counted(NamedTuple):
    """The rows of the input."""

    by_model: Counter[str]
    bad: int
    complaints: list[str]
    first: Request | None


def refuse_stdin(inputs: Sequence[str]) -> None:
    """Raise `ConfigError` for standard input, which nobody could read again."""
    if STDIN in inputs:
        raise ConfigError("--dry-run reads the input without keeping it; name a file instead of -")


def preview(
    config: Config, workload: Workload, source: JobInput, paths: JobPaths | None
) -> Preview:
    """Read everything, open every endpoint, send nothing. Raises what a run would raise."""
    sources, models, limit = source.sources, source.models, config.files.limit
    found = precheck(sources, limit)
    counted = _count(source.parser, sources, limit)
    identity = identity_of(config, sources, workload.identity_settings, found)
    files = source.files.summary()
    facts = [
        ("input", ", ".join(source.name for source in sources)),
        *([("files", f"{files.files:,}")] if files else []),
        ("rows", f"{found.rows}, of which {counted.bad} can't be used"),
        *(("model", f"{model}: {rows} rows") for model, rows in sorted(counted.by_model.items())),
        *_endpoints(config, models, workload),
        *_places(paths, config.files.report, identity, follows_input=workload.follows_input),
    ]
    if counted.first is not None:
        facts.append(("first row", _shown(counted.first)))
    return Preview(facts, counted.complaints, int(counted.bad > 0))


def _count(parser: RowParser, sources: Sequence[Source], limit: int | None) -> _Counted:
    by_model: Counter[str] = Counter()
    complaints: list[str] = []
    bad = 0
    first = None
    for rows in rows_of(parser, blocks_of_lines(sources), limit):
        for row in rows:
            if row.request is not None:
                by_model[row.request.model] += 1
                first = first or row.request
                continue
            bad += 1
            if row.failure is not None and len(complaints) < MAX_BAD_ROWS:
                complaints.append(row.failure.message)
    return _Counted(by_model, bad, complaints, first)


def _endpoints(config: Config, models: Models, workload: Workload) -> list[tuple[str, str]]:
    session = Session.open(with_settings(config, cache_mode="off"), models, workload)
    endpoints = session.opened.endpoints.values()
    facts = [("endpoint", f"{e.name}, {e.capacity} calls at once") for e in endpoints]
    run_loop(session.aclose())
    return [*facts, ("in flight", f"{session.opened.max_in_flight} rows")]


def _places(
    paths: JobPaths | None, report: str | None, identity: Identity, *, follows_input: bool
) -> list[tuple[str, str]]:
    if paths is None:
        return [("output", "standard output, in the order of completion")]
    return [
        ("output", f"{paths.output} ({_state(paths, identity, follows_input=follows_input)})"),
        ("report", report or str(paths.report)),
    ]


def _state(paths: JobPaths, identity: Identity, *, follows_input: bool) -> str:
    found = manifests.load(paths.manifest)
    if found is None:
        return "exists; replaced only with --overwrite" if paths.output.exists() else "new"
    changed = manifests.differences(found, identity.inputs, identity.settings)
    other_settings = manifests.differences(found, found.inputs, identity.settings)
    if changed and follows_input and not other_settings:
        return "its input has changed; only new text would be embedded"
    if changed:
        return f"another job's, replaced only with --overwrite: {'; '.join(changed)}"
    if found.state == "finished" and not found.failed:
        return f"finished, {found.answered} rows answered"
    return "started, would be resumed"


def _shown(request: Request) -> str:
    text = dumps(
        {
            name: getattr(request, name)
            for name in request.__struct_fields__
            if getattr(request, name) is not None
        }
    ).decode()
    return text if len(text) <= 500 else text[:500] + "..."
