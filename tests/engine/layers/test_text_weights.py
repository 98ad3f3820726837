"""How large a text is: by its characters at first, then by what calls have taken."""

import pytest

from llmscale.core.records import Reply, Request, Usage
from llmscale.engine.layers.text_weights import TextWeights


def request(text: str) -> Request:
    return Request(model="sim/v", text=text)


def reply(tokens: int) -> Reply:
    return Reply(text=None, finish_reason="stop", model="v", usage=Usage(tokens), vector=b"\0" * 4)


def test_at_first_a_token_has_four_characters() -> None:
    assert TextWeights().of(request("x" * 400)) == (101, 400)


def test_bytes_are_those_of_utf_8() -> None:
    assert TextWeights().of(request("é€"))[1] == 5


def test_a_script_of_a_token_a_character_is_learned_from_what_calls_report() -> None:
    weights = TextWeights()
    texts = [request("語" * length) for length in (10, 50, 100)]
    for _ in range(60):
        weights.learn(texts, [reply(10), reply(50), reply(100)])
    assert weights.of(request("語" * 1_000))[0] == pytest.approx(1_000, rel=0.05)


def test_a_server_that_reports_no_tokens_teaches_nothing() -> None:
    weights = TextWeights()
    weights.learn([request("x" * 400)], [reply(0)])
    assert weights.of(request("x" * 400)) == (101, 400)
