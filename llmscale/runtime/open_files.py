"""How many connections this process may have: each is an open file, and those are numbered.

Raises the soft limit as far as is needed and the hard limit allows; never lowers it.
"""

import resource
from pathlib import Path
from typing import NamedTuple

from llmscale.core.errors import ConfigError

MIN_FILES = 32  # with one call in flight
SPARE_FILES = 32  # journal, report, cache and its helpers; a second address tried, names looked up
_OPEN_BEFORE = 16  # where nobody tells
_MACOS_MAX = 10_240  # OPEN_MAX of sys/syslimits.h: refuses more, whatever the hard limit says


class Connections(NamedTuple):
    """How many connections this process may have."""

    connections: int  # at once, 1 at least
    max_files: int  # that may be open, of which the above is what is left


def check_open_files() -> None:
    """Raise `ConfigError` where this process may open fewer files than any run needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= MIN_FILES:
        return
    highest = MIN_FILES if hard == resource.RLIM_INFINITY else min(MIN_FILES, hard)
    if _raised(soft, highest, hard) < MIN_FILES:
        raise ConfigError(
            f"this process may open {soft} files, and a run needs {MIN_FILES}; raise the limit: "
            "ulimit -n 256"
        )


def connections_for(connections: int) -> Connections:
    """Return how many of so many connections can be had, after asking for what they need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = _open_now() + SPARE_FILES
    wanted = taken + connections
    if soft == resource.RLIM_INFINITY:
        return Connections(connections, wanted)
    if soft < wanted:
        soft = _raised(soft, wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
    return Connections(max(1, min(connections, soft - taken)), soft)


def _raised(soft: int, wanted: int, hard: int) -> int:
    """Return the soft limit after raising it, or as it was where that is not to be had."""
    for limit in (wanted, min(wanted, _MACOS_MAX)):
        if limit <= soft:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (ValueError, OSError):
            continue
        return limit
    return soft


def _open_now() -> int:
    try:
        return sum(1 for _ in Path("/dev/fd").iterdir())
    except OSError:
        return _OPEN_BEFORE
