"""What answers a row, layer on layer: schema check, one call a row, balance and retry, providers.

Endpoints are opened here, each with its key, its prices and its capacity, and closed together.
"""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from llmscale.assemble.models import Models
from llmscale.balance.pool import Endpoint, Pool
from llmscale.balance.retrying import Balanced, RetryPolicy
from llmscale.batching import OneByOne
from llmscale.config import Config, EndpointConfig
from llmscale.contracts import Answers
from llmscale.cost import Prices
from llmscale.providers import default_capacity, open_provider
from llmscale.schema import SchemaChecked
from llmscale.stats import Stats

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


def open_endpoints(config: Config, models: Models) -> dict[EndpointConfig, Endpoint]:
    """Open every endpoint: find its key, load its weights. Nothing is sent.

    Raises `ConfigError` when one can't be opened.
    """
    return {endpoint: _open(config, models, endpoint) for endpoint in models.endpoints}


def width_of(config: Config, endpoints: dict[EndpointConfig, Endpoint]) -> int:
    """Return how many rows may be in flight: what is asked for, or what the endpoints take."""
    return config.concurrency or sum(endpoint.capacity for endpoint in endpoints.values())


@asynccontextmanager
async def stacked(
    config: Config, models: Models, endpoints: dict[EndpointConfig, Endpoint], stats: Stats
) -> AsyncIterator[Stack]:
    """Put the layers on top of the endpoints, and close those at the end."""
    async with AsyncExitStack() as closing:
        for endpoint in endpoints.values():
            closing.push_async_callback(endpoint.provider.aclose)
        pools = Pools(models, endpoints)
        policy = RetryPolicy(config.timeout, config.max_attempts, config.retry_time)
        balanced = Balanced(pools, policy, stats)
        answers = SchemaChecked(OneByOne(balanced))
        yield Stack(answers, balanced, pools, width_of(config, endpoints))


def _open(config: Config, models: Models, endpoint: EndpointConfig) -> Endpoint:
    capacity = (
        endpoint.capacity
        or default_capacity(endpoint.model)
        or config.concurrency
        or DEFAULT_CONCURRENCY
    )
    provider = open_provider(endpoint, capacity, frozenset(config.allow_host))
    prices = Prices(is_listed=endpoint.base_url is None)
    return Endpoint(models.label(endpoint), provider, capacity, prices)
