"""Texts that are too long are cut until they fit, and say so."""

import pytest

from llmscale.batching.shortening import MAX_CUTS, Shortened
from llmscale.errors import CallFailed
from llmscale.records import Failure, FailureKind, Reply, Request, Usage
from tests.answering import RowByRow, answer


class Takes(RowByRow):
    """Answers texts of up to so many characters."""

    def __init__(self, most: int, kind: FailureKind = "context_length") -> None:
        self.asked: list[int] = []
        self._most = most
        self._kind = kind

    async def answer(self, request: Request) -> Reply:
        size = len(request.text or "")
        self.asked.append(size)
        if size > self._most:
            raise CallFailed(Failure(kind=self._kind, message="too long"), 1)
        return Reply(
            text=None, finish_reason="stop", model="v", usage=Usage(1), vector=b"\0" * 4, attempts=1
        )


def request(size: int) -> Request:
    return Request(model="sim/v", text="x" * size)


async def test_a_text_that_fits_is_left_as_it_is() -> None:
    inner = Takes(100)
    reply = await answer(Shortened(inner), request(100))
    assert (reply.finish_reason, reply.attempts, inner.asked) == ("stop", 1, [100])


async def test_a_text_that_is_too_long_is_cut_until_it_fits_and_the_reply_says_so() -> None:
    inner = Takes(60)
    reply = await answer(Shortened(inner), request(100))
    assert inner.asked == [100, 75, 56]
    assert (reply.finish_reason, reply.attempts) == ("length", 3)


async def test_another_failure_is_not_answered_with_less_text() -> None:
    inner = Takes(60, "server_error")
    with pytest.raises(CallFailed):
        await answer(Shortened(inner), request(100))
    assert inner.asked == [100]


async def test_there_is_an_end_to_cutting() -> None:
    inner = Takes(0)
    with pytest.raises(CallFailed) as raised:
        await answer(Shortened(inner), request(10_000))
    assert len(inner.asked) == MAX_CUTS + 1 == raised.value.attempts
