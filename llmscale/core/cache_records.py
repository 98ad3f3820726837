"""What a cache of answers holds and says of itself, wherever it is kept."""

from typing import NamedTuple

import msgspec

from llmscale.core.records import Reply


class Entry(msgspec.Struct, frozen=True):
    """A reply, when it was paid for, and the fields of the request that it answers, in short."""

    reply: Reply
    created: float  # seconds since 1970
    fingerprint: dict[str, str]


class StoredEntry(NamedTuple):
    """An entry with its key and its model."""

    key: str
    entry: Entry
    model: str  # "provider/name"


class Contents(NamedTuple):
    """The contents of a cache, in numbers."""

    entries: int
    size_bytes: int  # of all that is stored
    models: dict[str, tuple[int, int]]  # entries and bytes of their values
    ages_s: list[float]  # since they were paid for, for a histogram


class Pruned(NamedTuple):
    """Entries that were removed."""

    expired: int
    evicted: int  # to get below the size limit
