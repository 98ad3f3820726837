"""A vendor is a module and an entry: keys, addresses, limits and errors follow from the entry."""

import sys
from types import ModuleType
from typing import Any

import pytest

from llmscale.config import EndpointConfig, ModelsConfig
from llmscale.core.errors import ConfigError
from llmscale.providers import (
    PROVIDERS,
    SPECS,
    ProviderSpec,
    base_url_of,
    open_provider,
    spec_of,
    split_model,
)
from llmscale.providers.http.keys import key_for
from llmscale.runtime.costs import max_answer_tokens_of
from llmscale.runtime.models import Models
from tests.settings import config_of

ACME = ProviderSpec(
    "acme",
    chat="acme",
    base_url="https://api.acme.test/v1",
    key_variable="ACME_API_KEY",
    default_max_tokens=99,
)


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> ProviderSpec:
    """Add a vendor: its module and its entry."""
    module: Any = ModuleType("llmscale.providers.acme")
    module.open_endpoint = lambda name, *_: f"opened {name}"
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(PROVIDERS, ACME.name, ACME)
    return ACME


def test_a_vendor_is_opened_by_its_entry(acme: ProviderSpec) -> None:
    endpoint = EndpointConfig(model="acme/large")
    assert spec_of("acme/large") is acme
    assert base_url_of(endpoint) == acme.base_url
    assert open_provider(endpoint, 1) == "opened large"  # type: ignore[comparison-overlap]


def test_the_key_of_a_vendor_goes_to_its_own_host_only(acme: ProviderSpec) -> None:
    endpoint, environ = EndpointConfig(model="acme/large"), {"ACME_API_KEY": "k"}
    assert key_for(endpoint, "https://api.acme.test/v1", acme, frozenset(), environ) == "k"
    with pytest.raises(ConfigError, match="ACME_API_KEY is not sent to api"):
        key_for(endpoint, "https://api.openai.com/v1", acme, frozenset(), environ)
    with pytest.raises(ConfigError, match="set the environment variable ACME_API_KEY"):
        key_for(endpoint, "https://api.acme.test/v1", acme, frozenset(), {})


def test_models_and_costs_follow_from_the_entry(acme: ProviderSpec) -> None:
    models = Models(ModelsConfig(model="acme/large"))
    assert models.resolve("small") == "acme/small", "its address takes any name"
    assert max_answer_tokens_of(config_of().cost)("acme/large") == acme.default_max_tokens


def test_a_vendor_without_embeddings_says_who_has_them(acme: ProviderSpec) -> None:
    with pytest.raises(ConfigError, match=r"acme/\.\.\. has no embeddings; use one of openai/"):
        open_provider(EndpointConfig(model="acme/large"), 1, task="embedding")


def test_an_unknown_vendor_is_refused_with_the_known_ones(acme: ProviderSpec) -> None:
    with pytest.raises(ConfigError, match=r"use one of openai/.*, acme/"):
        split_model("nobody/large")


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_each_entry_is_whole(spec: ProviderSpec) -> None:
    assert spec.chat or spec.embedding
    assert spec.is_remote == bool(spec.key_variable) == bool(spec.host)


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [
        ("openai/m", "http://host/v1", "http://host/v1"),
        ("openai/m", "http://host/v1/", "http://host/v1"),
        ("openai/m", "http://host/v1/chat/completions", "http://host/v1"),
        ("openai/m", "http://host/v1/embeddings/", "http://host/v1"),
        ("openai/m", "http://host", "http://host"),
        ("anthropic/m", "https://host/v1", "https://host/v1"),
        ("anthropic/m", "https://host", "https://host/v1"),
        ("anthropic/m", "https://host/v1/messages", "https://host/v1"),
        ("anthropic/m", "https://host/anthropic/", "https://host/anthropic/v1"),
        ("anthropic/m", "https://host/v1beta", "https://host/v1beta"),
        ("sim/m", "https://host", None),
    ],
)
def test_an_address_is_understood_with_and_without_the_paths_of_its_api(
    model: str, given: str, expected: str | None
) -> None:
    assert base_url_of(EndpointConfig(model=model, base_url=given)) == expected
