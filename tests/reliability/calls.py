"""The calls that reached a server, as its ledger has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.jobs import read_lines

CLOCK_S = 0.005  # what an event loop may be early: it counts whole milliseconds


@dataclass(frozen=True, slots=True)
class LedgerCall:
    """One call. Those of `llmscale mock` are read too."""

    key: str | None  # of the question; None where none was asked
    connection: int
    arrived_s: float
    ended_s: float | None  # None: nothing became of it while the server ran
    answered: bool
    client_gone: bool
    has_key: bool  # whether a key was sent

    @property
    def lasted_s(self) -> float:
        """How long it was open; for ever where nothing became of it."""
        return float("inf") if self.ended_s is None else self.ended_s - self.arrived_s


def calls_in(*ledgers: Path) -> list[LedgerCall]:
    """Return all calls of some ledgers, in the order of their arrival."""
    calls = [call for ledger in ledgers for call in _calls_in(ledger)]
    return sorted(calls, key=lambda call: call.arrived_s)


def _calls_in(ledger: Path) -> list[LedgerCall]:
    entries = list(read_lines(ledger))
    ends = {entry["call"]: entry for entry in entries if entry["event"] == "ended"}
    calls = []
    for entry in entries:
        if entry["event"] == "arrived":
            end = ends.get(entry["call"], {})
            calls.append(
                LedgerCall(
                    key=entry["key"],
                    connection=entry["connection"],
                    arrived_s=entry["time_s"],
                    ended_s=end.get("time_s"),
                    answered=end.get("answered", False),
                    client_gone=end.get("client_gone", False),
                    has_key=entry["authorization"],
                )
            )
    return calls


def most_within(times_s: Sequence[float], seconds: float) -> int:
    """Return the most that any window of so many seconds holds."""
    most = first = 0
    for last, at_s in enumerate(times_s):
        while times_s[first] < at_s - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most
