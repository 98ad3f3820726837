"""Texts that are too long are cut until they fit, and say so."""

from collections.abc import Sequence

import pytest

from llmscale.core.asked_row import AskedRow
from llmscale.core.errors import CallFailed, ProviderRefused
from llmscale.core.records import Failure, FailureKind, Reply, Request, Usage
from llmscale.engine.layers.truncation import MAX_CUTS, TruncationLayer
from tests.engine.answering import Delivered, RowByRow, answer, ends


class Takes(RowByRow):
    """Answers texts of up to so many characters."""

    def __init__(self, most: int, kind: FailureKind = "context_length") -> None:
        self.asked: list[int] = []
        self.groups: list[int] = []  # texts in each
        self._most = most
        self._kind = kind

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        self.groups.append(len(rows))
        await super().answer_all(rows)

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
    reply = await answer(TruncationLayer(inner), request(100))
    assert (reply.finish_reason, reply.attempts, inner.asked) == ("stop", 1, [100])


async def test_a_text_that_is_too_long_is_cut_until_it_fits_and_the_reply_says_so() -> None:
    inner = Takes(60)
    reply = await answer(TruncationLayer(inner), request(100))
    assert inner.asked == [100, 75, 56]
    assert (reply.finish_reason, reply.attempts) == ("length", 3)


async def test_another_failure_is_not_answered_with_less_text() -> None:
    inner = Takes(60, "server_error")
    with pytest.raises(CallFailed):
        await answer(TruncationLayer(inner), request(100))
    assert inner.asked == [100]


async def test_there_is_an_end_to_cutting() -> None:
    inner = Takes(0)
    with pytest.raises(CallFailed) as raised:
        await answer(TruncationLayer(inner), request(10_000))
    assert len(inner.asked) == MAX_CUTS + 1 == raised.value.attempts


# --- rows that are asked together


async def test_of_a_group_only_the_texts_that_are_too_long_are_asked_again() -> None:
    inner = Takes(60)
    found = await ends(TruncationLayer(inner), [request(size) for size in (50, 100, 60, 70)])
    replies = [one for one in found if isinstance(one, Reply)]
    assert [(one.finish_reason, one.attempts) for one in replies] == [
        ("stop", 1),
        ("length", 3),
        ("stop", 1),
        ("length", 2),
    ]
    assert sorted(inner.asked) == [50, 52, 56, 60, 70, 75, 100]
    assert sorted(inner.groups) == [1, 1, 1, 4]


async def test_a_text_that_fits_is_delivered_before_the_others_are_cut() -> None:
    delivered = Delivered()
    rows = delivered.rows([request(100), request(10), request(70)])
    await TruncationLayer(Takes(60)).answer_all(rows)
    assert delivered.order == [1, 2, 0]


async def test_what_else_a_row_of_a_group_meets_is_its_own() -> None:
    inner = Takes(60, "server_error")
    fits, fails = await ends(TruncationLayer(inner), [request(60), request(61)])
    assert isinstance(fits, Reply)
    assert isinstance(fails, CallFailed)
    assert (fails.failure.kind, sorted(inner.asked)) == ("server_error", [60, 61])


async def test_what_stops_the_job_while_a_shorter_text_is_asked_is_raised() -> None:
    class Refuses(Takes):
        async def answer(self, request: Request) -> Reply:
            if self.asked:
                raise ProviderRefused("no key")
            return await super().answer(request)

    with pytest.raises(ProviderRefused):
        await ends(TruncationLayer(Refuses(60)), [request(100)])
