"""What a run does to its files, as a disk sees it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at a place of a file."""

    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file gets another size."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """Everything that was written to a file is on the disk when this returns."""

    file: int


@dataclass(frozen=True, slots=True)
class Link:
    """A file gets a name that it is created by."""

    folder: str
    name: str  # the whole path
    file: int


@dataclass(frozen=True, slots=True)
class Rename:
    """A name moves."""

    folder: str
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class Unlink:
    """A name is removed."""

    folder: str
    name: str


@dataclass(frozen=True, slots=True)
class SyncFolder:
    """All names of a folder are on the disk when this returns."""

    folder: str


OfFile = Write | Truncate
OfNames = Link | Rename | Unlink
Operation = OfFile | OfNames | Sync | SyncFolder
