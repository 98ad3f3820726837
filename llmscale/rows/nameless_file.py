"""A file without a name, such as a copy of standard input, read again and again from its start.

Each reader has a position of its own. Opening `/dev/fd/N` gives one on Linux only: on macOS it
shares that of the descriptor, so that a second reader would find the end.
"""

import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _At(io.RawIOBase):
    """The bytes behind a descriptor, which stays open and is not moved."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: "WriteableBuffer", /) -> int:
        view = memoryview(into)
        read = os.pread(self._descriptor, len(view), self._position)
        view[: len(read)] = read
        self._position += len(read)
        return len(read)


def open_again(descriptor: int) -> io.BufferedReader:
    """Open a file by its descriptor, at its start. Closing it leaves the descriptor open."""
    return io.BufferedReader(_At(descriptor))
