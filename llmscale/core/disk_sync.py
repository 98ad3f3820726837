"""Flushes to the disk, for what has to survive a power loss."""

import errno
import fcntl
import os

_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS only
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOTTY, errno.EOPNOTSUPP})


def sync_descriptor(descriptor: int) -> None:
    """Make what was written survive a power loss. Blocks. Raises `OSError`.

    On macOS `fsync` leaves data in the cache of the drive; F_FULLFSYNC writes it out, where the
    file system supports it (fsync(2) of macOS).
    """
    if _FULL_SYNC is not None:
        try:
            fcntl.fcntl(descriptor, _FULL_SYNC)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        else:
            return
    os.fsync(descriptor)
