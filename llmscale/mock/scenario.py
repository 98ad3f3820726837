"""What happens when, and to whom: phases over what is usual.

Where phases overlap, the later one in the list wins, field by field. Knows no clock and no file.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmscale.mock.behaviour import Behaviour

FOREVER_S = float("inf")


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
        usual = self._usual
        by_phase = any({"rpm", "tpm"} & phase.changes.keys() for phase in self._phases)
        return by_phase or usual.rpm is not None or usual.tpm is not None

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
        return replace(self._usual, **merged)
