"""A report in its file: read with its types, so that a damaged one is found out at once."""

from pathlib import Path

import msgspec

from llmscale.accounting.run_numbers import SCHEMA_VERSION, Report
from llmscale.core.errors import ConfigError, StorageError
from llmscale.core.small_file import read_small

MAX_REPORT_BYTES = 256 * 1024 * 1024


class _ReportHead(msgspec.Struct):
    """What every report has had."""

    schema: int
    bottleneck: object


def load(file: Path) -> Report:
    """Return the report in a file.

    Raises `ConfigError` where there is none or it can't be used, `StorageError` where it can't be
    read.
    """
    try:
        raw = read_small(file, MAX_REPORT_BYTES)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no report {file}; name the output of a run, or the file of its --report"
        ) from None
    except OSError as error:
        raise StorageError(f"can't read {file}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{file} is not a report of llmscale: {error}") from None
    return decoded(raw, file)


def decoded(raw: bytes, file: Path) -> Report:
    """Return the report that bytes hold. Raises `ConfigError`."""
    try:
        head = msgspec.json.decode(raw, type=_ReportHead)
    except msgspec.ValidationError:
        raise ConfigError(f"{file} is not a report of llmscale") from None
    except (ValueError, RecursionError):
        raise ConfigError(
            f"{file} is damaged: it is not JSON; run the job again to write a new report"
        ) from None
    if head.schema != SCHEMA_VERSION:
        raise ConfigError(
            f"{file} has schema {head.schema}, and this llmscale reads schema {SCHEMA_VERSION}"
        )
    try:
        return msgspec.json.decode(raw, type=Report)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{file} is damaged ({error}); run the job again to write a new report"
        ) from None
