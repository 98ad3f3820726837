"""`llmscale cache stats`: the contents of the cache, and its use by all runs."""

from collections import Counter
from typing import Any

import msgspec

from llmscale.commands.cache.opened_cache import with_cache
from llmscale.config import CacheConfig
from llmscale.engine.cache import history
from llmscale.engine.cache.history import RunUse, Use
from llmscale.runtime.cache import folder_of

AGE_BOUNDS = (("1h", 3600.0), ("1d", 86_400.0), ("7d", 604_800.0), ("30d", 2_592_000.0))
MAX_RUNS = 10  # that are listed


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


def stats(cache: CacheConfig) -> CacheStats:
    """Return the contents and the history of the cache. Raises `StorageError`."""
    contents = with_cache(cache, lambda stored: stored.contents())
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
