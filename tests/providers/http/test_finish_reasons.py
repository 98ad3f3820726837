"""Every word that a server has for an end is one of few, or kept as it came."""

from typing import Any

import pytest

from llmscale.providers.http.finish_reasons import finish_reason_of, is_known


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        (None, "stop"),
        ("", "stop"),
        ("STOP", "stop"),
        ("eos_token", "stop"),  # TGI
        ("FINISH_REASON_STOP", "stop"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),  # Gemini
        ("model_context_window_exceeded", "length"),  # Anthropic
        ("model_length", "length"),  # Mistral
        ("tool_use", "tool_calls"),
        ("function_call", "tool_calls"),
        ("SAFETY", "content_filter"),
        ("refusal", "content_filter"),
        ("guardrail_intervened", "content_filter"),  # Bedrock
        ("content-filter", "content_filter"),
        ("error", "error"),
        ("abort", "error"),  # vLLM
        ("insufficient_system_resource", "error"),  # DeepSeek
        ("MALFORMED_FUNCTION_CALL", "error"),  # Gemini
        ("bored", "bored"),
        ("Bored", "Bored"),
        (7, "7"),
    ],
)
def test_a_word_has_one_meaning(word: Any, reason: str) -> None:
    assert finish_reason_of(word) == reason


def test_a_word_that_is_not_known_is_kept_apart() -> None:
    assert is_known("stop")
    assert not is_known("bored")
