"""Requests, replies and stores to test the cache with, and ways to damage its file."""

import asyncio
import pickle
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any, Protocol

from llmscale.core.cache_records import Entry, StoredEntry
from llmscale.core.protocols import CacheBackend
from llmscale.core.records import Reply, Request, Usage
from llmscale.engine.cache.keys import fingerprint, key_of
from llmscale.engine.cache.store import Store

MODEL = "openai/m"
DAY_S = 86_400.0
ROOMY_BYTES = 10**9


def request(prompt: str = "hello", **fields: Any) -> Request:
    """Return a question."""
    asked: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}
    return Request(**(asked | fields))


def reply(text: str | None = "hi", **fields: Any) -> Reply:
    """Return an answer that is worth storing, unless `fields` say otherwise."""
    usual: dict[str, Any] = {"finish_reason": "stop", "model": "m-1", "usage": Usage(10, 2)}
    return Reply(text=text, **(usual | fields))


def answer_to(asked: Request) -> Reply:
    """Return the only right answer to a question: a function of its key."""
    return reply(f"A:{key_of(asked)[:16]}")


def entry_of(asked: Request, *, age_s: float = 0.0) -> Entry:
    """Return the right entry of a question, paid for so long ago."""
    return Entry(answer_to(asked), time.time() - age_s, fingerprint(asked))


def item(asked: Request, *, age_s: float = 0.0) -> StoredEntry:
    """Return a question's entry on its way to the store."""
    return StoredEntry(key_of(asked), entry_of(asked, age_s=age_s), asked.model)


class TakesOver(Protocol):
    """What takes entries over and says when they are safe."""

    def when_safe(self, then: Callable[[], None]) -> None: ...


async def safe(store: TakesOver) -> None:
    """Return when all that was put until now is safe, or is known not to get there."""
    is_safe = asyncio.Event()
    store.when_safe(is_safe.set)
    async with asyncio.timeout(10):
        await is_safe.wait()


async def found_in(store: CacheBackend, asked: Request) -> Entry | None:
    """Return the entry of a question, None where there is none."""
    return (await store.get_many([key_of(asked)])).get(key_of(asked))


def questions(count: int) -> list[Request]:
    """Return that many different questions."""
    return [request(f"question {number}") for number in range(count)]


def bulky(number: int) -> StoredEntry:
    """Return an entry that takes about 20 kB on disk, however it is compressed."""
    asked = request(f"bulky {number}")
    text = Random(number).randbytes(16_000).hex()
    return StoredEntry(key_of(asked), Entry(reply(text), time.time(), {}), asked.model)


@contextmanager
def opened(
    folder: Path, *, size_limit_bytes: int = ROOMY_BYTES, ttl_s: float | None = None
) -> Iterator[Store]:
    """Open a store and close it."""
    with closing(Store(folder, size_limit_bytes, ttl_s)) as store:
        yield store


def fill(folder: Path, asked: list[Request], *, age_s: float = 0.0) -> None:
    """Store the right answers to questions."""
    with opened(folder) as store:
        store.add([item(one, age_s=age_s) for one in asked])


def sql(folder: Path, statement: str, *parameters: object) -> list[Any]:
    """Run a statement on the file behind the store's back."""
    with closing(sqlite3.connect(folder / "cache.db")) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        found = connection.execute(statement, parameters).fetchall()
        connection.commit()
    return found


def flip_bytes(folder: Path, count: int, seed: int, first_byte: int = 0) -> None:
    """Change so many random bytes of the store's file."""
    path, rng = folder / "cache.db", Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(count):
        content[rng.randrange(first_byte, len(content))] ^= rng.randrange(1, 256)
    path.write_bytes(content)


class Planted:
    """Makes a file when it is unpickled: what a planted pickle could do, harmlessly."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def pickle_that_touches(path: Path) -> bytes:
    """Return a pickle that makes a file when it is read."""
    return pickle.dumps(Planted(path))
