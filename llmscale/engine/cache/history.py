"""What each run has had from the cache: one line a run in `runs.jsonl`, in the cache's folder.

Appended in one write, so that several processes can; a run that is killed leaves no line.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

FILE = "runs.jsonl"
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW


class Use(msgspec.Struct, frozen=True):
    """Look-ups and savings. Uses add."""

    hits: int = 0
    misses: int = 0
    deduped: int = 0  # rows answered by a call that another row had in flight
    saved_tokens: int = 0
    saved_usd: float = 0.0

    @property
    def hit_rate(self) -> float | None:
        """Hits among look-ups; None where there were none."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else None

    def __add__(self, other: "Use") -> "Use":
        return Use(
            self.hits + other.hits,
            self.misses + other.misses,
            self.deduped + other.deduped,
            self.saved_tokens + other.saved_tokens,
            self.saved_usd + other.saved_usd,
        )


class RunUse(msgspec.Struct, frozen=True):
    """One run's use of the cache, by model."""

    started: str  # ISO 8601
    output: str
    models: dict[str, Use]
    stored: int = 0
    dropped: int = 0
    evicted: int = 0
    refused: int = 0
    errors: int = 0


def append(folder: Path, run: RunUse) -> None:
    """Add a run. Raises `OSError`."""
    line = msgspec.json.encode(run) + b"\n"
    descriptor = os.open(folder / FILE, _FLAGS, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def runs(folder: Path) -> Iterator[RunUse]:
    """Yield all runs, the oldest first; lines that are damaged are passed over."""
    path = folder / FILE
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                yield msgspec.json.decode(line, type=RunUse)
            except (ValueError, RecursionError):  # MsgspecError is a ValueError
                continue
