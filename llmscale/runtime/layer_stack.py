"""What answers a row, layer on layer: fallback, cache, batches or single calls, balance, endpoints.

`open_all` opens what lasts for a session: endpoints (each with its key, prices and limits), the
cache, tracing. `layers_on` builds the layers of one run on top. Neither sends anything.
"""

import logging
import random
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from llmscale.accounting.stats import Stats
from llmscale.accounting.tokens import TokenEstimates
from llmscale.config import BalanceConfig, Config, EndpointConfig
from llmscale.core.protocols import Answers, Budget, CacheBackend
from llmscale.core.units import per_minute
from llmscale.engine.balance.adaptive_window import AdaptiveWindow
from llmscale.engine.balance.endpoint import Endpoint, Slots
from llmscale.engine.balance.pool import Pool
from llmscale.engine.balance.retry import Balancer, RetryPolicy
from llmscale.engine.balance.strategies import strategy
from llmscale.engine.layers.cache import CacheLayer
from llmscale.engine.layers.fallback import FallbackLayer
from llmscale.engine.limits import RateLimits
from llmscale.providers import (
    base_url_of,
    default_capacity,
    open_provider,
    spec_of,
)
from llmscale.runtime.cache import open_backend
from llmscale.runtime.concurrency import capacities
from llmscale.runtime.costs import prices_at
from llmscale.runtime.models import Models
from llmscale.runtime.workload import Workload

if TYPE_CHECKING:
    from llmscale.observe.otel import Tracing


log = logging.getLogger(__name__)


class LayerStack(NamedTuple):
    """The layers of one run, from above."""

    answers: Answers
    balanced: Balancer
    pools: "Pools"
    input_ended: Callable[[], None]  # to be called when there is no further row

    def stop(self) -> None:
        """Send nothing more; calls in flight may finish."""
        self.balanced.stop()
        self.pools.stop()


class Pools:
    """A pool for each model, created for its first row; endpoints are shared."""

    def __init__(self, balance: BalanceConfig, opened: "Opened") -> None:
        self._balance = balance
        self._opened = opened
        self._pools: dict[str, Pool] = {}
        self._rng = random.Random()  # noqa: S311 (ties, no secret)
        self._stopped = False

    def __call__(self, model: str) -> Pool:
        """Return the pool of a model."""
        pool = self._pools.get(model)
        if pool is None:
            opened = self._opened
            serving = [opened.endpoints[e] for e in opened.models.endpoints_of(model)]
            chooses = strategy(self._balance.strategy, model, self._rng)
            patience_s = self._balance.fallback_after if model in opened.fallbacks else float("inf")
            pool = self._pools[model] = Pool(serving, chooses, patience_s=patience_s)
            if self._stopped:
                pool.stop()
        return pool

    def opened(self) -> Iterable[Pool]:
        """Return the pools that are in use."""
        return self._pools.values()

    def stop(self) -> None:
        """Start no further call in any pool."""
        self._stopped = True
        for pool in self._pools.values():
            pool.stop()


class Opened(NamedTuple):
    """What a session holds open: endpoints, cache, tracing."""

    models: Models
    endpoints: dict[EndpointConfig, Endpoint]
    replies: CacheBackend | None  # None: no cache
    fallbacks: Mapping[str, list[str]]  # for a model, those that answer when it can't
    max_calls: int  # in flight: `--concurrency`, else what the endpoints take
    max_in_flight: int  # rows
    rows_per_take: int  # a batch, or what one look-up in the cache finds
    tracing: "Tracing | None" = None  # None: no spans

    @property
    def capacity(self) -> int | None:
        """The slots of all endpoints; None where they depend on `--concurrency`."""
        if any(e.capacity is None and not spec_of(e.model).sets_capacity for e in self.endpoints):
            return None
        return sum(endpoint.capacity for endpoint in self.endpoints.values())

    @property
    def is_in_process(self) -> bool:
        """Tell whether a model runs in this process, with threads of its own."""
        return any(spec_of(endpoint.model).sets_capacity for endpoint in self.endpoints)

    async def aclose(self) -> None:
        """Close all of it."""
        for endpoint in self.endpoints.values():
            await endpoint.provider.aclose()
            if endpoint.limiter is not None:
                await endpoint.limiter.aclose()
        if self.replies is not None:
            await self.replies.aclose()
        if self.tracing is not None:
            await self.tracing.aclose()


