"""Where the report of an output is, and what is in it."""

from pathlib import Path
from typing import Any

import orjson

from llmscale.core.errors import ConfigError, StorageError
from llmscale.report.builder import SCHEMA_VERSION


def load(file: Path) -> dict[str, Any]:
    """Return the report in a file.

    Raises `ConfigError` where there is none or it is no report, `StorageError` where it can't be
    read.
    """
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
