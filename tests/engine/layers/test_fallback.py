"""Another model where the one that was asked for can't answer: in order, and where that helps."""

from collections.abc import Sequence
from typing import Any

import pytest

from llmscale.accounting.stats import Stats
from llmscale.core.errors import CallFailed, CallStopped, ProviderRefused
from llmscale.core.output_line import line_of
from llmscale.core.records import Failure, Outcome, Reply, Request, Row, Usage
from llmscale.engine.cache.keys import key_of
from llmscale.engine.layers.fallback import FallbackLayer
from tests.engine.answering import Delivered, RowByRow, answer, ends

ORDER = {"sim/a": ["sim/b", "sim/c"]}
EXHAUSTED = Failure(kind="overloaded", message="no endpoint answers", retryable=True)
REFUSED = Failure(kind="invalid_request", message="bad", retryable=False)


def request(model: str = "sim/a", **fields: Any) -> Request:
    return Request(model=model, messages=[{"role": "user", "content": "hello"}], **fields)


class Answering(RowByRow):
    """Answers for some models, and fails as it is told for the others."""

    def __init__(self, failures: dict[str, tuple[Failure, int]], attempts: int = 1) -> None:
        self.asked: list[Request] = []
        self._failures = failures
        self._attempts = attempts

    async def answer(self, request: Request) -> Reply:
        self.asked.append(request)
        if request.model in self._failures:
            raise CallFailed(*self._failures[request.model])
        return Reply(
            text="hi",
            finish_reason="stop",
            model="m-1",
            usage=Usage(1, 1),
            answered_by=request.model,
            attempts=self._attempts,
        )

    @property
    def models(self) -> list[str]:
        return [request.model for request in self.asked]


async def test_the_model_that_can_answer_is_not_replaced() -> None:
    inner = Answering({})
    reply = await answer(FallbackLayer(inner, ORDER), request())
    assert (reply.answered_by, reply.attempts, inner.models) == ("sim/a", 1, ["sim/a"])


async def test_stand_ins_are_asked_in_their_order_until_one_answers() -> None:
    inner = Answering({"sim/a": (EXHAUSTED, 0)})
    assert (await answer(FallbackLayer(inner, ORDER), request())).answered_by == "sim/b"
    inner = Answering({"sim/a": (EXHAUSTED, 0), "sim/b": (EXHAUSTED, 0)})
    assert (await answer(FallbackLayer(inner, ORDER), request())).answered_by == "sim/c"
    assert inner.models == ["sim/a", "sim/b", "sim/c"]


async def test_attempts_add_up_over_all_models() -> None:
    inner = Answering({"sim/a": (EXHAUSTED, 3), "sim/b": (EXHAUSTED, 0)}, attempts=2)
    assert (await answer(FallbackLayer(inner, ORDER), request())).attempts == 5


async def test_where_none_answers_the_failure_is_the_last_ones_with_all_attempts() -> None:
    last = Failure(kind="timeout", message="of c", retryable=True)
    failures = {"sim/a": (EXHAUSTED, 2), "sim/b": (EXHAUSTED, 1), "sim/c": (last, 5)}
    with pytest.raises(CallFailed) as raised:
        await answer(FallbackLayer(Answering(failures), ORDER), request())
    assert (raised.value.failure, raised.value.attempts) == (last, 8)


async def test_a_request_that_is_refused_for_what_it_says_is_not_asked_elsewhere() -> None:
    inner = Answering({"sim/a": (REFUSED, 1)})
    with pytest.raises(CallFailed) as raised:
        await answer(FallbackLayer(inner, ORDER), request())
    assert (raised.value.failure, raised.value.attempts) == (REFUSED, 1)
    assert inner.models == ["sim/a"]


async def test_a_refusal_of_the_stand_in_ends_it_too() -> None:
    inner = Answering({"sim/a": (EXHAUSTED, 1), "sim/b": (REFUSED, 1)})
    with pytest.raises(CallFailed) as raised:
        await answer(FallbackLayer(inner, ORDER), request())
    assert (raised.value.failure, raised.value.attempts) == (REFUSED, 2)


async def test_a_model_without_stand_ins_fails_as_it_does() -> None:
    inner = Answering({"sim/b": (EXHAUSTED, 4)})
    with pytest.raises(CallFailed) as raised:
        await answer(FallbackLayer(inner, ORDER), request("sim/b"))
    assert (raised.value.failure, raised.value.attempts) == (EXHAUSTED, 4)


