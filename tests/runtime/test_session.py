"""One session answers many inputs, one after another, on what it opened once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmscale.accounting.stats import Stats
from llmscale.config import PriceConfig, UserLimit
from llmscale.core.errors import BudgetReached
from llmscale.core.records import Request, Row
from llmscale.runtime.costs import budget_of
from llmscale.runtime.input_rows import rows_in_memory
from llmscale.runtime.models import Models
from llmscale.runtime.session import OutcomeList, RunContext, Session
from llmscale.runtime.workload import ChatWorkload, EmbeddingWorkload
from tests.settings import config_of
from tests.virtual_time import now_s


def session_of(model: str = "sim/a", **settings: Any) -> Session:
    config = config_of(**{"model": model, "cache_mode": "off"} | settings)
    return Session.open(config, Models(config.models), ChatWorkload(config))


def prompts(*texts: str, model: str = "sim/a", user: str | None = None) -> list[Row]:
    return [
        Row(
            index=index,
            request=Request(model=model, messages=[{"role": "user", "content": text}]),
            user=user,
        )
        for index, text in enumerate(texts)
    ]


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    async with session_of() as opened:
        yield opened


async def test_an_answer_returns_the_numbers_of_its_own_rows(session: Session) -> None:
    for texts in (("a", "b"), ("c",), ()):
        sink = OutcomeList()
        stats = await session.answer(rows_in_memory(prompts(*texts)), sink)
        assert stats.rows().answered == stats.done == len(sink.outcomes) == len(texts)
        assert all(outcome.reply is not None for outcome in sink.outcomes)
    (endpoint,) = session.opened.endpoints.values()
    assert endpoint.in_flight == 0


async def test_an_answer_of_the_first_input_is_a_hit_in_the_next(tmp_path: Path) -> None:
    async with session_of(cache_mode="on", cache_dir=str(tmp_path)) as session:
        for cached in (0, 2):
            stats = await session.answer(rows_in_memory(prompts("a", "b")), OutcomeList())
            assert stats.rows().cached == cached


async def test_vectors_come_back_for_texts() -> None:
    config = config_of(model="sim/a", cache_mode="off", embed_normalize=True)
    async with Session.open(config, Models(config.models), EmbeddingWorkload(config)) as session:
        for count in (1, 60):
            rows = [
                Row(index=i, request=Request(model="sim/a", text=f"text {i}")) for i in range(count)
            ]
            sink = OutcomeList()
            await session.answer(rows_in_memory(rows), sink)
            assert sum(bool(o.reply and o.reply.vector) for o in sink.outcomes) == count


@pytest.mark.looptime
async def test_the_limit_of_a_user_holds_from_one_input_to_the_next() -> None:
    began_s = now_s()
    async with session_of(limits_user=UserLimit(rpm=60, burst=1)) as session:
        for _ in range(3):
            await session.answer(rows_in_memory(prompts("a", user="anna")), OutcomeList())
    assert now_s() - began_s == pytest.approx(2, abs=0.2)


async def test_what_is_in_flight_at_the_stop_is_answered_and_nothing_after_it() -> None:
    model = "sim/latency=0.05"
    async with session_of(model, concurrency=2) as session:
        sink, rows = OutcomeList(), prompts(*"abcdefgh", model=model)
        answering = asyncio.create_task(session.answer(rows_in_memory(rows), sink))
        await asyncio.sleep(0.02)
        session.stop()
        stats = await answering
        assert stats.done == len(sink.outcomes) == 2
        again = await session.answer(rows_in_memory(prompts("z")), sink)
        assert again.done == 0


async def test_a_budget_is_that_of_one_input_and_its_end_is_raised() -> None:
    price = (PriceConfig(model="sim/*", input=1e6, output=1e6),)
    config = config_of(model="sim/a", max_cost=20.0, max_tokens=5, price=price, cache_mode="off")
    models = Models(config.models)
    async with Session.open(config, models, ChatWorkload(config)) as session:
        stats = Stats()
        request = Request(model="sim/a", messages=[{"role": "user", "content": "a"}], max_tokens=5)
        rows = rows_in_memory([Row(index=i, request=request) for i in range(9)])
        context = RunContext(stats, budget_of(config.cost, models))
        with pytest.raises(BudgetReached):
            await session.answer(rows, OutcomeList(), context)
        assert stats.done < 9
        within = await session.answer(rows_in_memory(prompts("b")), OutcomeList())
        assert within.done == 1


async def test_an_error_of_a_watcher_ends_the_answer(session: Session) -> None:
    async def fail() -> None:
        raise ValueError("of a watcher")

    rows = rows_in_memory(prompts(*"abc"))
    with pytest.raises(ValueError, match="of a watcher"):
        await session.answer(rows, OutcomeList(), RunContext(watchers=[fail]))
    assert rows.stopped.is_set()


async def test_two_inputs_at_a_time_are_refused() -> None:
    model = "sim/latency=0.05"
    async with session_of(model) as session:
        rows = prompts("a", model=model)
        first = asyncio.create_task(session.answer(rows_in_memory(rows), OutcomeList()))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one input at a time"):
            await session.answer(rows_in_memory(rows), OutcomeList())
        assert (await first).done == 1
