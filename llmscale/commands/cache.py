"""`llmscale cache`: statistics, explanations of misses, removal, export and import.

Nothing here sends a request, and only `clear`, `prune` and `import_` change the cache.
"""

import fnmatch
import logging
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any, BinaryIO, TypeVar

import msgspec

from llmscale.config import CacheConfig, Config
from llmscale.core.errors import ConfigError, JobError, StorageError
from llmscale.core.records import Request
from llmscale.engine.cache import history
from llmscale.engine.cache.entry import Entry
from llmscale.engine.cache.history import RunUse, Use
from llmscale.engine.cache.keys import differing_fields, fingerprint, key_of
from llmscale.engine.cache.store import Store, ToStore, reason_of
from llmscale.rows.row_parser import rows_of
from llmscale.rows.sources import Line, blocks_of_lines, expand
from llmscale.runtime.cache import folder_of, open_store
from llmscale.runtime.models import Models
from llmscale.runtime.workload import chat_parser

AGE_BOUNDS = (("1h", 3600.0), ("1d", 86_400.0), ("7d", 604_800.0), ("30d", 2_592_000.0))
MAX_EXPLAINED = 20
MAX_RUNS = 10  # that are listed
_GROUP = 500

log = logging.getLogger(__name__)

T = TypeVar("T")


class UseStats(msgspec.Struct, frozen=True, kw_only=True):
    """Lookups, and what they saved."""

    hits: int
    misses: int
    deduped: int  # rows answered by a call that another row had in flight
    saved_tokens: int
    saved_usd: float
    hit_rate: float | None  # None: no lookups


class LifetimeUse(UseStats, frozen=True, kw_only=True):
    """The use by all runs."""

    runs: int


class ModelUse(UseStats, frozen=True, kw_only=True):
    """The use by requests to one model, and its entries."""

    entries: int
    bytes: int


class LastRun(UseStats, frozen=True, kw_only=True):
    """The use by one run."""

    started: str  # ISO 8601
    output: str


class CacheStats(msgspec.Struct, frozen=True, kw_only=True):
    """The contents and the history of the cache."""

    folder: str
    entries: int
    size_bytes: int
    ages: dict[str, int]  # entries by age: the first of `AGE_BOUNDS` that is not exceeded
    life: LifetimeUse
    stored: int
    evicted: int
    refused: int
    models: dict[str, ModelUse]
    last_runs: list[LastRun]  # at most `MAX_RUNS`, latest last


class Miss(msgspec.Struct, frozen=True):
    """A row that the cache would not answer."""

    row: int  # 0-based
    nearest: dict[str, tuple[str, str]] | None  # field: this row's value, the cached one's

    def __str__(self) -> str:
        """Return why, in a sentence."""
        return f"row {self.row}: miss, {self._why()}"

    def _why(self) -> str:
        if self.nearest is None:
            return "the cache is empty"
        if not self.nearest:
            return "its entry is expired or damaged"
        if "messages" in self.nearest:
            return "no entry has these messages"
        changes = (f"{name} {there} (here {here})" for name, (here, there) in self.nearest.items())
        return f"the nearest entry has {', '.join(changes)}"


class Explanation(msgspec.Struct, frozen=True):
    """What the cache would do with rows."""

    hits: int
    bad_rows: int
    misses: int
    explained: list[Miss]  # the first `MAX_EXPLAINED`


class _ExportedEntry(msgspec.Struct, frozen=True):
    """One line of an export."""

    key: str
    model: str
    entry: Entry


def stats(cache: CacheConfig) -> CacheStats:
    """Return the contents and the history of the cache. Raises `StorageError`."""
    contents = _with(cache, Store.contents)
    runs = list(history.runs(folder_of(cache)))
    by_model = dict.fromkeys(contents.models, Use())
    for run in runs:
        for model, use in run.models.items():
            by_model[model] = by_model.get(model, Use()) + use
    return CacheStats(
        folder=str(folder_of(cache)),
        entries=contents.entries,
        size_bytes=contents.size_bytes,
        ages=_histogram(contents.ages_s),
        life=LifetimeUse(**_fields(sum(by_model.values(), Use())), runs=len(runs)),
        stored=sum(run.stored for run in runs),
        evicted=sum(run.evicted for run in runs),
        refused=sum(run.refused for run in runs),
        models={
            model: _model_use(use, *contents.models.get(model, (0, 0)))
            for model, use in sorted(by_model.items())
        },
        last_runs=[_last_run(run) for run in runs[-MAX_RUNS:]],
    )


