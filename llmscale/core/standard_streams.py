"""Standard streams that can be relied on: open descriptors, and text that any of them can carry.

A closed descriptor is taken by the next file that is opened, which would then receive what is
printed.
"""

import contextlib
import os
import sys


def secure() -> None:
    """Put something in the place of closed descriptors, and let no character be an error."""
    _occupy(0, os.O_RDONLY)
    if _occupy(1, os.O_RDONLY):  # writing to it fails, as to any output that can't be written
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if _occupy(2, os.O_WRONLY):
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with contextlib.suppress(OSError):  # what is buffered can't be written
                reconfigure(errors="backslashreplace")


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
