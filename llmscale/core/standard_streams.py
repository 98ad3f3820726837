"""Standard streams that can be relied on: open descriptors, and text that any of them can carry.

A closed descriptor is taken by the next file that is opened, which would then receive what is
printed. Messages that can't be written never change how a command ends.
"""

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def secure() -> None:
    """Put something in the place of closed descriptors, and let no character be an error."""
    if _occupy(0, os.O_RDONLY):
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if _occupy(1, os.O_RDONLY):  # writing to it fails, as to any output that can't be written
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    is_closed = _occupy(2, os.O_WRONLY)
    if is_closed or _is_descriptor_2(sys.stderr):
        encoding = "utf-8" if is_closed else sys.stderr.encoding
        sys.stderr = io.TextIOWrapper(
            _Messages(2, "wb", closefd=False), encoding, write_through=True
        )
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with contextlib.suppress(OSError):  # what is buffered can't be written
                reconfigure(errors="backslashreplace")


class _Messages(io.FileIO):
    """Standard error: what its disk or its reader does not take is dropped."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write all of `data`, or as much as is taken; never an error."""
        left = memoryview(data).cast("B")
        size = len(left)
        with contextlib.suppress(OSError):
            while left and (written := super().write(left)):
                left = left[written:]
        return size


def _is_descriptor_2(stream: object) -> bool:
    """Tell whether a stream writes to standard error, and not where a caller wants it."""
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == 2
    except (OSError, ValueError):
        return False


def _occupy(descriptor: int, flags: int) -> bool:
    """Open the null device where a descriptor is closed; return whether it was."""
    try:
        os.fstat(descriptor)
    except OSError:
        taken = os.open(os.devnull, flags)  # the lowest that is free
        if taken != descriptor:
            os.dup2(taken, descriptor)
            os.close(taken)
        return True
    return False
