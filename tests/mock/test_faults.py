"""Faults: as often as asked for, at the same calls for the same seed, and as a bad network does."""

import asyncio

import orjson
import pytest

from llmscale.mock.behaviour import Behaviour, changed
from llmscale.mock.faults import Plan, Planner
from llmscale.mock.requests import read_request
from llmscale.mock.scenario import Scenario
from tests.mock.client import HELLO, Client, serving

QUESTION = read_request("chat", orjson.dumps(HELLO))
MANY = 20_000


def plans(count: int, seed: int = 1, **fields: float) -> list[Plan]:
    """Plan that many calls of a server with such a behaviour."""
    planner = Planner(Scenario(changed(Behaviour(), fields)), seed)
    return [planner.of_question(QUESTION, 0, 0.0) for _ in range(count)]


def test_each_fault_has_its_share() -> None:
    planned = plans(MANY, hang_rate=0.1, error_rate=0.2, cut_body=0.05)
    faults = [plan.fault for plan in planned]
    for fault, share in (("hang", 0.1), ("error", 0.2), ("cut", 0.05), (None, 0.65)):
        assert faults.count(fault) / MANY == pytest.approx(share, abs=0.015)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", ["hang_rate", "error_rate", "cut_body"])
def test_a_share_of_1_is_all_and_of_0_is_none(fault: str) -> None:
    assert all(plan.fault for plan in plans(1000, **{fault: 1}))
    assert not any(plan.fault for plan in plans(1000, **{fault: 0}))


def test_the_same_seed_has_the_same_faults_whatever_the_latency() -> None:
    first = [plan.fault for plan in plans(1000, error_rate=0.3)]
    again = plans(1000, error_rate=0.3, latency_s=1, jitter_s=1, slow_tail=0.5)
    assert first == [plan.fault for plan in again]
    assert first != [plan.fault for plan in plans(1000, seed=2, error_rate=0.3)]


def test_a_call_with_the_bad_text_fails_and_no_other() -> None:
    planner = Planner(Scenario(changed(Behaviour(), {"bad_text": "b\u00e4d"})))
    for text, status in (("all b\u00e4d here", 500), ("all good", 200)):
        asked = orjson.dumps({"model": "v", "input": ["good", text]})
        plan = planner.of_question(read_request("embeddings", asked), 0, 0.0)
        assert plan.status == status


def test_a_slow_tail_takes_ten_times_as_long() -> None:
    delays_s = [plan.delay_s for plan in plans(MANY, latency_s=0.5, slow_tail=0.1)]
    assert set(delays_s) == {0.5, 5.0}
    assert delays_s.count(5.0) / MANY == pytest.approx(0.1, abs=0.01)


def test_jitter_is_between_nothing_and_its_most() -> None:
    delays_s = [plan.delay_s for plan in plans(MANY, latency_s=1, jitter_s=0.5)]
    assert min(delays_s) == pytest.approx(1, abs=0.01)
    assert max(delays_s) == pytest.approx(1.5, abs=0.01)


async def ended_early(client: Client) -> bytes:
    """Return what came before the connection closed."""
    async with asyncio.timeout(10):
        return await client.reader.read()


async def test_an_error_is_a_500_in_openais_words() -> None:
    async with serving(error_rate=1) as served:
        response = await (await served.connect()).ask()
    assert response.status == 500
    assert response.json["error"]["type"] == "server_error"


async def test_a_cut_body_stops_half_way_of_what_was_promised() -> None:
    async with serving() as served:
        whole = (await (await served.connect()).ask()).raw
    async with serving(cut_body=1) as served:
        client = await served.connect()
        client.send()
        head, _, body = (await ended_early(client)).partition(b"\r\n\r\n")
    assert f"content-length: {len(whole)}".encode() in head
    assert len(body) == len(whole) // 2


async def test_a_call_that_hangs_is_never_answered_and_ends_with_its_client() -> None:
    async with serving(hang_rate=1) as served:
        client = await served.connect()
        client.send()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.1)
        assert served.server.tally.faults == 0
        client.writer.close()
        await served.until(lambda tally: tally.faults)


async def test_a_client_that_is_gone_before_its_fault_has_left() -> None:
    async with serving(latency=60, error_rate=1) as served:
        client = await served.connect()
        client.send()
        await served.until(lambda tally: tally.calls)
        client.writer.close()
        await served.until(lambda tally: tally.left)
        assert served.server.tally.faults == 0


async def test_more_calls_at_once_than_the_capacity_are_refused_without_a_quota_header() -> None:
    async with serving(capacity=2, hang_rate=1, rpm=100) as served:
        hanging = [await served.connect() for _ in range(2)]
        for client in hanging:
            client.send()
        another = await served.connect()
        async with asyncio.timeout(10):
            while served.server.tally.calls < 2:
                await asyncio.sleep(0.01)
        refused = await another.ask()
        assert refused.status == 429
        assert list(refused.headers) == ["content-type", "content-length"]
        hanging[0].writer.close()
        await served.until(lambda tally: tally.faults)
        another.send()  # has room, and hangs
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(another.reader.read(1), 0.1)


async def test_latency_is_waited_for() -> None:
    async with serving(latency=0.2) as served:
        client = await served.connect()
        client.send()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(client.reader.readexactly(1)), 0.1)
