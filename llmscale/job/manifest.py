"""`OUT.job.json`: what a job is, so that the same command resumes it and another does not.

Holds digests, settings and counts; never a key and never a row.
"""

from pathlib import Path
from typing import Any, Literal

import msgspec

from llmscale.accounting.stats import Spend
from llmscale.core.atomic_file import read_own, replace_file
from llmscale.core.choices import OutputFormat
from llmscale.core.errors import ConfigError, StorageError

VERSION = 1


class InputFile(msgspec.Struct, frozen=True):
    """A file that rows come from. Only its content counts, not its path."""

    path: str
    sha256: str
    size: int = 0  # bytes, of which the digest is


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The identity of a job and its progress."""

    version: int = VERSION
    inputs: list[InputFile]
    settings: dict[str, Any]
    output_format: OutputFormat
    limit: int | None = None
    rows: int
    state: Literal["running", "finished"] = "running"
    answered: int = 0
    failed: int = 0
    spend: Spend = Spend()  # up to the last output; what came after is in the journal
    unconfirmed_usd: float = 0.0  # beside `spend`: of calls whose outcome is unknown, at most
    runs: int = 1
    max_repeated_calls: int = 0  # rows in flight whenever a run of the job died
    output_sha256: str | None = None  # of OUT
    next_output_sha256: str | None = None  # of the file that is about to replace OUT
    replaced_sha256: str | None = None  # of a foreign OUT that --overwrite replaces


def load(path: Path) -> Manifest | None:
    """Return the manifest, None where there is none.

    Raises `ConfigError` for one that can't be used, `StorageError` for one that can't be read.
    """
    try:
        raw = read_own(path)
        found = msgspec.json.decode(raw, type=Manifest)
        lacking = set(Manifest.__struct_fields__) - msgspec.json.decode(raw).keys()
        if lacking:
            raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror}") from None
    except ValueError as error:  # msgspec's own, or UnicodeDecodeError
        raise ConfigError(f"{path} is damaged ({error}); start over with --overwrite") from None
    if found.version != VERSION:
        raise ConfigError(
            f"{path} is of another version of llmscale ({found.version}); finish the job with that "
            "version, or start over with --overwrite"
        )
    return found


def save(path: Path, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all. Raises `StorageError`."""
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    replace_file(path, encoded + b"\n")


def differences(manifest: Manifest, inputs: list[InputFile], settings: dict[str, Any]) -> list[str]:
    """Return what has changed since a job started, a phrase each; empty: nothing."""
    found = []
    if [f.sha256 for f in manifest.inputs] != [f.sha256 for f in inputs]:
        found.append(_changed_inputs(manifest.inputs, inputs))
    for name in sorted(manifest.settings.keys() | settings.keys()):
        before, after = manifest.settings.get(name), settings.get(name)
        if before != after:
            found.append(f"{name} was {_short(before)} and is {_short(after)}")
    return found


def _changed_inputs(old: list[InputFile], new: list[InputFile]) -> str:
    if len(old) != len(new):
        return f"it had {len(old)} input files and has {len(new)}"
    changed = [n.path for o, n in zip(old, new, strict=True) if o.sha256 != n.sha256]
    return f"the content of {', '.join(changed)} has changed"


def _short(value: Any) -> str:
    text = "not set" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."
