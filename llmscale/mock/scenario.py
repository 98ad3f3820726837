"""What happens when, and to whom: the phases of a scenario file over the options of the command.

    [[phase]]
    from_s = 60
    until_s = 120
    model = "gpt-4.1-mini"   # as the server sees it; without it, to all
    error_rate = 0.5         # any option of the command, or `status = 503`, or `reset = true`

Times are seconds of the server's life. Where phases overlap, the later one in the file wins, option
by option.
"""

import difflib
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmscale.errors import ConfigError
from llmscale.mock.behaviour import OPTIONS, Behaviour, changed, read_option, seconds, whole_number

FOREVER_S = float("inf")
_OWN_KEYS = ("from_s", "until_s", "model", "status", "reset")
_KEYS = (*_OWN_KEYS, *OPTIONS)
_LEAST_STATUS, _MOST_STATUS = 400, 599


@dataclass(frozen=True, slots=True)
class Phase:
    """Some time in which the server is different."""

    from_s: float = 0.0
    until_s: float = FOREVER_S
    model: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)  # fields of `Behaviour`


class Scenario:
    """The server's behaviour at each moment of its life, to each model."""

    def __init__(self, usual: Behaviour, phases: Sequence[Phase] = ()) -> None:
        self._usual = usual
        self._phases = tuple(phases)
        self.models = frozenset(p.model for p in self._phases if p.model is not None)
        times = {0.0} | {p.from_s for p in self._phases} | {p.until_s for p in self._phases}
        self._bounds = sorted(times)
        self._found: dict[tuple[int, str | None], Behaviour] = {}

    @property
    def has_limits(self) -> bool:
        """Whether calls are ever counted."""
        limits = [usual.rpm or usual.tpm for usual in (self._usual,)]
        limits += [p.changes.get("rpm") or p.changes.get("tpm") for p in self._phases]
        return any(limits)

    def at(self, life_s: float, model: str | None) -> Behaviour:
        """Return the behaviour at a moment; `model` None: to whoever names none."""
        if not self._phases:
            return self._usual
        # one behaviour for all models that no phase names: clients may make up any number of them
        key = (bisect_right(self._bounds, life_s), model if model in self.models else None)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._merged(self._bounds[key[0] - 1], key[1])
        return found

    def _merged(self, life_s: float, model: str | None) -> Behaviour:
        merged: dict[str, Any] = {}
        for phase in self._phases:
            if phase.from_s <= life_s < phase.until_s and phase.model in (None, model):
                merged |= phase.changes
        # unchecked: where phases overlap, faults beyond the last call simply do not happen
        return _replaced(self._usual, merged)


def load_scenario(file: str, usual: Behaviour) -> Scenario:
    """Read a scenario file. Raises `ConfigError` in one sentence."""
    try:
        table = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read the scenario {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
    tables = table.pop("phase", None)
    if table:
        raise ConfigError(f"{file}: unknown {next(iter(table))}; a scenario is [[phase]] tables")
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise ConfigError(f"{file}: a scenario is one or more [[phase]] tables, and has none")
    return Scenario(usual, [_phase(f"{file}: phase {n}", t, usual) for n, t in enumerate(tables, 1)])


def _phase(origin: str, table: Mapping[str, Any], usual: Behaviour) -> Phase:
    """Read one table; `origin` names it in a complaint."""
    changes: dict[str, Any] = {}
    name = ""
    try:
        for name, value in table.items():
            changes |= _read(name, value)
        own = {key: changes.pop(key) for key in ("from_s", "until_s", "model") if key in changes}
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
            raise ValueError(f"{value!r} is no name; write the model in quotes")
        return {name: value}
    if name == "status":
        return {"outage": whole_number(value, _LEAST_STATUS, _MOST_STATUS)}
    if name == "reset":
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is not right; write true or false")
        return {"outage": "reset" if value else None}
    close = difflib.get_close_matches(name, _KEYS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are: {', '.join(_KEYS)}"
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
        raise ValueError(f"it changes nothing; give one of {', '.join(_KEYS[3:])}")


def _replaced(behaviour: Behaviour, changes: Mapping[str, Any]) -> Behaviour:
    from dataclasses import replace

    return replace(behaviour, **changes)
