"""What answers a row, layer on layer: cache, schema check, one call a row, balance, providers.

Endpoints are opened here, each with its key, its prices and its capacity, and closed together.
"""

import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from llmscale.accounting.stats import Stats
from llmscale.config import BalanceConfig, Config, EndpointConfig
from llmscale.core.protocols import Answers, Budget
from llmscale.core.units import per_minute, size_bytes
from llmscale.engine.balance.adaptive_window import AdaptiveWindow
from llmscale.engine.balance.endpoint import Endpoint
from llmscale.engine.balance.pool import Pool
from llmscale.engine.balance.retry import Balancer, RetryPolicy
from llmscale.engine.balance.strategies import strategy
from llmscale.engine.cache.disk_backend import DiskBackend
from llmscale.engine.layers.batcher import Batcher
from llmscale.engine.layers.batches import BatchCaps
from llmscale.engine.layers.cache import CacheLayer
from llmscale.engine.layers.fallback import FallbackLayer
from llmscale.engine.layers.schema import SchemaLayer
from llmscale.engine.layers.single_calls import SingleCalls
from llmscale.engine.layers.text_weights import TextWeights
from llmscale.engine.layers.truncation import TruncationLayer
from llmscale.engine.limits import RateLimits
from llmscale.providers import (
    ON_THE_NETWORK,
    Task,
    base_url_of,
    default_capacity,
    open_provider,
    split_model,
)
from llmscale.runtime.cache import open_replies
from llmscale.runtime.concurrency import capacities
from llmscale.runtime.costs import prices_at
from llmscale.runtime.models import Models

if TYPE_CHECKING:
    from llmscale.observe.otel import Tracing


LOOKED_UP_TOGETHER = 64  # rows


class LayerStack(NamedTuple):
    """The layers of a run, from above."""

    answers: Answers
    balanced: Balancer
    pools: "Pools"
    width: int  # rows in flight
    together: int  # rows taken up at a time
    input_ended: Callable[[], None]  # to be called when there is no further row

    def stop(self) -> None:
        """Send nothing more; calls in flight may finish."""
        self.balanced.stop()
        self.pools.stop()


class Pools:
    """A pool for each model, made when the first row asks for it; endpoints are shared."""

    def __init__(self, balance: BalanceConfig, models: Models, opened: "Opened") -> None:
        self._balance = balance
        self._models = models
        self._endpoints = opened.endpoints
        self._fallbacks = opened.fallbacks
        self._pools: dict[str, Pool] = {}
        self._rng = random.Random()  # noqa: S311 (ties, no secret)
        self._stopped = False

    def __call__(self, model: str) -> Pool:
        """Return the pool of a model."""
        pool = self._pools.get(model)
        if pool is None:
            serving = [self._endpoints[e] for e in self._models.endpoints_of(model)]
            chooses = strategy(self._balance.strategy, model, self._rng)
            patience_s = self._balance.fallback_after if model in self._fallbacks else float("inf")
            pool = self._pools[model] = Pool(serving, chooses, patience_s=patience_s)
            if self._stopped:
                pool.stop()
        return pool

    def opened(self) -> Iterable[Pool]:
        """Return the pools that were asked for until now."""
        return self._pools.values()

    def stop(self) -> None:
        """Begin no further call in any pool."""
        self._stopped = True
        for pool in self._pools.values():
            pool.stop()


class Opened(NamedTuple):
    """What the layers stand on."""

    endpoints: dict[EndpointConfig, Endpoint]
    replies: DiskBackend | None  # None: no cache
    task: Task
    fallbacks: dict[str, list[str]]  # for a model, those that answer when it can't
    tracing: "Tracing | None" = None  # None: nobody wants spans

    def calls(self, config: Config) -> int:
        """Return how many calls may be in flight: as asked for, or as the endpoints take."""
        return config.models.concurrency or sum(e.capacity for e in self.endpoints.values())

    def width(self, config: Config) -> int:
        """Return how many rows may be in flight."""
        calls = self.calls(config)
        if self.task == "chat":
            return calls
        return (calls + 1) * config.embed.batch_size  # while they are out, one more batch gathers

    def together(self, config: Config) -> int:
        """Return how many rows are taken up at a time: a batch, or what one look-up finds."""
        if self.task == "embedding":
            return config.embed.batch_size
        return 1 if self.replies is None else LOOKED_UP_TOGETHER

    @property
    def capacity(self) -> int | None:
        """The calls that all endpoints take; None where `--concurrency` has a say in it."""
        if any(e.capacity is None and split_model(e.model)[0] != "local" for e in self.endpoints):
            return None
        return sum(endpoint.capacity for endpoint in self.endpoints.values())

    @property
    def is_in_process(self) -> bool:
        """Tell whether a model runs in this process, with threads of its own."""
        return any(split_model(endpoint.model)[0] == "local" for endpoint in self.endpoints)

    async def aclose(self) -> None:
        """Close all of it."""
        for endpoint in self.endpoints.values():
            await endpoint.provider.aclose()
        if self.replies is not None:
            await self.replies.aclose()
        if self.tracing is not None:
            await self.tracing.aclose()


