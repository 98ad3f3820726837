"""The bridge from rows to calls: one row, one call, nothing changed on either way."""

from collections.abc import Sequence

import pytest

from llmscale.batching.one_by_one import OneByOne
from llmscale.errors import CallFailed, ConfigError
from llmscale.records import Failure, Reply, Request, Usage
from tests.answering import answer

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
    assert await answer(OneByOne(sends), REQUEST) is REPLY
    assert [list(call) for call in sends.calls] == [[REQUEST]]


async def test_two_rows_are_two_calls() -> None:
    sends = Recorded()
    bridge = OneByOne(sends)
    await answer(bridge, REQUEST)
    await answer(bridge, REQUEST)
    assert [len(call) for call in sends.calls] == [1, 1]


@pytest.mark.parametrize(
    "error", [CallFailed(Failure(kind="timeout", message="late"), 3), ConfigError("no key")]
)
async def test_what_the_layer_below_raises_comes_through_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        await answer(OneByOne(Recorded(error)), REQUEST)
    assert raised.value is error
