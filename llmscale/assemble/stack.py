"""What answers a row, layer on layer: cache, schema check, one call a row, balance, providers.

Endpoints are opened here, each with its key, its prices and its capacity, and closed together.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from llmscale.assemble.caching import open_replies
from llmscale.assemble.models import Models
from llmscale.balance.pool import Endpoint, Pool
from llmscale.balance.retrying import Balanced, RetryPolicy
from llmscale.batching import OneByOne
from llmscale.cache.cached import Cached
from llmscale.cache.on_disk import DiskReplies
from llmscale.config import Config, EndpointConfig
from llmscale.contracts import Answers
from llmscale.cost import Prices
from llmscale.limits import Limits
from llmscale.providers import default_capacity, open_provider
from llmscale.schema import SchemaChecked
from llmscale.stats import Stats
from llmscale.units import per_minute

DEFAULT_CONCURRENCY = 64


class Stack(NamedTuple):
    """The layers of a run, from above."""

    answers: Answers
    balanced: Balanced
    pools: "Pools"
    width: int  # rows in flight

    def stop(self) -> None:
        """Send nothing more; calls in flight may finish."""
        self.balanced.stop()
        self.pools.stop()


class Pools:
    """A pool for each model, made when the first row asks for it; endpoints are shared."""

    def __init__(self, models: Models, endpoints: dict[EndpointConfig, Endpoint]) -> None:
        self._models = models
        self._endpoints = endpoints
        self._pools: dict[str, Pool] = {}
        self._dice = random.Random()  # noqa: S311 (ties, no secret)
        self._stopped = False

    def __call__(self, model: str) -> Pool:
        """Return the pool of a model."""
        pool = self._pools.get(model)
        if pool is None:
            serving = [self._endpoints[e] for e in self._models.endpoints_of(model)]
            pool = self._pools[model] = Pool(serving, self._dice)
            if self._stopped:
                pool.stop()
        return pool

    def stop(self) -> None:
        """Begin no further call in any pool."""
        self._stopped = True
        for pool in self._pools.values():
            pool.stop()


class Opened(NamedTuple):
    """What the layers stand on."""

    endpoints: dict[EndpointConfig, Endpoint]
    replies: DiskReplies | None  # None: no cache

    def width(self, config: Config) -> int:
        """Return how many rows may be in flight: as asked for, or as many as the endpoints take."""
        return config.concurrency or sum(e.capacity for e in self.endpoints.values())

    async def aclose(self) -> None:
        """Close all of it."""
        for endpoint in self.endpoints.values():
            await endpoint.provider.aclose()
        if self.replies is not None:
            await self.replies.aclose()


def open_all(config: Config, models: Models) -> Opened:
    """Open every endpoint (find its key, load its weights) and the cache. Nothing is sent.

    Raises `ConfigError` when an endpoint can't be opened.
    """
    endpoints = {endpoint: _open(config, models, endpoint) for endpoint in models.endpoints}
    return Opened(endpoints, open_replies(config))


@asynccontextmanager
async def stacked(
    config: Config, models: Models, opened: Opened, stats: Stats
) -> AsyncIterator[Stack]:
    """Put the layers on top of what is opened, and close that at the end."""
    try:
        pools = Pools(models, opened.endpoints)
        policy = RetryPolicy(config.timeout, config.max_attempts, config.retry_time)
        balanced = Balanced(pools, policy, stats)
        answers: Answers = SchemaChecked(OneByOne(balanced))
        if opened.replies is not None and config.cache_mode != "off":
            answers = Cached(answers, opened.replies, stats, config.cache_mode)
        yield Stack(answers, balanced, pools, opened.width(config))
    finally:
        await opened.aclose()


def _open(config: Config, models: Models, endpoint: EndpointConfig) -> Endpoint:
    capacity = (
        endpoint.capacity
        or default_capacity(endpoint.model)
        or config.concurrency
        or DEFAULT_CONCURRENCY
    )
    provider = open_provider(endpoint, capacity, frozenset(config.allow_host))
    prices = Prices(is_listed=endpoint.base_url is None)
    return Endpoint(models.label(endpoint), provider, capacity, prices, _limits(endpoint))


def _limits(endpoint: EndpointConfig) -> Limits | None:
    rates = [None if r is None else per_minute(r) for r in (endpoint.rpm, endpoint.tpm)]
    return None if rates == [None, None] else Limits(*rates)
