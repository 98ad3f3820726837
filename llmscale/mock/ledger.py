"""What really arrived and what really became of it: a JSON line each, and the sums of them.

Every line is one write to the end of the file, so that the death of a process loses none. Holds no
text of a question and no key, only whether one was sent.
"""

import os
from dataclasses import dataclass

import msgspec

from llmscale.core.errors import StorageError


class Started(msgspec.Struct, frozen=True, tag_field="event", tag="started"):
    """A server listens; its calls are numbered from 1."""

    time_s: float  # since 1970, on a clock that never jumps


class Arrived(msgspec.Struct, frozen=True, tag_field="event", tag="arrived"):
    """A request is here as a whole."""

    time_s: float
    call: int
    connection: int
    kind: str  # chat, embeddings, other
    model: str | None
    key: str | None  # of the question; None where none is asked
    bytes: int  # of its body
    authorization: bool  # whether a key was sent


class Ended(msgspec.Struct, frozen=True, tag_field="event", tag="ended"):
    """Nothing more becomes of a call."""

    time_s: float
    call: int
    connection: int
    kind: str
    key: str | None
    status: int | None  # None: nothing was sent
    bytes: int  # of the body that was sent
    fault: str | None  # error, hang, cut, outage, reset
    answered: bool  # the right answer went out as a whole
    client_gone: bool  # before it had what it was to get


class Ledger:
    """The file, opened at once. Raises `StorageError` where it can't be written."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._encode = msgspec.json.Encoder().encode
        try:
            self._fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._failed(error.strerror) from None

    def write(self, line: Started | Arrived | Ended) -> None:
        """Append a line."""
        data = self._encode(line) + b"\n"
        try:
            written_bytes = os.write(self._fd, data)
        except OSError as error:
            raise self._failed(error.strerror) from None
        if written_bytes < len(data):
            raise self._failed("no space for a whole line")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _failed(self, reason: str | None) -> StorageError:
        return StorageError(f"can't write the ledger {self._file}: {reason}")


@dataclass(slots=True)
class Tally:
    """How many calls came, and what became of them."""

    calls: int = 0
    answered: int = 0
    refused: int = 0
    faults: int = 0
    left: int = 0  # the client was gone before it had what it was to get

    def count(self, *, answered: bool, refused: bool, faulty: bool, left: bool) -> None:
        """Count a call's end; where several are so, the first of faulty, answered, ... it is."""
        if faulty:
            self.faults += 1
        elif answered:
            self.answered += 1
        elif refused:
            self.refused += 1
        elif left:
            self.left += 1

    def __str__(self) -> str:
        unended = self.calls - self.answered - self.refused - self.faults - self.left
        parts = [
            f"{self.calls} calls: {self.answered} answered",
            f"{self.refused} refused",
            f"{self.faults} faults",
        ]
        if self.left:
            parts.append(f"{self.left} left by the client")
        if unended:
            parts.append(f"{unended} unanswered at the end")
        return ", ".join(parts)