def open_all(config: Config, models: Models, workload: Workload) -> Opened:
    """Open every endpoint of the workload (find its key, load its weights) and the cache.

    Raises `ConfigError` when an endpoint can't be opened.
    """
    tracing = _open_tracing() if config.observe.otel else None
    opener = _Opener(config, models, workload, tracing)
    wanted = capacities(config.models.concurrency, workload.endpoints(models), workload.task)
    endpoints = {endpoint: opener.open(endpoint, slots) for endpoint, slots in wanted.items()}
    _log_addresses(models, endpoints)
    fallbacks = workload.fallbacks(models)
    replies = open_backend(config.cache)
    max_calls = config.models.concurrency or sum(e.capacity for e in endpoints.values())
    return Opened(
        models,
        endpoints,
        replies,
        fallbacks,
        max_calls,
        workload.max_in_flight(max_calls),
        workload.rows_per_take(looks_up=replies is not None),
        tracing,
    )


def layers_on(
    opened: Opened,
    config: Config,
    workload: Workload,
    stats: Stats,
    budget: Budget | None = None,
    estimates: TokenEstimates | None = None,
) -> LayerStack:
    """Build the layers of one run, which count into `stats`. Needs a running event loop.

    `estimates`: those of earlier runs of the session.
    """
    pools, retry = Pools(config.balance, opened), config.retry
    policy = RetryPolicy(retry.timeout, retry.max_attempts, retry.retry_time)
    balancer = Balancer(pools, policy, stats, budget=budget, estimates=estimates)
    answers, input_ended = workload.bridge(balancer, stats)
    if opened.replies is not None:
        answers = CacheLayer(answers, opened.replies, stats, config.cache.mode)
    if opened.fallbacks:
        answers = FallbackLayer(answers, opened.fallbacks)
    return LayerStack(workload.above_cache(answers), balancer, pools, input_ended)


def _log_addresses(models: Models, opened: Iterable[EndpointConfig]) -> None:
    """Name the addresses that come from the environment, where they are easily forgotten."""
    used = {endpoint.base_url for endpoint in opened}
    for variable, address in models.by_variable.items():
        if address in used:
            log.info("calls go to %s (%s)", address, variable)


def _open_tracing() -> "Tracing":
    from llmscale.observe.otel import Tracing

    return Tracing()


class _Opener(NamedTuple):
    """Opens endpoints, each with its price, its limits and its window."""

    config: Config
    models: Models
    workload: Workload
    tracing: "Tracing | None"

    def open(self, endpoint: EndpointConfig, capacity: int) -> Endpoint:
        config, task = self.config, self.workload.task
        provider = open_provider(endpoint, capacity, self.models.allow_hosts, task)
        if self.tracing is not None:
            address = base_url_of(endpoint)
            provider = self.tracing.around(provider, endpoint.model, address, config.retry.timeout)
        opened = Endpoint(
            self.models.label(endpoint),
            provider,
            self._slots(endpoint, capacity),
            prices_at(config.cost, endpoint),
            _limits(endpoint),
            endpoint.weight,
        )
        opened.address = base_url_of(endpoint)
        if opened.address is not None:
            from llmscale.providers.http.keys import key_advice  # loaded with the provider

            opened.key_advice = key_advice(endpoint, spec_of(endpoint.model))
        return opened

    def _slots(self, endpoint: EndpointConfig, capacity: int) -> Slots:
        return Slots(
            capacity,
            window=_window(endpoint, capacity) if self.config.balance.adaptive else None,
            full_at=default_capacity(endpoint.model, self.workload.task),
            follows_concurrency=endpoint.capacity is None,
        )


def _window(endpoint: EndpointConfig, slots: int) -> AdaptiveWindow:
    """An own server accepts every call and slows down; a provider refuses excess calls."""
    return AdaptiveWindow(slots, follows_latency=endpoint.base_url is not None)


def _limits(endpoint: EndpointConfig) -> RateLimits | None:
    """Return the limits that are set; an endpoint on the network may report others later."""
    rpm, tpm = (None if r is None else per_minute(r) for r in (endpoint.rpm, endpoint.tpm))
    is_remote = spec_of(endpoint.model).is_remote
    if not is_remote and (rpm, tpm, endpoint.rpd, endpoint.tpd) == (None,) * 4:
        return None
    return RateLimits(
        rpm,
        tpm,
        burst=endpoint.burst,
        requests_per_day=endpoint.rpd,
        tokens_per_day=endpoint.tpd,
    )
