"""What `llmscale cache` does: look at the stored answers, explain misses, remove, move."""

import fnmatch
import logging
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any, BinaryIO, NamedTuple, TypeVar

import msgspec

from llmscale.config import CacheConfig, Config
from llmscale.core.errors import ConfigError, JobError, StorageError
from llmscale.core.records import Request
from llmscale.engine.cache import history
from llmscale.engine.cache.entry import Entry
from llmscale.engine.cache.history import Use
from llmscale.engine.cache.keys import differing_fields, fingerprint, key_of
from llmscale.engine.cache.store import Store, ToStore, reason_of
from llmscale.rows.row_parser import rows_of
from llmscale.rows.sources import Line, blocks_of_lines, expand
from llmscale.runtime.cache import folder_of, open_store
from llmscale.runtime.models import Models
from llmscale.runtime.workload import chat_parser

AGE_BOUNDS = (("1h", 3600.0), ("1d", 86_400.0), ("7d", 604_800.0), ("30d", 2_592_000.0))
MAX_EXPLAINED = 20
_GROUP = 500

log = logging.getLogger(__name__)

T = TypeVar("T")


class Exported(msgspec.Struct, frozen=True):
    """One line of an export: an entry with its key."""

    key: str
    model: str
    entry: Entry


class Miss(NamedTuple):
    """A row that would not be hit."""

    row: int  # 0-based
    nearest: dict[str, tuple[str, str]] | None  # field: this row's value, the stored one's


class Explanation(NamedTuple):
    """What the cache would do with rows."""

    hits: int
    bad_rows: int
    misses: int
    explained: list[Miss]  # the first `MAX_EXPLAINED`


def stats(cache: CacheConfig) -> dict[str, Any]:
    """Return the contents and the history of the cache as JSON."""
    contents = _with(cache, Store.contents)
    runs = list(history.runs(folder_of(cache)))
    by_model: dict[str, Use] = {}
    for run in runs:
        for model, use in run.models.items():
            by_model[model] = by_model.get(model, Use()) + use
    for model in contents.models:
        by_model.setdefault(model, Use())
    life = sum(by_model.values(), Use())
    return {
        "folder": str(folder_of(cache)),
        "entries": contents.entries,
        "size_bytes": contents.size_bytes,
        "ages": _histogram(contents.ages_s),
        "life": _shown(life) | {"runs": len(runs)},
        "stored": sum(run.stored for run in runs),
        "evicted": sum(run.evicted for run in runs),
        "refused": sum(run.refused for run in runs),
        "models": {
            model: _shown(use)
            | dict(zip(("entries", "bytes"), contents.models.get(model, (0, 0)), strict=True))
            for model, use in sorted(by_model.items())
        },
        "last_runs": [
            {"started": run.started, "output": run.output} | _shown(sum(run.models.values(), Use()))
            for run in runs[-10:]
        ],
    }


def explain(config: Config, row_or_file: str) -> Explanation:
    """Tell which rows would be hit, and in what the others differ from the nearest entry.

    `row_or_file` is a file, or one row as JSON.
    """
    requests, bad_rows = [], 0
    parser = chat_parser(config, Models(config.models))
    for rows in rows_of(parser, _lines(row_or_file), config.files.limit):
        for row in rows:
            if row.request is None:
                bad_rows += 1
            else:
                requests.append((row.index, row.request))
    return _with(config.cache, lambda store: _explained(store, requests, bad_rows))


def clear(
    cache: CacheConfig, model_pattern: str, older_than_s: float | None, *, really: bool
) -> int:
    """Remove entries and return how many; without `really` only count them."""

    def work(store: Store) -> int:
        return (store.clear if really else store.count)(model_pattern, older_than_s)

    return _with(cache, work)


def prune(cache: CacheConfig) -> tuple[int, int]:
    """Drop what is expired, evict down to the size limit; return both counts."""
    return _with(cache, lambda store: (store.expire(), store.make_room()))


def export(cache: CacheConfig, path: str, model_pattern: str) -> int:
    """Write entries as JSONL, to standard output for `-`; return how many."""

    def work(store: Store) -> int:
        count = 0
        with _opened_to_write(path) as file:
            for key, model, entry in store.items():
                if fnmatch.fnmatchcase(model, model_pattern):
                    file.write(msgspec.json.encode(Exported(key, model, entry)) + b"\n")
                    count += 1
        return count

    return _with(cache, work)


