"""Retries with another request: of failed rows only, as often as the layer wants."""

from collections.abc import Sequence

import pytest

from llmscale.core.errors import CallFailed, CallStopped, ProviderRefused, first_error
from llmscale.core.records import Failure, Reply, Request, Usage
from llmscale.engine.layers.replacement import FailedTry, answer_or_replace
from tests.engine.answering import Delivered, RowByRow

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


def without_one_x(tried: FailedTry) -> Request | None:
    """Retry without the last letter, three times at most."""
    assert tried.error.failure == FAILURE
    assert (tried.first.text or "").startswith(tried.request.text or "")
    return None if tried.earlier == 3 else requests((tried.request.text or "")[:-1])[0]


async def ends(inner: Failing, *texts: str) -> Sequence[Reply | Exception]:
    delivered = Delivered()
    rows = delivered.rows(requests(*texts))
    await answer_or_replace(inner, rows, without_one_x)
    return [delivered.by_position[position] for position in range(len(texts))]


async def test_only_failed_rows_are_retried_and_their_attempts_add_up() -> None:
    inner = Failing()
    found = await ends(inner, "a", "bxx", "c")
    assert [(one.text, one.attempts) for one in found if isinstance(one, Reply)] == [
        ("a", 3),
        ("b", 2 + 2 + 3),
        ("c", 3),
    ]
    assert sorted(map(str, inner.asked)) == ["a", "b", "bx", "bxx", "c"]


async def test_a_row_that_keeps_failing_ends_with_its_last_failure_and_all_attempts() -> None:
    (found,) = await ends(Failing(), "xxxxxx")
    assert isinstance(found, CallFailed)
    assert (found.failure, found.attempts) == (FAILURE, 4 * 2)


async def test_what_is_no_failure_of_a_call_is_passed_on() -> None:
    stopped = CallStopped()
    assert await ends(Failing({"a": stopped}), "a", "b") == [stopped, *await ends(Failing(), "b")]


async def test_what_stops_the_job_in_a_retry_is_raised() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await ends(Failing({"a": ProviderRefused("no")}), "ax")
    assert isinstance(first_error(caught.value), ProviderRefused)
