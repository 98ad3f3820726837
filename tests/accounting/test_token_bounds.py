"""The most tokens: never fewer than a tokenizer makes, and refused where nothing bounds them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from llmscale.accounting.token_bounds import (
    CALL_TOKENS,
    IMAGE_TOKENS,
    TEXT_TOKENS,
    Unbounded,
    max_input_tokens,
    max_output_tokens,
)
from llmscale.core.records import Request
from llmscale.providers.static_vectors import _TOKENIZER_FILE, _find_package

TOKENIZER = Tokenizer.from_file(str(_find_package() / _TOKENIZER_FILE))

HARD_TEXTS = [
    "The quick brown fox jumps over the lazy dog. " * 20,
    "def f(x):\n\treturn {k: v for k, v in x.items() if v is not None}\n" * 20,
    "漢字かな交じり文と한국어 텍스트" * 20,
    "👩‍👩‍👧‍👦🏴󠁧󠁢󠁥󠁮󠁧󠁿🤷🏽‍♀️" * 20,
    "Z̸̢͍̈a̵̡͙̐l̴̯̊g̷̣̉o̶͓͛" * 20,
    "\u200b\u200f\ufeff\U0010ffff\ue000" * 20,
    "qX7/9+zK==Jd0vB2m\n" * 40,
    " \t\n\r" * 50,
    "\x00\x01\x7f" * 50,
    "ﷺ" * 50,
    "0123456789" * 20,
]


def chat(*messages: Any, **fields: Any) -> Request:
    return Request(model="openai/m", messages=list(messages), **fields)


def asking(content: Any, **fields: Any) -> Request:
    return chat({"role": "user", "content": content}, **fields)


def tokens_of(text: str) -> int:
    return len(TOKENIZER.encode(text, add_special_tokens=True).ids)


@pytest.mark.parametrize("text", HARD_TEXTS, ids=range(len(HARD_TEXTS)))
def test_no_text_has_more_tokens_than_bytes(text: str) -> None:
    assert tokens_of(text) <= max_input_tokens(Request(model="m", text=text))
    assert tokens_of(text) <= max_input_tokens(asking(text)) - CALL_TOKENS


@given(st.text(max_size=300))
def test_no_text_that_can_be_made_up_has_more_tokens_than_bytes(text: str) -> None:
    assert tokens_of(text) <= len(text.encode()) + TEXT_TOKENS


@given(
    st.lists(st.text(max_size=50), min_size=1, max_size=20),
    st.sampled_from(["user", "assistant", "system", "tool"]),
)
def test_what_a_template_puts_around_messages_is_within_the_bound(
    texts: list[str], role: str
) -> None:
    messages = [{"role": role, "content": text} for text in texts]
    templated = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for text in texts)
    apart = sum(tokens_of(f"{role}\n{text}\n") + 3 for text in texts)
    bound = max_input_tokens(chat(*messages))
    assert apart <= bound
    assert tokens_of(templated) <= bound


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"description": "x" * 5_000}}]},
        {"tools": [{"name": "in Anthropic's words", "description": "x" * 5_000}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"a": "x" * 5_000}}}},
        {"extra": {"guided_grammar": "x" * 5_000}},
    ],
)
def test_whatever_goes_into_the_prompt_counts(fields: dict[str, Any]) -> None:
    assert max_input_tokens(asking("hello", **fields)) > 5_000 + CALL_TOKENS


@pytest.mark.parametrize(
    ("content", "images"),
    [
        ([{"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}], 1),
        ([{"type": "text", "text": "two"}, {"type": "image"}, {"type": "image"}], 2),
        ([{"type": "tool_result", "content": [{"type": "image"}, {"type": "text"}]}], 1),
        ([{"text": "no type"}, "plain"], 0),
        ("text", 0),
        (None, 0),
    ],
)
def test_a_picture_counts_as_the_dearest_picture_wherever_it_stands(
    content: Any, images: int
) -> None:
    found = max_input_tokens(asking(content))
    assert images * IMAGE_TOKENS < found < images * IMAGE_TOKENS + 2_000


PHOTO = "A" * 2_000_000


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PHOTO}"}},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PHOTO}"},
        {"type": "image", "source": {"type": "base64", "data": PHOTO}},
        {"type": "tool_result", "content": [{"type": "image", "source": {"data": PHOTO}}]},
    ],
)
def test_a_picture_is_billed_as_one_and_not_by_its_bytes(part: dict[str, Any]) -> None:
    found = max_input_tokens(asking([part, {"type": "text", "text": "x" * 500}]))
    assert IMAGE_TOKENS + 500 < found < IMAGE_TOKENS + 500 + 2_000


def test_text_beside_a_picture_counts_wherever_it_stands() -> None:
    part = {"type": "image_url", "image_url": {"url": "a", "detail": "x" * 5_000}, "text": PHOTO}
    assert max_input_tokens(asking([part])) > IMAGE_TOKENS + 5_000 + len(PHOTO)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (asking([{"type": "input_audio", "input_audio": {}}]), "'input_audio' is neither"),
        (asking([{"type": "file", "file": {}}]), "'file' is neither"),
        (asking([{"type": "document", "source": {}}]), "'document' is neither"),
        (asking([{"type": ["odd"]}]), "neither text nor a picture"),
        (asking([{"type": "tool_result", "content": [{"type": "file"}]}]), "'file' is neither"),
        (asking("x", tools=[{"type": "web_search_20250305"}]), "runs at the provider"),
        (asking("x", tools=[{"type": {}}]), "runs at the provider"),
        (asking("x", extra={"service_tier": "priority"}), "service_tier"),
        (asking("x", extra={"prediction": {"content": "long"}}), "prediction"),
        (asking("x", extra={"modalities": ["text", "audio"]}), "modalities"),
        (asking("x", extra={"web_search_options": {"user_location": "x"}}), "web_search_options"),
        (Request(model="m", text="x", extra={"service_tier": "priority"}), "service_tier"),
    ],
)
def test_what_has_no_known_bound_is_refused_by_name(request_: Request, reason: str) -> None:
    with pytest.raises(Unbounded, match=reason):
        max_input_tokens(request_)


@pytest.mark.parametrize(
    "extra",
    [{"service_tier": "flex"}, {"modalities": ["text"]}, {"audio": None}, {"top_k": 5}],
)
def test_what_makes_nothing_dearer_is_let_through(extra: dict[str, Any]) -> None:
    assert max_input_tokens(asking("x", extra=extra)) > 0


@pytest.mark.parametrize(
    ("request_", "max_of_model", "most"),
    [
        (asking("x", max_tokens=7), None, 7),
        (asking("x", max_tokens=7), 4096, 7),
        (asking("x", extra={"max_completion_tokens": 9}), None, 9),
        (asking("x", max_tokens=7, extra={"max_completion_tokens": 9}), None, 9),
        (asking("x"), 4096, 4096),
        (asking("x", extra={"max_completion_tokens": True}), 4096, 4096),
        (asking("x", extra={"max_completion_tokens": -5}), 4096, 4096),
        (Request(model="m", text="x"), None, 0),
    ],
)
def test_an_answer_is_bounded_by_its_request_and_else_by_its_model(
    request_: Request, max_of_model: int | None, most: int
) -> None:
    assert max_output_tokens(request_, max_of_model) == most


def test_an_answer_without_a_bound_is_refused() -> None:
    with pytest.raises(Unbounded, match="set max_tokens"):
        max_output_tokens(asking("x"), None)
