"""How many tokens a call will take: near the truth at once, and nearer with every answer."""

import math
from typing import Any

import pytest

from llmscale.accounting.tokens import (
    BYTES_PER_TOKEN,
    MESSAGE_BYTES,
    OUTPUT_TOKENS,
    PICTURE_BYTES,
    TokenEstimate,
    TokenEstimates,
    estimated_input_tokens,
    estimated_tokens,
)
from llmscale.core.records import Reply, Request, Usage
from llmscale.engine.layers.text_weights import TextWeights


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


TEXTS = {
    "English": "The quick brown fox jumps over the lazy dog. " * 20,
    "Chinese": "敏捷的棕色狐狸跳过了懒狗。" * 20,
    "Russian": "Съешь же ещё этих мягких французских булок. " * 20,
    "emoji": "🦊🐶" * 50,
    "half a pair": "\ud83e" * 9,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_same_text_has_the_same_estimate_wherever_it_is_asked_for(text: str) -> None:
    tokens = estimated_tokens(text)
    assert tokens == math.ceil(len(text.encode(errors="surrogatepass")) / BYTES_PER_TOKEN)
    embedded, prompted = Request(model="m", text=text), request(text, max_tokens=1)
    assert TokenEstimate().of([embedded]) == tokens
    assert TokenEstimate().of([prompted]) - 1 == tokens + MESSAGE_BYTES / BYTES_PER_TOKEN
    assert TextWeights(TokenEstimates()).of(embedded)[0] == tokens
    assert estimated_input_tokens(embedded) == tokens


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2)])
def test_a_text_takes_whole_tokens_rounded_up(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens


def test_a_thousand_chinese_characters_are_750_tokens_in_a_chat_and_in_a_batch() -> None:
    """The o200k tokenizer makes 0.6 to 0.9 tokens of such a character."""
    chinese = "字" * 1_000
    assert TokenEstimate().of([Request(model="m", text=chinese)]) == 750
    assert TokenEstimate().of([request(chinese, max_tokens=1)]) == 750 + 4 + 1


def test_an_answer_without_a_bound_is_thought_to_be_of_usual_length() -> None:
    asked = request("word " * 1_000)
    bounded = request("word " * 1_000, max_tokens=1)
    assert TokenEstimate().of([asked]) - TokenEstimate().of([bounded]) == OUTPUT_TOKENS - 1


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


def chat_of(*parts: Any) -> Request:
    return Request(model="m", messages=[{"role": "user", "content": list(parts)}], max_tokens=1)


def test_text_in_parts_has_the_estimate_of_the_same_text() -> None:
    whole, parts = request("ab" * 200, max_tokens=1), [{"type": "text", "text": "ab" * 100}] * 2
    assert TokenEstimate().of([chat_of(*parts)]) == TokenEstimate().of([whole])
    result = {"type": "tool_result", "tool_use_id": "1", "content": "ab" * 200}
    assert TokenEstimate().of([chat_of(result)]) == TokenEstimate().of([whole])


def test_a_picture_counts_as_a_picture_and_not_as_its_bytes() -> None:
    """A row with a photo must not look larger than any limit of tokens a minute."""
    photo = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 2_000_000}}
    text = {"type": "text", "text": "What is this?"}
    more = TokenEstimate().of([chat_of(text, photo)]) - TokenEstimate().of([chat_of(text)])
    assert more == PICTURE_BYTES / BYTES_PER_TOKEN == 1_000


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


def test_a_call_of_many_teaches_by_its_sum() -> None:
    """What one text of a batch has taken is a guess of whoever divided the sum."""
    texts = [Request(model="m", text="語" * length) for length in (10, 50, 100)]
    fair, unfair = TokenEstimate(), TokenEstimate()
    fair.learn(texts, [reply(10, 0), reply(50, 0), reply(100, 0)])
    unfair.learn(texts, [reply(158, 0), reply(1, 0), reply(1, 0)])
    assert fair.of(texts) == unfair.of(texts) > TokenEstimate().of(texts)


def test_a_session_has_one_estimate_a_model_and_knows_which_are_read() -> None:
    estimates = TokenEstimates()
    assert estimates.in_use("a") is None
    assert estimates["a"] is estimates["a"] is estimates.in_use("a")
    assert estimates["b"] is not estimates["a"]
