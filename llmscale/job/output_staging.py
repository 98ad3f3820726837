"""`OUT.tmp`: the output in the making, copied from the journal while the job runs.

What is settled from the first row on, without a gap, is copied in a thread, so that a large job
does not end with the copy of all its rows. That is a help and no more: where the disk has no room
for it, or an error comes, all is copied at the end.
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
ROOM = 2.0  # times the whole output that has to be free for a copy before the end

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
        self._is_late = False  # nothing is copied before the end
        discard_staged(output)  # left by a process that died

    def follow(self) -> None:
        """Have copied what has come since the last time, where that is much. Never raises."""
        if self._is_late or self._journal.size_bytes - self._seen_bytes < STEP_BYTES:
            return
        if self._thread is not None and self._thread.is_alive():
            return
        self._seen_bytes = self._journal.size_bytes
        self._thread = threading.Thread(target=self._copy_ahead, name="staging")
        self._thread.start()

    def finish(self) -> tuple[Path, str]:
        """Copy the rest; return the file, which outlives a power loss, and its SHA-256 in hex.

        Raises `StorageError`; nothing is left behind then.
        """
        self._wait()
        try:
            copy = self._begun()
            self._bring(copy, self._journal.rows)
            copy.sync()
        except OSError as error:
            self._give_up()
            raise storage_error(self._output, error) from None
        copy.file.close()
        self._copy = None
        return staged_path(self._output), copy.sha256.hexdigest()

    def discard(self) -> None:
        """Copy nothing more, and remove what was copied if the end was not reached."""
        self._stopped.set()
        self._wait()
        self._give_up()

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _copy_ahead(self) -> None:
        try:
            copy = self._begun()
            upto = self._journal.settled_from(copy.rows)
            if upto > copy.rows:
                self._insist_on_room(copy, upto)
                self._bring(copy, upto)
            if copy.unsynced_bytes >= SYNC_BYTES:  # so that the last sync is a short one
                copy.sync()
        except Exception as error:  # a fault of ours too: the end begins anew
            log.debug("the output is copied at the end: %s", error)
            self._give_up()

    def _insist_on_room(self, copy: "_Copy", upto: int) -> None:
        """Raise `OSError` unless the disk has room for the job and its copy by a wide margin."""
        of_row = (copy.size_bytes + self._journal.size_of(range(copy.rows, upto))) / upto
        if shutil.disk_usage(self._output.parent).free < ROOM * of_row * self._journal.rows:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _begun(self) -> "_Copy":
        if self._copy is None:
            self._copy = _Copy(self._output)
        return self._copy

    def _bring(self, copy: "_Copy", upto: int) -> None:
        """Add the rows that are missing until that one."""
        for block in self._journal.in_order(range(copy.rows, upto)):
            if self._stopped.is_set():
                return
            copy.add(block)
        copy.rows = upto

    def _give_up(self) -> None:
        self._is_late = True
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
        """Write what follows."""
        self.sha256.update(block)
        self.file.write(block)
        self.size_bytes += len(block)
        self.unsynced_bytes += len(block)

    def sync(self) -> None:
        """Have the disk take what is written."""
        sync_file(self.file)
        self.unsynced_bytes = 0
