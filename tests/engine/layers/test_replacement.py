"""Rows that are asked again: those alone, as often as the layer wants, with all their attempts."""

from collections.abc import Sequence

import pytest

from llmscale.core.errors import CallFailed, CallStopped, ProviderRefused, first_error
from llmscale.core.protocols import Settle
from llmscale.core.records import Failure, Reply, Request, Usage
from llmscale.engine.layers.replacement import answer_or_replace
from tests.engine.answering import RowByRow, Settled

FAILURE = Failure(kind="timeout", message="late", retryable=True)


class Failing(RowByRow):
    """Fails each text that has an x, in two attempts, and raises what it is told for others."""

    def __init__(self, ends: dict[str, Exception] | None = None) -> None:
        self.asked: list[str | None] = []
        self._ends = ends or {}

    async def answer(self, request: Request) -> Reply:
        self.asked.append(request.text)
        text = request.text or ""
        if text in self._ends:
            raise self._ends[text]
        if "x" in text:
            raise CallFailed(FAILURE, 2)
        return Reply(text=text, finish_reason="stop", model="m", usage=Usage(1), attempts=3)


def requests(*texts: str) -> list[Request]:
    return [Request(model="sim/a", text=text) for text in texts]


def without_one_x(position: int, request: Request, times: int, error: CallFailed) -> Request | None:
    """Ask again without the last letter, three times at most."""
    assert error.failure == FAILURE
    assert position >= 0
    return None if times == 3 else Request(model=request.model, text=(request.text or "")[:-1])


async def ends(inner: Failing, *texts: str) -> Sequence[Reply | Exception]:
    settled: Settled = Settled()
    settle: Settle = settled
    await answer_or_replace(inner, requests(*texts), settle, without_one_x)
    return [settled.by_position[position] for position in range(len(texts))]


async def test_only_rows_that_failed_are_asked_again_and_their_attempts_add_up() -> None:
    inner = Failing()
    found = await ends(inner, "a", "bxx", "c")
    assert [(one.text, one.attempts) for one in found if isinstance(one, Reply)] == [
        ("a", 3),
        ("b", 2 + 2 + 3),
        ("c", 3),
    ]
    assert sorted(map(str, inner.asked)) == ["a", "b", "bx", "bxx", "c"]


async def test_a_row_for_which_nothing_helps_ends_with_its_last_failure_and_all_attempts() -> None:
    (found,) = await ends(Failing(), "xxxxxx")
    assert isinstance(found, CallFailed)
    assert (found.failure, found.attempts) == (FAILURE, 4 * 2)


async def test_what_is_no_failure_of_a_call_is_passed_on() -> None:
    stopped = CallStopped()
    assert await ends(Failing({"a": stopped}), "a", "b") == [stopped, *await ends(Failing(), "b")]


async def test_what_stops_the_job_when_a_row_is_asked_again_stops_it() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await ends(Failing({"a": ProviderRefused("no")}), "ax")
    assert isinstance(first_error(caught.value), ProviderRefused)
