"""`llmscale run --dry-run`: what would be done, with every row read and nothing sent."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from llmscale.commands.run import row_parser
from llmscale.config import CHANGES_ANSWERS, Config, with_settings
from llmscale.core.errors import ConfigError
from llmscale.core.records import Request
from llmscale.job import manifest as manifests
from llmscale.report.report_paths import default_path
from llmscale.rows.chat_rows import rows_of
from llmscale.rows.precheck import precheck
from llmscale.rows.sources import STDIN, Source, blocks_of_lines, expand
from llmscale.runtime.costs import check_budget
from llmscale.runtime.job_inputs import files_of, identity_of
from llmscale.runtime.job_run import STDOUT
from llmscale.runtime.layer_stack import open_all
from llmscale.runtime.models import Models

MAX_BAD_ROWS = 10


class Preview(NamedTuple):
    """What would be done: labelled lines, and the first complaints about rows."""

    facts: list[tuple[str, str]]
    bad_rows: list[str]
    exit_code: int  # 1 where a row can't be used


def preview(config: Config) -> Preview:
    """Read everything, open every endpoint, send nothing. Raises what a run would raise."""
    sources = expand(config.files.inputs)
    if sources[0].path == STDIN:
        raise ConfigError("--dry-run reads the input and leaves it; name a file instead of -")
    models = Models(config)
    found = precheck(sources, config.files.limit)
    counted, bad, complaints, first = _read(config, models, sources)
    facts = [
        ("input", ", ".join(source.name for source in sources)),
        ("rows", f"{found.rows}, of which {bad} can't be used"),
        *(("model", f"{model}: {rows} rows") for model, rows in sorted(counted.items())),
        *_endpoints(config, models),
        *_places(config, sources),
    ]
    if first is not None:
        facts.append(("first row", _shown(first)))
    return Preview(facts, complaints, int(bad > 0))


def _read(
    config: Config, models: Models, sources: Sequence[Source]
) -> tuple[Counter[str], int, list[str], Request | None]:
    counted: Counter[str] = Counter()
    complaints: list[str] = []
    bad = 0
    first = None
    for rows in rows_of(row_parser(config, models), blocks_of_lines(sources), config.files.limit):
        for row in rows:
            if row.request is not None:
                counted[row.request.model] += 1
                first = first or row.request
                continue
            bad += 1
            if row.failure is not None and len(complaints) < MAX_BAD_ROWS:
                complaints.append(row.failure.message)
    return counted, bad, complaints, first


def _endpoints(config: Config, models: Models) -> list[tuple[str, str]]:
    check_budget(config, models)
    opened = open_all(with_settings(config, cache_mode="off"), models)
    endpoints = opened.endpoints.values()
    facts = [("endpoint", f"{e.name}, {e.capacity} calls at once") for e in endpoints]
    return [*facts, ("in flight", f"{opened.width(config)} rows")]


def _places(config: Config, sources: Sequence[Source]) -> list[tuple[str, str]]:
    if config.files.output == STDOUT:
        return [("output", "standard output, in the order of completion")]
    files = files_of(config, sources)
    report = config.files.report or str(default_path(files.output))
    return [("output", f"{files.output} ({_state(config, sources)})"), ("report", report)]


def _state(config: Config, sources: Sequence[Source]) -> str:
    files = files_of(config, sources)
    found = manifests.load(files.manifest)
    if found is None:
        return "in the way: replaced only with --overwrite" if files.output.exists() else "new"
    inputs, settings, _ = identity_of(config, sources, CHANGES_ANSWERS)
    changed = manifests.differences(found, inputs, settings)
    if changed:
        return f"another job's, replaced only with --overwrite: {'; '.join(changed)}"
    if found.state == "finished" and not found.failed:
        return f"finished, {found.answered} rows answered"
    return "begun, would be resumed"


def _shown(request: Request) -> str:
    text = orjson.dumps(
        {
            name: getattr(request, name)
            for name in request.__struct_fields__
            if getattr(request, name) is not None
        }
    ).decode()
    return text if len(text) <= 500 else text[:500] + "..."
