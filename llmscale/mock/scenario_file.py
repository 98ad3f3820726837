"""From the options of the command and a scenario file to a `Scenario`, or to one sentence.

    [[phase]]
    from_s = 60
    until_s = 120
    model = "gpt-4.1-mini"   # as the server sees it; without it, to all
    error_rate = 0.5         # any option of the command, or `status = 503`, or `reset = true`

Times are seconds of the server's life. A key that is not known is refused and never passed over.
"""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from llmscale.core.errors import ConfigError
from llmscale.core.small_file import read_small
from llmscale.mock.behaviour import OPTIONS, Behaviour, changed, read_option, seconds, whole_number
from llmscale.mock.scenario import Phase, Scenario

_OWN_KEYS = ("from_s", "until_s", "model")
_CHANGES = ("status", "reset", *OPTIONS)
_MIN_STATUS, _MAX_STATUS = 400, 599


def scenario_of(options: Mapping[str, object], file: str | None) -> Scenario:
    """Read the options of the command and the scenario file, where there is one.

    Raises `ConfigError` in one sentence.
    """
    usual = _usual(options)
    phases = [] if file is None else _phases(file, usual)
    _check_slow_tail(usual, phases, file)
    return Scenario(usual, phases)


def _check_slow_tail(usual: Behaviour, phases: Sequence[Phase], file: str | None) -> None:
    all_changes = [asdict(usual), *(phase.changes for phase in phases)]
    if any(changes.get("latency_s") or changes.get("jitter_s") for changes in all_changes):
        return
    if any(changes.get("slow_tail") for changes in all_changes):
        origin = "--slow-tail" if usual.slow_tail else f"{file}: slow_tail"
        raise ConfigError(f"{origin} needs a latency or a jitter")


def _usual(options: Mapping[str, object]) -> Behaviour:
    changes: dict[str, Any] = {}
    for name, value in options.items():
        try:
            changes |= read_option(name, value)
        except ValueError as error:
            raise ConfigError(f"--{name.replace('_', '-')}: {error}") from None
    try:
        return changed(Behaviour(), changes)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _phases(file: str, usual: Behaviour) -> list[Phase]:
    try:
        table = tomllib.loads(read_small(file).decode())
    except OSError as error:
        raise ConfigError(f"can't read the scenario {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
    tables = table.pop("phase", None)
    if table:
        raise ConfigError(f"{file}: unknown {next(iter(table))}; a scenario is [[phase]] tables")
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise ConfigError(f"{file}: a scenario is one or more [[phase]] tables, and has none")
    return [_phase(f"{file}: phase {n}", each, usual) for n, each in enumerate(tables, 1)]


def _phase(origin: str, table: Mapping[str, Any], usual: Behaviour) -> Phase:
    """Read one table; `origin` names it in a complaint."""
    changes: dict[str, Any] = {}
    name = ""
    try:
        for name, value in table.items():
            changes |= _read(name, value)
        own = {key: changes.pop(key) for key in _OWN_KEYS if key in changes}
        phase = Phase(**own, changes=_counted_apart(changes, own.get("model")))
        name = ""  # from here on, of the phase as a whole
        _check(phase, table)
        changed(usual, phase.changes)
    except ValueError as error:
        raise ConfigError(f"{origin}: {name + ': ' if name else ''}{error}") from None
    return phase


def _read(name: str, value: object) -> dict[str, Any]:
    """Return the fields, of `Phase` and of `Behaviour`, that a key sets."""
    if name in OPTIONS:
        return read_option(name, value)
    if name in ("from_s", "until_s"):
        return {name: seconds(value)}
    if name == "model":
        if not isinstance(value, str) or not value:
            raise ValueError(f"invalid model {value!r}; write its name in quotes")
        return {name: value}
    if name == "status":
        return {"outage": whole_number(value, _MIN_STATUS, _MAX_STATUS)}
    if name == "reset":
        if not isinstance(value, bool):
            raise ValueError(f"invalid value {value!r}; write true or false")
        return {"outage": "reset" if value else None}
    known = (*_OWN_KEYS, *_CHANGES)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}"
    raise ValueError(f"unknown; {hint}")


def _counted_apart(changes: Mapping[str, Any], model: str | None) -> dict[str, Any]:
    """Let a limit count the calls that its phase is about."""
    counted = {f"{limit}_model": model for limit in ("rpm", "tpm") if limit in changes}
    return {**changes, **counted}


def _check(phase: Phase, table: Mapping[str, Any]) -> None:
    if phase.until_s <= phase.from_s:
        raise ValueError(f"until_s {phase.until_s:g} must be more than from_s {phase.from_s:g}")
    if "status" in table and "reset" in table:
        raise ValueError("status and reset are two outages; give one")
    if not phase.changes:
        raise ValueError(f"it changes nothing; give one of {', '.join(_CHANGES)}")