def explain(config: Config, row_or_file: str) -> Explanation:
    """Return which rows the cache would answer, and how the others differ from the nearest entry.

    `row_or_file`: a file, or one row as JSON. Raises `ConfigError` and `StorageError`.
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
    """Remove entries and return their number; without `really` only count them."""

    def work(store: Store) -> int:
        return (store.clear if really else store.count)(model_pattern, older_than_s)

    return _with(cache, work)


def prune(cache: CacheConfig) -> tuple[int, int]:
    """Remove expired entries, then evict down to the size limit; return both counts."""
    return _with(cache, lambda store: (store.expire(), store.make_room()))


def export(cache: CacheConfig, path: str, model_pattern: str) -> int:
    """Write entries as JSONL, to standard output for `-`; return their number."""

    def work(store: Store) -> int:
        count = 0
        with _opened_to_write(path) as file:
            for key, model, entry in store.items():
                if fnmatch.fnmatchcase(model, model_pattern):
                    file.write(msgspec.json.encode(_ExportedEntry(key, model, entry)) + b"\n")
                    count += 1
        return count

    return _with(cache, work)


def import_(cache: CacheConfig, path: str) -> int:
    """Store the entries of an export; return their number. Raises `ConfigError` for a bad line."""

    def work(store: Store) -> int:
        count = 0
        for group in _groups(path):
            store.add(group)
            count += len(group)
        store.make_room()
        return count

    return _with(cache, work)


def _with(cache: CacheConfig, work: Callable[[Store], T]) -> T:
    """Open the cache, work on it, close it. Raises `StorageError`."""
    try:
        with closing(open_store(cache)) as store:
            return work(store)
    except JobError:
        raise
    except Exception as error:  # a damaged file can raise anything
        log.debug("traceback", exc_info=True)
        raise StorageError(
            f"can't use the cache in {folder_of(cache)}: {reason_of(error)}"
        ) from None


def _lines(row_or_file: str) -> Iterator[list[Line]]:
    if row_or_file.lstrip().startswith("{"):
        return iter([[Line("row", 1, row_or_file.encode())]])
    return blocks_of_lines(expand([row_or_file]))


def _explained(store: Store, requests: list[tuple[int, Request]], bad_rows: int) -> Explanation:
    missed = [(row, request) for row, request in requests if store.get(key_of(request)) is None]
    to_explain = [(row, fingerprint(request)) for row, request in missed[:MAX_EXPLAINED]]
    nearest: dict[int, dict[str, str]] = {}
    unusable = {row for row, request in missed[:MAX_EXPLAINED] if store.holds(key_of(request))}
    if to_explain:
        for _, _, entry in store.items():
            for row, wanted in to_explain:
                best = nearest.get(row)
                if best is None or _distance(wanted, entry.fingerprint) < _distance(wanted, best):
                    nearest[row] = entry.fingerprint
    explained = [
        Miss(row, {})
        if row in unusable
        else Miss(row, _differences(wanted, nearest[row]) if row in nearest else None)
        for row, wanted in to_explain
    ]
    return Explanation(len(requests) - len(missed), bad_rows, len(missed), explained)


def _distance(one: dict[str, str], other: dict[str, str]) -> tuple[bool, int]:
    """Rank different messages as farther than any other difference."""
    return one.get("messages") != other.get("messages"), len(differing_fields(one, other))


def _differences(wanted: dict[str, str], stored: dict[str, str]) -> dict[str, tuple[str, str]]:
    fields = differing_fields(wanted, stored)
    return {name: (wanted.get(name, "not set"), stored.get(name, "not set")) for name in fields}


def _histogram(ages_s: list[float]) -> dict[str, int]:
    """Count entries by age: below an hour, a day, ..., and older."""
    counts = Counter(
        next((label for label, bound_s in AGE_BOUNDS if age_s < bound_s), "older")
        for age_s in ages_s
    )
    return {label: counts[label] for label in (*(label for label, _ in AGE_BOUNDS), "older")}


def _model_use(use: Use, entries: int, size_bytes: int) -> ModelUse:
    return ModelUse(**_fields(use), entries=entries, bytes=size_bytes)


def _last_run(run: RunUse) -> LastRun:
    use = sum(run.models.values(), Use())
    return LastRun(**_fields(use), started=run.started, output=run.output)


def _fields(use: Use) -> Any:
    """Return the keyword arguments of a `UseStats`."""
    rate = use.hit_rate
    return msgspec.structs.asdict(use) | {"hit_rate": None if rate is None else round(rate, 6)}


def _opened_to_write(path: str) -> AbstractContextManager[BinaryIO]:
    if path == "-":
        return nullcontext(sys.stdout.buffer)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):  # an existing file keeps its mode
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
        found = msgspec.json.decode(line.raw or b"", type=_ExportedEntry)
        if len(bytes.fromhex(found.key)) != 32:
            raise ValueError("a key has 64 hex digits")
    except (ValueError, RecursionError) as error:  # MsgspecError is a ValueError
        raise ConfigError(
            f"{line.source} line {line.number} is not an exported entry: {error}"
        ) from None
    return ToStore(found.key, found.entry, found.model)
