"""What the ledger of the chat server says of the runs of a job: asked, answered, in flight.

A call counts as in flight at a kill when it had arrived and was not answered, or when it was
answered and its connection carried nothing afterwards: the ledger can't tell whether that answer
was read. Nothing else may be asked again, for a provider bills what it is asked.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from tests.benchmarks.jobs import right_answer
from tests.servers.chat import chat_process

SETTLED_S = 0.1  # a ledger without news for so long has none


class Entry(msgspec.Struct, frozen=True):
    """A line of the ledger."""

    event: Literal["arrived", "ended"]
    call: int
    key: str
    connection: int
    time_s: float
    answered: bool = False


class LedgerReader:
    """Reads a ledger while the server writes it: each entry once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset_bytes = 0
        self._decoder = msgspec.json.Decoder(Entry)

    def read(self) -> list[Entry]:
        """Return what is new."""
        with self._path.open("rb") as file:
            file.seek(self._offset_bytes)
            news = file.read()
        whole = news[: news.rfind(b"\n") + 1]
        self._offset_bytes += len(whole)
        return self._decoder.decode_lines(whole)

    def read_to_end(self) -> list[Entry]:
        """Return what is new and still to come, where the client is gone."""
        entries: list[Entry] = []
        last_news_s = time.monotonic()
        while time.monotonic() < last_news_s + SETTLED_S:
            if news := self.read():
                entries += news
                last_news_s = time.monotonic()
            time.sleep(0.005)
        return entries


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs, and its ledger."""

    base_url: str
    ledger: LedgerReader


@contextmanager
def serving(folder: Path, *options: object) -> Iterator[Served]:
    """Run the chat server in a process of its own, with its ledger in `folder`."""
    path = folder / "ledger.jsonl"
    with chat_process("--ledger", path, *options) as base_url:
        yield Served(base_url, LedgerReader(path))


@dataclass(frozen=True, slots=True)
class InFlight:
    """The calls in flight at a kill."""

    unanswered: int
    maybe_unread: int  # answered, and nothing came on that connection afterwards

    @property
    def calls(self) -> int:
        """Both kinds together."""
        return self.unanswered + self.maybe_unread


def in_flight(run: Sequence[Entry]) -> InFlight:
    """Return what was in flight at the end of a run, from all its entries."""
    last = {entry.connection: entry for entry in run if entry.event == "ended"}
    answered = sum(entry.answered for entry in last.values())
    return InFlight(len(last) - answered, answered)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What the ledger says was asked for and answered, over all runs."""

    calls: int
    asked_again: int  # calls beyond the first of a row
    answered_again: int  # right answers beyond the first of a row

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> "Reservation":
        """Count the entries of a job in which no prompt comes twice."""
        asked = Counter(arrivals(entries))
        answered = Counter(entry.key for entry in entries if entry.answered)
        return cls(
            calls=asked.total(),
            asked_again=asked.total() - len(asked),
            answered_again=answered.total() - len(answered),
        )


def arrivals(entries: Sequence[Entry]) -> list[str]:
    """Return the keys of the calls that arrived, in their order."""
    return [entry.key for entry in entries if entry.event == "arrived"]


def key_of_row(index: int) -> str:
    """Return the key under which the ledger has the question of a row."""
    return right_answer(index).removeprefix("A:")
