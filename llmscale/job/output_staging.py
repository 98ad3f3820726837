"""`OUT.tmp`: the next output, copied from the journal while the job runs.

Rows that are done, from the first one on without a gap, are copied in a thread, so that a large job
does not end with the copy of all its rows. This is an optimization: without space on the disk, or
after an error, everything is copied at the end.
"""

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import threading
from pathlib import Path

from llmscale.core.atomic_file import (
    discard_staged,
    open_staged,
    staged_path,
    storage_error,
    sync_file,
)
from llmscale.job.journal import Journal

STEP_BYTES = 4 * 1024 * 1024  # of the journal, from one copy to the next
SYNC_BYTES = 64 * 1024 * 1024  # of the output, from one sync to the next
MIN_FREE = 2.0  # times the whole output, for a copy before the end

log = logging.getLogger(__name__)


class Staging:
    """Makes the file that is to be renamed over the output."""

    def __init__(self, output: Path, journal: Journal) -> None:
        self._output = output
        self._journal = journal
        self._seen_bytes = journal.size_bytes
        self._copy: _Copy | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._copies_at_end = False  # nothing is copied before the end
        discard_staged(output)  # left by a process that died

    def follow(self) -> None:
        """Start to copy what was appended since the last time, if that is much. Never raises."""
        if self._copies_at_end or self._journal.size_bytes - self._seen_bytes < STEP_BYTES:
            return
        if self._thread is not None and self._thread.is_alive():
            return
        self._seen_bytes = self._journal.size_bytes
        self._thread = threading.Thread(target=self._copy_ahead, name="staging")
        self._thread.start()

    def finish(self) -> tuple[Path, str]:
        """Copy the rest; return the file, which survives a power loss, and its SHA-256 in hex.

        Raises `StorageError`; nothing is left behind then.
        """
        self._wait()
        try:
            copy = self._started()
            self._copy_until(copy, self._journal.rows)
            copy.sync()
        except OSError as error:
            self._drop()
            raise storage_error(self._output, error) from None
        copy.file.close()
        self._copy = None
        return staged_path(self._output), copy.sha256.hexdigest()

    def discard(self) -> None:
        """Stop copying, and remove the copy unless `finish` has returned it."""
        self._stopped.set()
        self._wait()
        self._drop()

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _copy_ahead(self) -> None:
        try:
            copy = self._started()
            upto = self._journal.first_open(copy.rows)
            if upto > copy.rows:
                self._check_free_space(copy, upto)
                self._copy_until(copy, upto)
            if copy.unsynced_bytes >= SYNC_BYTES:  # so that the last sync is a short one
                copy.sync()
        except Exception as error:  # a fault of ours too: `finish` starts over
            log.debug("the output is copied at the end: %s", error)
            self._drop()

    def _check_free_space(self, copy: "_Copy", upto: int) -> None:
        """Raise `OSError` unless the disk has space for the job and its copy by a wide margin."""
        of_row = (copy.size_bytes + self._journal.size_of(range(copy.rows, upto))) / upto
        if shutil.disk_usage(self._output.parent).free < MIN_FREE * of_row * self._journal.rows:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _started(self) -> "_Copy":
        if self._copy is None:
            self._copy = _Copy(self._output)
        return self._copy

    def _copy_until(self, copy: "_Copy", upto: int) -> None:
        """Copy the rows before `upto` that are missing."""
        for block in self._journal.in_order(range(copy.rows, upto)):
            if self._stopped.is_set():
                return
            copy.add(block)
        copy.rows = upto

    def _drop(self) -> None:
        self._copies_at_end = True
        if self._copy is not None:
            with contextlib.suppress(OSError):  # of what it had yet to write
                self._copy.file.close()
            self._copy = None
            discard_staged(self._output)


class _Copy:
    """The first rows of the output, in a file. Raises `OSError` throughout."""

    def __init__(self, output: Path) -> None:
        self.file = open_staged(output)
        self.sha256 = hashlib.sha256()
        self.rows = 0
        self.size_bytes = 0
        self.unsynced_bytes = 0

    def add(self, block: bytes) -> None:
        """Append a block."""
        self.sha256.update(block)
        self.file.write(block)
        self.size_bytes += len(block)
        self.unsynced_bytes += len(block)

    def sync(self) -> None:
        """Flush to the disk."""
        sync_file(self.file)
        self.unsynced_bytes = 0
