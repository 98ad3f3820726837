"""How a file is written so that it is whole or not there.

In a folder where others may write, a link may lie where a file is to be made: none is followed.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable
from io import BufferedWriter
from pathlib import Path
from typing import IO

from llmscale.core.disk_sync import sync_descriptor
from llmscale.core.errors import StorageError

PRIVATE = 0o600


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or not there at all. Raises `StorageError`."""
    publish(stage(path, lambda file: file.write(content)), path)


def stage(path: Path, write: Callable[[IO[bytes]], object]) -> Path:
    """Write and sync a file beside `path`, ready to be renamed over it.

    Raises `StorageError`; nothing is left behind then. A device or a pipe is never replaced.
    """
    try:
        with open_staged(path) as file:
            write(file)
            sync_file(file)
    except OSError as error:
        discard_staged(path)
        raise storage_error(path, error) from None
    return staged_path(path)


def staged_path(path: Path) -> Path:
    """Return where the file lies that is to be renamed over `path`."""
    return path.with_name(path.name + ".tmp")


def open_staged(path: Path) -> BufferedWriter:
    """Open a new file beside `path`, to be renamed over it. Raises `OSError`."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file")
    staged_path(path).unlink(missing_ok=True)  # left by a process that died, or a trap
    return open(staged_path(path), "xb", opener=open_private)


def discard_staged(path: Path) -> None:
    """Remove what lies beside `path` to be renamed over it, if it can be removed."""
    with contextlib.suppress(OSError):
        staged_path(path).unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Rename a staged file over `path`, and make the new name last. Raises `StorageError`."""
    try:
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from None


def sync_file(file: IO[bytes]) -> None:
    """Make what is written survive a power loss. Raises `OSError`."""
    file.flush()
    sync_descriptor(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def storage_error(path: Path, error: OSError) -> StorageError:
    """Return the sentence for a file that can't be written."""
    return StorageError(
        f"can't write {path}: {error.strerror or error}; what is written is safe, "
        "and the same command resumes"
    )


def open_private(path: str | Path, flags: int) -> int:
    """Open a file that only its owner may read.

    Raises `OSError`, also for what another may have put in its place: a link of either kind, a
    pipe, a file of somebody else.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, PRIVATE)
    try:
        check_own(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def check_own(descriptor: int) -> None:
    """Raise `OSError` unless an open file is a regular one of ours that has one name."""
    found = os.fstat(descriptor)
    user = os.geteuid()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    if found.st_uid != user:
        raise PermissionError(errno.EPERM, "it belongs to another user")
    if found.st_nlink > 1:
        raise PermissionError(errno.EPERM, "it has another name (a hard link)")


def read_own(path: Path) -> bytes:
    """Return the content of a small file of ours. Raises `OSError`, as `open_private` does."""
    descriptor = open_private(path, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def sha256_of(path: Path) -> str | None:
    """Return the SHA-256 of a file in hex, None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
