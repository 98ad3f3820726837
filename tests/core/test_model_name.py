"""Model names: the first slash divides provider and name."""

import pytest

from llmscale.core.model_name import name_at_provider, provider_of, split_model_name


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("openai/gpt-4.1-mini", "openai", "gpt-4.1-mini"),
        ("openai/meta-llama/Llama-3", "openai", "meta-llama/Llama-3"),
        ("local//path/model.gguf", "local", "/path/model.gguf"),
        ("gpt-4.1-mini", "gpt-4.1-mini", ""),
        ("", "", ""),
    ],
)
def test_the_first_slash_divides_a_model_name(model: str, provider: str, name: str) -> None:
    assert split_model_name(model) == (provider, name)
    assert (provider_of(model), name_at_provider(model)) == (provider, name)
