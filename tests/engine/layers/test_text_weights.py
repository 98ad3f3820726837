"""How large a text is in a batch: tokens by the estimate of its model, bytes as they are sent."""

from llmscale.accounting.tokens import TokenEstimates
from llmscale.core.records import Reply, Request, Usage
from llmscale.engine.layers.text_weights import TextWeights


def request(text: str) -> Request:
    return Request(model="sim/v", text=text)


def test_a_text_weighs_its_estimated_tokens_and_its_bytes_of_utf_8() -> None:
    weights = TextWeights(TokenEstimates())
    assert weights.of(request("x" * 400)) == (100, 400)
    assert weights.of(request("é€")) == (2, 5)


def test_what_calls_have_taken_changes_the_weight_of_texts_of_that_model() -> None:
    estimates, texts = TokenEstimates(), [request("x" * 300)]
    weights = TextWeights(estimates)
    reply = Reply(text=None, finish_reason="stop", model="v", usage=Usage(300))
    for _ in range(100):
        estimates["sim/v"].learn(texts, [reply])
    assert weights.of(request("x" * 400)) == (400, 400)
    assert weights.of(Request(model="sim/other", text="x" * 400)) == (100, 400)
