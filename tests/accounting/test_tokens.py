"""How many tokens a call will take: near the truth at once, and nearer with every answer."""

from typing import Any

import pytest

from llmscale.accounting.tokens import CHARACTERS_PER_TOKEN, OUTPUT_TOKENS, TokenEstimate
from llmscale.core.records import Reply, Request, Usage


def request(text: str, **fields: Any) -> Request:
    return Request(model="sim/m", messages=[{"role": "user", "content": text}], **fields)


def reply(input_tokens: int, output_tokens: int) -> Reply:
    usage = Usage(input_tokens, output_tokens)
    return Reply(text="hi", finish_reason="stop", model="m", usage=usage)


def taught(*pairs: tuple[Request, Reply]) -> TokenEstimate:
    estimate = TokenEstimate()
    for asked, answered in pairs:
        estimate.learn([asked], [answered])
    return estimate


def test_before_any_answer_it_is_four_characters_a_token_and_a_usual_output() -> None:
    text = "word " * 1_000
    expected = len(text) / CHARACTERS_PER_TOKEN + OUTPUT_TOKENS
    assert TokenEstimate().of([request(text)]) == pytest.approx(expected, abs=20)


def test_a_bound_of_the_answer_bounds_the_estimate_and_does_not_raise_it() -> None:
    estimate = TokenEstimate()
    unbounded = estimate.of([request("hello")])
    assert unbounded - estimate.of([request("hello", max_tokens=6)]) == 250
    assert estimate.of([request("hello", max_tokens=100_000)]) == unbounded


def test_the_estimate_of_a_call_is_the_sum_of_its_requests() -> None:
    estimate = TokenEstimate()
    requests = [request("a" * length, max_tokens=length) for length in (1, 50, 3_000)]
    assert estimate.of(requests) == sum(estimate.of([one]) for one in requests)
    assert estimate.of([]) == 0


def test_tools_and_every_message_count() -> None:
    tools = [{"type": "function", "function": {"name": "look_up", "description": "x" * 4_000}}]
    estimate = TokenEstimate()
    bare, many = request("hello"), request("hello")
    many.messages.extend({"role": "user", "content": "x" * 400} for _ in range(10))
    assert estimate.of([request("hello", tools=tools)]) - estimate.of([bare]) > 1_000
    assert estimate.of([many]) - estimate.of([bare]) > 1_000


def test_nothing_that_is_sent_takes_no_token() -> None:
    assert TokenEstimate().of([Request(model="m", messages=[], max_tokens=1)]) >= 1


def test_a_hundred_answers_teach_how_long_texts_and_answers_are() -> None:
    asked = request("字" * 1_000)  # three bytes each, and one token each
    estimate = taught(*[(asked, reply(1_000, 40))] * 100)
    assert estimate.of([asked]) == pytest.approx(1_040, rel=0.02)


def test_one_odd_answer_does_not_throw_the_estimate() -> None:
    asked = request("word " * 400)
    settled = [(asked, reply(520, 100))] * 100
    before = taught(*settled).of([asked])
    after = taught(*settled, (asked, reply(520, 1_000))).of([asked])
    assert before < after <= before + 100


def test_a_provider_that_reports_no_input_tokens_does_not_change_the_ratio() -> None:
    asked = request("word " * 4_000, max_tokens=1)
    assert taught((asked, reply(0, 0))).of([asked]) == pytest.approx(
        TokenEstimate().of([asked]), abs=1
    )


def test_each_request_of_a_call_is_learned_from_its_own_answer() -> None:
    long, short = request("word " * 400), request("hi")
    together = TokenEstimate()
    together.learn([long, short], [reply(500, 10), reply(8, 500)])
    assert together.of([long]) == taught((long, reply(500, 10)), (short, reply(8, 500))).of([long])