def open_all(config: Config, models: Models, task: Task = "chat") -> Opened:
    """Open every endpoint (find its key, load its weights) and the cache. Nothing is sent.

    For embeddings, the endpoints of the one model that embeds. Raises `ConfigError` when an
    endpoint can't be opened.
    """
    wanted: Iterable[EndpointConfig] = models.endpoints
    if task == "embedding":
        wanted = models.endpoints_of(config.models.default_model)
    tracing = _open_tracing(config)
    endpoints = {
        endpoint: _open(config, models, endpoint, capacity, task, tracing)
        for endpoint, capacity in capacities(config, wanted, task).items()
    }
    fallbacks = models.fallbacks() if task == "chat" else {}  # vectors of two models never mix
    return Opened(endpoints, open_replies(config), task, fallbacks, tracing)


@asynccontextmanager
async def stacked(
    config: Config, models: Models, opened: Opened, stats: Stats, budget: Budget | None = None
) -> AsyncIterator[LayerStack]:
    """Put the layers on top of what is opened, and close that at the end."""
    try:
        pools = Pools(config.balance, models, opened)
        retry = config.retry
        policy = RetryPolicy(retry.timeout, retry.max_attempts, retry.retry_time)
        balanced = Balancer(pools, policy, stats, budget=budget)
        answers, input_ended = _bridge(config, opened.task, balanced, stats)
        if opened.replies is not None and config.cache.mode != "off":
            answers = CacheLayer(answers, opened.replies, stats, config.cache.mode)
        if opened.fallbacks:
            answers = FallbackLayer(answers, opened.fallbacks)
        if opened.task == "embedding":
            answers = _finished(config, answers)
        width, together = opened.width(config), opened.together(config)
        yield LayerStack(answers, balanced, pools, width, together, input_ended)
    finally:
        await opened.aclose()


def _bridge(
    config: Config, task: Task, balanced: Balancer, stats: Stats
) -> tuple[Answers, Callable[[], None]]:
    """Return what makes calls of rows, and what it wants to be told when there are no more."""
    if task == "chat":
        return SchemaLayer(SingleCalls(balanced)), lambda: None
    caps = BatchCaps(
        config.embed.batch_size,
        config.embed.batch_tokens,
        size_bytes(config.embed.batch_bytes),
        config.embed.batch_wait,
    )
    batcher = Batcher(balanced, caps, TextWeights(), stats)
    return batcher, batcher.end


def _finished(config: Config, answers: Answers) -> Answers:
    """What is done to vectors above the cache, which keeps them as the model made them."""
    from llmscale.engine.layers.normalization import (
        NormalizationLayer,  # numpy, only where it is wanted
    )

    if config.embed.truncate:
        answers = TruncationLayer(answers)
    return NormalizationLayer(answers) if config.embed.normalize else answers


def _open_tracing(config: Config) -> "Tracing | None":
    if not config.observe.otel:
        return None
    from llmscale.observe.otel import Tracing

    return Tracing()


def _open(
    config: Config,
    models: Models,
    endpoint: EndpointConfig,
    capacity: int,
    task: Task,
    tracing: "Tracing | None",
) -> Endpoint:
    provider = open_provider(endpoint, capacity, frozenset(config.models.allow_host), task)
    if tracing is not None:
        address = base_url_of(endpoint, task)
        provider = tracing.around(provider, endpoint.model, address, config.retry.timeout)
    prices = prices_at(config, endpoint)
    return Endpoint(
        models.label(endpoint),
        provider,
        capacity,
        prices,
        _limits(endpoint),
        weight=endpoint.weight,
        window=_window(config, endpoint, capacity),
        full_at=default_capacity(endpoint.model, task),
        follows_concurrency=endpoint.capacity is None,
    )


def _window(config: Config, endpoint: EndpointConfig, capacity: int) -> AdaptiveWindow | None:
    """A server of one's own takes every call and gets slower; a provider refuses what is much."""
    if not config.balance.adaptive:
        return None
    return AdaptiveWindow(capacity, follows_latency=endpoint.base_url is not None)


def _limits(endpoint: EndpointConfig) -> RateLimits | None:
    """The limits that are set; of an endpoint on the network also those that it will tell."""
    rpm, tpm = (None if r is None else per_minute(r) for r in (endpoint.rpm, endpoint.tpm))
    is_remote = split_model(endpoint.model)[0] in ON_THE_NETWORK
    if not is_remote and (rpm, tpm, endpoint.rpd, endpoint.tpd) == (None,) * 4:
        return None
    return RateLimits(
        rpm,
        tpm,
        burst=endpoint.burst,
        requests_per_day=endpoint.rpd,
        tokens_per_day=endpoint.tpd,
    )
