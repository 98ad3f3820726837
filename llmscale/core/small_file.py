"""Files that a person has written (settings, schemas, templates): bounded, and never waited for.

A path may lead to a device without end or to a pipe that nobody writes to.
"""

import os
import select
import stat
import time

MAX_BYTES = 16 * 1024 * 1024
PIPE_TIMEOUT_S = 10.0  # for a pipe such as <(command)


def read_small(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file.

    Raises `OSError`, also for a folder and for a pipe without a writer, and `ValueError` for a
    file that is larger, and for a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(21, "it is a folder")
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise ValueError("it is a device, not a file")
        return _all_of(descriptor, max_bytes)
    finally:
        os.close(descriptor)


def _all_of(descriptor: int, max_bytes: int) -> bytes:
    found = bytearray()
    deadline_s = time.monotonic() + PIPE_TIMEOUT_S
    while True:
        try:
            block = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
                raise TimeoutError(110, "nobody writes to the pipe") from None
            continue
        if not block:
            return bytes(found)
        found += block
        if len(found) > max_bytes:
            raise ValueError(f"it has more than {max_bytes // 1024**2} MB")
