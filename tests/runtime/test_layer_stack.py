"""What the settings make of the layers: endpoints with their limits, weights and windows; pools."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmscale.accounting.stats import Stats
from llmscale.config import Config, EndpointConfig
from llmscale.core.errors import CallFailed, CallStopped
from llmscale.core.records import Reply, Request
from llmscale.engine.balance.endpoint import Endpoint
from llmscale.engine.balance.pool import Pool
from llmscale.runtime.layer_stack import LayerStack, Opened, Pools, layers_on, open_all
from llmscale.runtime.models import Models
from llmscale.runtime.workload import ROWS_PER_LOOKUP, ChatWorkload, EmbeddingWorkload
from tests.engine.answering import answer
from tests.settings import config_of

OWN = "http://127.0.0.1:1/v1"


def opened(*endpoints: EndpointConfig, **settings: Any) -> Opened:
    config = config_of(endpoint=endpoints, cache_mode="off", **settings)
    return opened_by(config)


def opened_by(config: Config) -> Opened:
    return open_all(config, Models(config.models), ChatWorkload(config))


def opened_to_embed(**settings: Any) -> Opened:
    config = config_of(cache_mode="off", **settings)
    return open_all(config, Models(config.models), EmbeddingWorkload(config))


@asynccontextmanager
async def stacked(config: Config) -> AsyncIterator[LayerStack]:
    """Yield the layers of a run."""
    async with aclosing(opened_by(config)) as there:
        yield layers_on(there, config, ChatWorkload(config), Stats())


def only(config: EndpointConfig, **settings: Any) -> Endpoint:
    """Return the one endpoint of a configuration, opened."""
    (one,) = opened(config, **settings).endpoints.values()
    return one


def of_sim(**settings: Any) -> EndpointConfig:
    return EndpointConfig(model="sim/a", **settings)


def own_server(**settings: Any) -> EndpointConfig:
    return EndpointConfig(model="openai/a", base_url=OWN, **settings)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


def test_an_endpoint_has_the_weight_and_the_capacity_that_are_set() -> None:
    one = only(of_sim(weight=2.5, capacity=7))
    assert (one.weight, one.capacity) == (2.5, 7)


def test_without_a_capacity_it_is_as_many_as_rows_are_in_flight() -> None:
    assert only(of_sim(), concurrency=9).capacity == 9
    assert only(of_sim()).capacity == 64


def test_the_limits_are_those_that_are_set_a_minute_and_a_day() -> None:
    one = only(of_sim(rpm="10/s", tpm=5_000, burst=5, rpd=3, tpd=4_000))
    assert one.limiter is not None
    assert one.limiter.max_call_tokens == 4_000
    summary = one.summary()["limits"]
    assert (summary["rpm"], summary["tpm"]) == (600, 5_000)


async def test_a_cap_of_a_day_alone_is_a_limit() -> None:
    one = only(of_sim(rpd=1))
    one.start(0, 0)
    assert one.opens_in_s(0, 0) > 0


def test_limits_of_a_provider_are_adopted_where_none_is_set() -> None:
    assert only(own_server()).limiter is not None
    assert only(EndpointConfig(model="openai/a")).limiter is not None
    assert only(of_sim()).limiter is None, "who tells no limit"


def test_an_own_server_is_tried_carefully_and_a_provider_with_its_whole_capacity() -> None:
    own, provider = only(own_server()), only(EndpointConfig(model="openai/a"))
    assert own.window is not None
    assert provider.window is not None
    assert (own.max_in_flight, provider.max_in_flight) == (8, 64)


def test_without_adaptive_there_is_always_as_much_room_as_there_is_capacity() -> None:
    one = only(own_server(), adaptive=False)
    assert one.window is None
    assert one.max_in_flight == one.capacity == 64


@asynccontextmanager
async def pools_of(*endpoints: EndpointConfig, **settings: Any) -> AsyncIterator[Pools]:
    """Yield the pools of a stack."""
    config = config_of(endpoint=endpoints, cache_mode="off", **settings)
    async with stacked(config) as stack:
        yield stack.pools


async def test_a_pool_is_made_once_for_each_model_and_endpoints_are_shared() -> None:
    async with pools_of(of_sim()) as pools:
        assert pools("sim/x") is pools("sim/x")
        assert pools("sim/x") is not pools("sim/y")
        assert await pools("sim/x").acquire(set()) is await pools("sim/y").acquire(set())


async def test_only_a_model_that_has_fallbacks_loses_its_patience() -> None:
    fallback = {"sim/a": ("openai/a",)}
    async with pools_of(of_sim(), own_server(), fallback=fallback, fallback_after=7.0) as pools:
        assert pools("sim/a").patience_s == 7
        assert pools("openai/a").patience_s == float("inf")


async def order_of(pool: Pool, calls: int) -> str:
    """Take so many places; return the last characters of the names that they are at."""
    return "".join([(await pool.acquire(set())).name[-1] for _ in range(calls)])


async def test_the_strategy_of_the_settings_chooses() -> None:
    endpoints = of_sim(capacity=100), of_sim(capacity=300)
    async with pools_of(*endpoints, strategy="round-robin") as pools:
        assert await order_of(pools("sim/a"), 6) == "121212"
    async with pools_of(*endpoints) as pools:
        assert Counter(await order_of(pools("sim/a"), 40)) == {"1": 10, "2": 30}


async def test_a_pool_that_is_made_after_the_stop_is_stopped() -> None:
    async with pools_of(of_sim()) as pools:
        pools.stop()
        with pytest.raises(CallStopped):
            await pools("sim/a").acquire(set())


async def answered(config: Config, request: Request) -> Reply:
    """Ask the whole stack."""
    async with stacked(config) as stack:
        return await answer(stack.answers, request)


REQUEST = Request(model="sim/a", messages=[{"role": "user", "content": "hello"}])


async def test_the_stack_answers_and_says_by_which_model() -> None:
    reply = await answered(config_of(endpoint=(of_sim(),), cache_mode="off"), REQUEST)
    assert (reply.answered_by, reply.endpoint, reply.attempts) == ("sim/a", "sim/a", 1)


async def test_a_fallback_is_in_the_stack_where_one_is_set() -> None:
    nobody = EndpointConfig(model="openai/gone", base_url=OWN)
    config = config_of(
        endpoint=(nobody, of_sim()),
        fallback={"openai/gone": ("sim/a",)},
        fallback_after=0.2,
        cache_mode="off",
    )
    request = Request(model="openai/gone", messages=REQUEST.messages)
    reply = await answered(config, request)
    assert reply.answered_by == "sim/a"
    assert reply.attempts >= 2
    without = config_of(endpoint=(nobody, of_sim()), cache_mode="off", max_attempts=1)
    with pytest.raises(CallFailed):
        await answered(without, request)


def test_calls_and_rows_in_flight_are_as_many_as_are_asked_for_or_as_the_endpoints_take() -> None:
    pair = of_sim(capacity=7), own_server(capacity=9)
    for settings, calls in (({}, 16), ({"concurrency": 5}, 5)):
        config = config_of(endpoint=pair, cache_mode="off", **settings)
        there = opened_by(config)
        assert there.max_calls == there.max_in_flight == calls


def test_while_batches_are_in_flight_one_more_gathers() -> None:
    there = opened_to_embed(model="sim/a", concurrency=4, embed_batch_size=7)
    assert (there.max_calls, there.max_in_flight) == (4, 5 * 7)


async def test_rows_are_taken_up_in_groups_where_one_look_up_or_one_batch_is_for_many(
    tmp_path: Path,
) -> None:
    for cache_mode, rows in (("off", 1), ("on", ROWS_PER_LOOKUP)):
        config = config_of(
            model="sim/a",
            cache_mode=cache_mode,
            cache_dir=str(tmp_path),
        )
        there = opened_by(config)
        assert there.rows_per_take == rows
        await there.aclose()
    assert opened_to_embed(model="sim/a", embed_batch_size=7).rows_per_take == 7


@pytest.mark.parametrize(
    ("endpoints", "capacity"),
    [
        ((of_sim(capacity=7), own_server(capacity=9)), 16),
        ((of_sim(capacity=7), own_server()), None),
        ((of_sim(),), None),
    ],
)
def test_the_capacity_of_all_is_known_where_each_has_its_own(
    endpoints: tuple[EndpointConfig, ...], capacity: int | None
) -> None:
    assert opened(*endpoints, concurrency=32).capacity == capacity


def test_an_endpoint_without_a_capacity_of_its_own_has_places_for_all_rows_in_flight() -> None:
    for config, by in ((of_sim(), "width"), (of_sim(capacity=64), "capacity")):
        one = only(config)
        one.in_flight = 64
        assert one.no_slot_cause() == by


def test_a_model_in_this_process_is_full_with_the_calls_that_suit_it() -> None:
    local = EndpointConfig(model="local/wordllama")
    there = opened_to_embed(endpoint=(local, of_sim()), model="local/wordllama")
    assert there.is_in_process
    (one,) = there.endpoints.values()
    assert not one.is_full
    one.in_flight = one.capacity
    assert one.is_full
    assert not opened(of_sim()).is_in_process
    remote = only(of_sim())
    remote.in_flight = 10_000
    assert not remote.is_full
