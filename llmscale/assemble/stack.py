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
        self.endpoints = list(endpoints.values())
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


@asynccontextmanager
async def open_stack(config: Config, models: Models, stats: Stats) -> AsyncIterator[Stack]:
    """Open every endpoint, and close them all at the end.

    Raises `ConfigError` when one can't be opened.
    """
    async with AsyncExitStack() as opened:
        endpoints = {}
        for endpoint in models.endpoints:
            made = endpoints[endpoint] = _open_endpoint(config, models, endpoint)
            opened.push_async_callback(made.provider.aclose)
        pools = Pools(models, endpoints)
        policy = RetryPolicy(config.timeout, config.max_attempts, config.retry_time)
        balanced = Balanced(pools, policy, stats)
        width = config.concurrency or sum(e.capacity for e in endpoints.values())
        yield Stack(SchemaChecked(OneByOne(balanced)), balanced, pools, width)


def _open_endpoint(config: Config, models: Models, endpoint: EndpointConfig) -> Endpoint:
    capacity = (
        endpoint.capacity
        or default_capacity(endpoint.model)
        or config.concurrency
        or DEFAULT_CONCURRENCY
    )
    provider = open_provider(endpoint, capacity, frozenset(config.allow_host))
    prices = Prices(is_listed=endpoint.base_url is None)
    return Endpoint(models.label(endpoint), provider, capacity, prices)
