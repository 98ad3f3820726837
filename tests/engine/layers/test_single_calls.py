"""The bridge from rows to calls: one row, one call, nothing changed on either way."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from llmscale.core.errors import CallFailed, CallStopped, ConfigError, ProviderRefused, first_error
from llmscale.core.records import Failure, Reply, Request, Usage
from llmscale.engine.layers.single_calls import SingleCalls
from tests.engine.answering import Delivered, answer, ends
from tests.virtual_time import now_s

REQUEST = Request(model="sim/x", messages=[{"role": "user", "content": "hi"}])
REPLY = Reply(text="hello", finish_reason="stop", model="x", usage=Usage(1, 1))


class Recorded:
    """Sends nothing: keeps what it is given, and answers or raises as it is told."""

    def __init__(self, outcome: Reply | Exception = REPLY) -> None:
        self.calls: list[Sequence[Request]] = []
        self._outcome = outcome

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        self.calls.append(requests)
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return [self._outcome]


async def test_a_row_is_a_call_of_its_own_and_has_its_reply() -> None:
    sends = Recorded()
    assert await answer(SingleCalls(sends), REQUEST) is REPLY
    assert [list(call) for call in sends.calls] == [[REQUEST]]


async def test_two_rows_are_two_calls() -> None:
    sends = Recorded()
    bridge = SingleCalls(sends)
    await answer(bridge, REQUEST)
    await answer(bridge, REQUEST)
    assert [len(call) for call in sends.calls] == [1, 1]


@pytest.mark.parametrize(
    "error", [CallFailed(Failure(kind="timeout", message="late"), 3), ConfigError("no key")]
)
async def test_what_the_layer_below_raises_comes_through_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        await answer(SingleCalls(Recorded(error)), REQUEST)
    assert raised.value is error


# --- rows that are asked together


class ByText:
    """Answers each row with its text, after so many seconds as it says, or as it is told."""

    def __init__(self, **errors: Exception) -> None:
        self._errors = errors
        self.sizes: list[int] = []

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        self.sizes.append(len(requests))
        text = requests[0].messages[0]["content"]
        if text in self._errors:
            raise self._errors[text]
        await asyncio.sleep(float(text))
        return [replace(REPLY, text=text)]


def saying(text: str) -> Request:
    return Request(model="sim/x", messages=[{"role": "user", "content": text}])


@pytest.mark.looptime
async def test_rows_of_a_group_are_calls_at_the_same_time_and_each_is_delivered_when_it_ends() -> (
    None
):
    sends, delivered = ByText(), Delivered()
    rows = delivered.rows([saying(text) for text in ("3", "1", "2")])
    await SingleCalls(sends).answer_all(rows)
    assert (delivered.order, sends.sizes, now_s()) == ([1, 2, 0], [1, 1, 1], 3)
    replies = [delivered.by_position[n] for n in range(3)]
    assert [one.text for one in replies if isinstance(one, Reply)] == ["3", "1", "2"]


@pytest.mark.looptime
@pytest.mark.parametrize(
    "error",
    [CallFailed(Failure(kind="timeout", message="late")), CallStopped(), ValueError("our fault")],
)
async def test_what_one_row_of_a_group_meets_is_its_own(error: Exception) -> None:
    first, second, third = await ends(SingleCalls(ByText(x=error)), [saying(t) for t in "1x2"])
    assert second is error
    assert isinstance(first, Reply)
    assert isinstance(third, Reply)


@pytest.mark.looptime
async def test_what_stops_the_job_ends_the_calls_beside_it_and_what_is_delivered_stays() -> None:
    class Refusing(ByText):
        async def send(self, requests: Sequence[Request]) -> list[Reply]:
            replies = await super().send(requests)
            if replies[0].text == "2":
                raise ProviderRefused("no key")
            return replies

    delivered = Delivered()
    asked = [saying(text) for text in ("60", "2", "1")]
    with pytest.raises(BaseExceptionGroup) as caught:
        await SingleCalls(Refusing()).answer_all(delivered.rows(asked))
    assert isinstance(first_error(caught.value), ProviderRefused)
    assert (delivered.order, now_s()) == ([2], 2)
