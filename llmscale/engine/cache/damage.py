"""A cache file that SQLite can't read: found out, and removed, so that an empty one follows."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from diskcache.core import DBNAME

log = logging.getLogger(__name__)

_DAMAGED = ("malformed", "not a database", "disk image", "encrypted")


def is_damaged(folder: Path) -> bool:
    """Tell whether the file of a cache is damaged; one that is held or can't be opened is not."""
    try:
        with closing(sqlite3.connect(f"file:{folder / DBNAME}?mode=rw", uri=True)) as connection:
            connection.execute("PRAGMA quick_check").fetchall()
            connection.execute("SELECT COUNT(*) FROM Cache").fetchone()
    except sqlite3.DatabaseError as error:
        return any(word in str(error) for word in _DAMAGED)
    except UnicodeDecodeError:  # of SQLite's report about a name that is damaged
        return True
    return False


def remove_damaged(folder: Path) -> None:
    """Remove the file and what SQLite keeps beside it. Raises `OSError`."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        (folder / f"{DBNAME}{suffix}").unlink(missing_ok=True)
    log.warning("the damaged cache in %s was removed; the next run starts an empty one", folder)
