"""Whether the input is still what was read: no job is finished with rows of another text."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from llmscale.core.errors import StorageError
from llmscale.job.manifest import InputFile
from llmscale.rows.sources import Source, digest, opened

_BLOCK_BYTES = 1 << 20


class _Seen(NamedTuple):
    """What tells that a file may have changed."""

    size: int
    changed_ns: int
    modified_ns: int
    file: tuple[int, int]


class InputWatch:
    """Notes what the files of an input look like before they are read."""

    def __init__(self, sources: Sequence[Source], seen: Sequence[_Seen | None]) -> None:
        self._sources = sources
        self._seen = seen

    @classmethod
    def of(cls, sources: Sequence[Source]) -> Self:
        """Look at the files. To be called before they are read for the first time."""
        return cls(sources, [_look(source) for source in sources])

    def check(self, inputs: Sequence[InputFile]) -> None:
        """Raise `StorageError` where a file has changed since; rows that were appended may stay.

        Only a file whose times or size have changed is read again.
        """
        changed = [
            source.name
            for source, seen, known in zip(self._sources, self._seen, inputs, strict=True)
            if _look(source) != seen and prefix_sha256(source, known.size) != known.sha256
        ]
        if changed:
            raise StorageError(
                f"the input changed while it was read: {', '.join(changed)}; nothing is marked as "
                "finished: restore it and run the same command, or start over with --overwrite"
            )


def has_grown(sources: Sequence[Source], earlier: Sequence[InputFile]) -> bool:
    """Tell whether files begin with what they were, and only rows were appended."""
    if len(sources) != len(earlier):
        return False
    return all(
        (seen := _look(source)) is not None
        and seen.size >= known.size
        and prefix_sha256(source, known.size, ends_line=True) == known.sha256
        for source, known in zip(sources, earlier, strict=True)
    )


def prefix_sha256(source: Source, size: int, *, ends_line: bool = False) -> str | None:
    """Return the SHA-256 of the first bytes of a file, in hex; None where there are not so many.

    `ends_line`: None too where the next byte goes on in the same line.
    """
    found, left, last = hashlib.sha256(), size, b"\n"
    try:
        with opened(source) as file:
            while left:
                block = file.read(min(left, _BLOCK_BYTES))
                if not block:
                    return None
                found.update(block)
                left -= len(block)
                last = block[-1:]
            following = file.read(2) if ends_line else b""
    except OSError:
        return None
    is_packed = source.path.endswith(".gz")
    goes_on = following and last != b"\n" and not following.startswith((b"\n", b"\r\n"))
    return None if goes_on and not is_packed else found.hexdigest()


def input_files(sources: Sequence[Source], digests: Sequence[str] | None) -> list[InputFile]:
    """Return what identifies the files of an input. `digests` None: they are taken here."""
    found = [digest(source) for source in sources] if digests is None else digests
    sizes = [_size(source) for source in sources]
    return [
        InputFile(source.name, sha256, size)
        for source, sha256, size in zip(sources, found, sizes, strict=True)
    ]


def _size(source: Source) -> int:
    seen = _look(source)
    return 0 if seen is None else seen.size


def _look(source: Source) -> _Seen | None:
    try:
        if source.descriptor is None:
            found = Path(source.path).stat()
        else:
            found = os.fstat(source.descriptor)
    except OSError:
        return None
    return _Seen(found.st_size, found.st_ctime_ns, found.st_mtime_ns, (found.st_dev, found.st_ino))
