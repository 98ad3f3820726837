"""Errors of standard output: its reader has gone, or its disk is full."""

import errno
from typing import TypeGuard

_ERRNOS = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF})


def is_of_stdout(error: BaseException) -> TypeGuard[OSError]:
    """Tell whether an error was met in writing to standard output.

    Errors of files carry a name, or are `StorageError`s by the time they leave a command.
    """
    return isinstance(error, OSError) and error.filename is None and error.errno in _ERRNOS
