"""A folder that its owner alone can write in: what is read from it goes out as an answer.

Never makes somebody else's folder ours, and never follows a link to a file.
"""

import os
import stat
from pathlib import Path

FOLDER, FILE = 0o700, 0o600


def make_private(folder: Path, name: str) -> None:
    """Make a folder, with what is missing above it, and a file in it before SQLite does.

    Raises `OSError`, also where others could plant something in the folder.
    """
    for missing in reversed((folder, *folder.parents)):
        missing.mkdir(mode=FOLDER, exist_ok=True)
    found = folder.stat()
    _check_owner(found, "folder")
    if found.st_mode & stat.S_IWOTH:
        raise PermissionError("everybody may write in the folder; chmod o-w makes it yours")
    descriptor = os.open(folder / name, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, FILE)
    try:
        found = os.fstat(descriptor)
        _check_owner(found, "file")
        if found.st_mode & 0o077:  # copied or unpacked with the mode of other files
            os.fchmod(descriptor, FILE)
    finally:
        os.close(descriptor)


def _check_owner(found: os.stat_result, what: str) -> None:
    user = os.geteuid()
    if user != 0 and found.st_uid not in (user, 0):
        raise PermissionError(f"the {what} belongs to somebody else")
