"""One process at a time for a job; after a crash, its rows in flight and the cost until then.

The lock is the kernel's (flock): a killed process releases it. Count and dollars are in the mapped
first bytes of the lock file: they cost no system call and survive a SIGKILL.
"""

import errno
import fcntl
import math
import mmap
import os
import stat
from pathlib import Path

from llmscale.core.atomic_file import open_private, storage_error
from llmscale.core.errors import ConfigError, LockedError

_OURS = b"in_flight="
_COUNT = slice(10, 20)  # of "in_flight=0000000000 usd=-------------------- pid=..."
_USD = slice(25, 45)
_NO_USD = b"-" * 20
_SIZE = 64


class JobLock:
    """Held from the constructor to `release`.

    Raises `LockedError` naming the holder, `ConfigError` where the file is not a lock of llmscale.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._descriptor = _locked(path)
        except BlockingIOError:
            raise LockedError(
                f"{_holder(path)} is running this job; wait for it, or stop it"
            ) from None
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EPERM):
                raise ConfigError(
                    f"{path} exists and is not a lock of llmscale: {error.strerror}; name another "
                    "output with -o, or move it away"
                ) from None
            raise storage_error(path, error) from None
        found = self._read()
        self.left_in_flight = int(found[_COUNT]) if found[_COUNT].isdigit() else 0
        """Rows in flight when the last process died: sent, and not stored."""
        self.left_usd = _usd(found)
        """The most that the job had cost by then, reservations included; None: not recorded."""
        self._unrecorded = self.left_in_flight
        self._in_flight = 0
        usd = _NO_USD if self.left_usd is None else found[_USD]
        text = b"in_flight=%010d usd=%s pid=%d\n" % (self.left_in_flight, usd, os.getpid())
        try:  # written before it is mapped: on a full disk a map of nothing is a SIGBUS
            os.pwrite(self._descriptor, text.ljust(_SIZE), 0)
            os.ftruncate(self._descriptor, _SIZE)
            self._map = mmap.mmap(self._descriptor, _SIZE)
        except OSError as error:
            os.close(self._descriptor)
            raise storage_error(path, error) from None

    def _read(self) -> bytes:
        """Return what the last holder left. A file that is not a lock is not overwritten."""
        is_file = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        found = os.read(self._descriptor, _SIZE) if is_file else b"no file"
        if found.strip(b"\0") and not found.startswith(_OURS):  # zeros: after a power loss
            os.close(self._descriptor)
            raise ConfigError(
                f"{self._path} exists and is not a lock of llmscale; name another output with -o, "
                "or move it away"
            )
        return found

    def begin(self, rows: int = 1) -> None:
        """Count rows that are about to be sent."""
        self._in_flight += rows
        self._map[_COUNT] = b"%010d" % self._in_flight

    def end(self, rows: int = 1) -> None:
        """Count rows that are stored, or were not sent after all."""
        self._in_flight -= rows
        self._map[_COUNT] = b"%010d" % self._in_flight

    def forget_left(self) -> None:
        """Reset the count, once `left_in_flight` is recorded elsewhere."""
        self._unrecorded = 0
        self._map[_COUNT] = b"%010d" % self._in_flight

    def note_usd(self, usd: float) -> None:
        """Record the most that the job has cost."""
        self._map[_USD] = b"%020.11f" % usd

    def forget_usd(self) -> None:
        """Clear the cost, once it is recorded elsewhere."""
        self._map[_USD] = _NO_USD

    def release(self) -> None:
        """Release the lock. The file stays only where the next process has to read it."""
        is_clean = self._in_flight == 0 and self._unrecorded == 0 and self._map[_USD] == _NO_USD
        self._map.close()
        if is_clean:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def _usd(found: bytes) -> float | None:
    if found[21:25] != b"usd=":
        return None
    try:
        usd = float(found[_USD])
    except ValueError:
        return None
    return usd if math.isfinite(usd) else None


def _locked(path: Path) -> int:
    """Open and lock; retry if the last holder removed the file in between."""
    while True:
        descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        except FileNotFoundError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _holder(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return "another process"
    _, _, pid = text.strip().partition("pid=")
    return f"process {pid}" if pid else "another process"