def import_(cache: CacheConfig, path: str) -> int:
    """Store what an export holds; return how many entries. Raises `ConfigError` for a bad line."""

    def work(store: Store) -> int:
        count = 0
        for group in _groups(path):
            store.add(group)
            count += len(group)
        store.make_room()
        return count

    return _with(cache, work)


def _with(cache: CacheConfig, work: Callable[[Store], T]) -> T:
    """Open the cache, work on it, close it. Raises `StorageError` with a sentence."""
    try:
        with closing(open_store(cache)) as store:
            return work(store)
    except JobError:
        raise
    except Exception as error:  # whatever a damaged file brings
        log.debug("traceback", exc_info=True)
        raise StorageError(
            f"the cache in {folder_of(cache)} can't be used: {reason_of(error)}"
        ) from None


def _lines(row_or_file: str) -> Iterator[list[Line]]:
    if row_or_file.lstrip().startswith("{"):
        return iter([[Line("row", 1, row_or_file.encode())]])
    return blocks_of_lines(expand([row_or_file]))


def _explained(store: Store, requests: list[tuple[int, Request]], bad_rows: int) -> Explanation:
    missed = [(row, request) for row, request in requests if store.get(key_of(request)) is None]
    looked_at = [(row, fingerprint(request)) for row, request in missed[:MAX_EXPLAINED]]
    nearest: dict[int, dict[str, str]] = {}
    unusable = {row for row, request in missed[:MAX_EXPLAINED] if store.holds(key_of(request))}
    if looked_at:
        for _, _, entry in store.items():
            for row, wanted in looked_at:
                best = nearest.get(row)
                if best is None or _distance(wanted, entry.fingerprint) < _distance(wanted, best):
                    nearest[row] = entry.fingerprint
    explained = [
        Miss(row, {})
        if row in unusable
        else Miss(row, _differences(wanted, nearest[row]) if row in nearest else None)
        for row, wanted in looked_at
    ]
    return Explanation(len(requests) - len(missed), bad_rows, len(missed), explained)


def _distance(one: dict[str, str], other: dict[str, str]) -> tuple[bool, int]:
    """Another question is further away than any other difference."""
    return one.get("messages") != other.get("messages"), len(differing_fields(one, other))


def _differences(wanted: dict[str, str], stored: dict[str, str]) -> dict[str, tuple[str, str]]:
    fields = differing_fields(wanted, stored)
    return {name: (wanted.get(name, "not set"), stored.get(name, "not set")) for name in fields}


def _histogram(ages_s: list[float]) -> dict[str, int]:
    """Count entries by age: under an hour, a day, ..., and older."""
    counts = Counter(
        next((label for label, bound_s in AGE_BOUNDS if age_s < bound_s), "older")
        for age_s in ages_s
    )
    return {label: counts[label] for label in (*(label for label, _ in AGE_BOUNDS), "older")}


def _shown(use: Use) -> dict[str, Any]:
    rate = use.hit_rate
    return msgspec.structs.asdict(use) | {"hit_rate": None if rate is None else round(rate, 6)}


def _opened_to_write(path: str) -> AbstractContextManager[BinaryIO]:
    if path == "-":
        return nullcontext(sys.stdout.buffer)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):  # one that was there keeps its mode
            os.fchmod(descriptor, 0o600)
        return os.fdopen(descriptor, "wb")
    except OSError as error:
        raise StorageError(f"can't write {path}: {error.strerror}") from None


def _groups(path: str) -> Iterator[list[ToStore]]:
    group: list[ToStore] = []
    for lines in blocks_of_lines(expand([path])):
        for line in lines:
            group.append(_imported(line))
            if len(group) == _GROUP:
                yield group
                group = []
    if group:
        yield group


def _imported(line: Line) -> ToStore:
    try:
        found = msgspec.json.decode(line.raw or b"", type=Exported)
        if len(bytes.fromhex(found.key)) != 32:
            raise ValueError("a key has 64 hex digits")
    except (ValueError, RecursionError) as error:  # MsgspecError is a ValueError
        raise ConfigError(
            f"{line.source} line {line.number} is no exported entry: {error}"
        ) from None
    return ToStore(found.key, found.entry, found.model)