async def test_stand_ins_of_a_stand_in_are_not_asked() -> None:
    inner = Answering({"sim/a": (EXHAUSTED, 0), "sim/b": (EXHAUSTED, 0)})
    with pytest.raises(CallFailed):
        await answer(FallbackLayer(inner, {"sim/a": ["sim/b"], "sim/b": ["sim/c"]}), request())
    assert inner.models == ["sim/a", "sim/b"]


async def test_what_stops_the_job_is_no_reason_to_ask_another() -> None:
    class Stopping(RowByRow):
        async def answer(self, request: Request) -> Reply:
            raise ProviderRefused("no")

    with pytest.raises(ProviderRefused):
        await answer(FallbackLayer(Stopping(), ORDER), request())


async def test_the_question_is_the_same_but_for_the_model_and_so_is_not_its_key_in_the_cache() -> (
    None
):
    inner = Answering({"sim/a": (EXHAUSTED, 0)})
    await answer(FallbackLayer(inner, ORDER), request(temperature=0.5, seed=7))
    first, second = inner.asked
    assert second == request("sim/b", temperature=0.5, seed=7)
    assert key_of(first) != key_of(second) == key_of(request("sim/b", temperature=0.5, seed=7))


def outcomes(replies: Sequence[Reply]) -> list[Outcome]:
    return [
        Outcome(row=Row(index=index, request=request()), reply=reply)
        for index, reply in enumerate(replies)
    ]


async def test_the_line_names_the_model_that_answered_and_the_report_counts_it() -> None:
    stats = Stats()
    replies = [
        await answer(FallbackLayer(Answering({}), ORDER), request()),
        await answer(FallbackLayer(Answering({"sim/a": (EXHAUSTED, 0)}), ORDER), request()),
    ]
    for outcome in outcomes(replies):
        stats.add_outcome(outcome)
    assert [line_of(o)["model"] for o in outcomes(replies)] == ["sim/a", "sim/b"]
    assert stats.rows().summary().fallback == 1


# --- rows that are asked together


def answered_by(results: Sequence[Reply | Exception]) -> list[str | None]:
    return [one.answered_by if isinstance(one, Reply) else type(one).__name__ for one in results]


async def test_of_a_group_only_the_rows_whose_model_can_not_answer_are_asked_elsewhere() -> None:
    inner = Answering({"sim/a": (EXHAUSTED, 2), "sim/b": (EXHAUSTED, 1), "sim/x": (REFUSED, 1)})
    asked = [request(f"sim/{model}") for model in "acxdb"]
    found = await ends(FallbackLayer(inner, ORDER), asked)
    assert answered_by(found) == ["sim/c", "sim/c", "CallFailed", "sim/d", "CallFailed"]
    assert inner.models[:5] == [f"sim/{model}" for model in "acxdb"]
    assert inner.models[5:] == ["sim/b", "sim/c"]


async def test_each_row_of_a_group_has_its_own_stand_ins_and_attempts() -> None:
    inner = Answering({"sim/a": (EXHAUSTED, 2), "sim/b": (EXHAUSTED, 3)})
    order = {"sim/a": ["sim/b", "sim/c"], "sim/b": ["sim/d"]}
    asked = [request(f"sim/{model}") for model in "abc"]
    found = await ends(FallbackLayer(inner, order), asked)
    assert answered_by(found) == ["sim/c", "sim/d", "sim/c"]
    assert [one.attempts for one in found if isinstance(one, Reply)] == [6, 4, 1]


async def test_a_row_that_is_answered_does_not_wait_for_those_that_are_asked_elsewhere() -> None:
    delivered = Delivered()
    rows = delivered.rows([request("sim/a"), request("sim/c")])
    inner = Answering({"sim/a": (EXHAUSTED, 1)})
    await FallbackLayer(inner, ORDER).answer_all(rows)
    assert delivered.order == [1, 0]


async def test_a_row_that_is_stopped_is_not_asked_elsewhere() -> None:
    class Stopped(RowByRow):
        async def answer(self, request: Request) -> Reply:
            raise CallStopped

    assert answered_by(await ends(FallbackLayer(Stopped(), ORDER), [request()] * 2)) == (
        ["CallStopped"] * 2
    )


async def test_what_stops_the_job_while_a_stand_in_is_asked_is_raised() -> None:
    class Refusing(Answering):
        async def answer(self, request: Request) -> Reply:
            if request.model == "sim/b":
                raise ProviderRefused("no")
            return await super().answer(request)

    inner = Refusing({"sim/a": (EXHAUSTED, 0)})
    with pytest.raises(ProviderRefused):
        await ends(FallbackLayer(inner, ORDER), [request("sim/c"), request("sim/a")])
