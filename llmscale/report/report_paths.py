"""Where the report of an output is, and what is in it."""

from pathlib import Path
from typing import Any

import orjson

from llmscale.core.errors import ConfigError, StorageError
from llmscale.report.builder import SCHEMA_VERSION

_ENDINGS = (".results.jsonl", ".jsonl", ".json")


def default_path(output: Path) -> Path:
    """Return where the report of an output goes: `x.results.jsonl` has `x.report.json`."""
    name = output.name
    for ending in _ENDINGS:
        if name.endswith(ending):
            return output.with_name(name.removesuffix(ending) + ".report.json")
    return output.with_name(name + ".report.json")


def page_path(output: Path) -> Path:
    """Return where the page of a report goes: `x.report.html`."""
    report = output if output.name.endswith(".report.json") else default_path(output)
    return report.with_suffix(".html")


def load(path: Path) -> dict[str, Any]:
    """Return a report, given its own file or the output that it is of.

    Raises `ConfigError` where there is none or it is no report, `StorageError` where it can't be
    read.
    """
    file = path if path.name.endswith(".report.json") else default_path(path)
    if not file.exists() and path.exists() and path.suffix == ".json":
        file = path  # as --report has named it
    try:
        found = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        raise ConfigError(
            f"there is no report {file}; name the output of a run, or the file of its --report"
        ) from None
    except OSError as error:
        raise StorageError(f"can't read {file}: {error.strerror}") from None
    except orjson.JSONDecodeError:
        raise ConfigError(f"{file} is not JSON, so no report") from None
    if not isinstance(found, dict) or "bottleneck" not in found:
        raise ConfigError(f"{file} is not a report of llmscale, or one of an earlier version")
    if found.get("schema") != SCHEMA_VERSION:
        raise ConfigError(
            f"{file} has the form {found.get('schema')}, and this llmscale reads form "
            f"{SCHEMA_VERSION}"
        )
    return found
