"""Which endpoints answer for which model, by every way that a model can be named."""

import pytest

from llmscale.config import EndpointConfig
from llmscale.core.errors import ConfigError
from llmscale.runtime.models import Models
from tests.settings import config_of


def endpoint(model: str, base_url: str | None = None) -> EndpointConfig:
    return EndpointConfig(model=model, base_url=base_url)


A, B = endpoint("openai/a"), endpoint("openai/b", "http://127.0.0.1:1/v1")
TWICE = endpoint("openai/a", "http://127.0.0.1:2/v1")
SIM = endpoint("sim/s")


def models(*endpoints: EndpointConfig, **fallback: tuple[str, ...]) -> Models:
    """Return the models of these endpoints; `a=("b",)`: openai/b stands in for openai/a."""
    named = {
        f"openai/{model}": tuple(f"openai/{other}" for other in others)
        for model, others in fallback.items()
    }
    return Models(config_of(endpoint=endpoints, fallback=named).models)


def test_a_model_is_answered_by_all_endpoints_that_have_its_name() -> None:
    assert models(A, B, TWICE).endpoints_of("openai/a") == [A, TWICE]
    assert models(A, B).endpoints_of("openai/b") == [B]


@pytest.mark.parametrize(
    ("model", "expected"),
    [("sim/whatever", [SIM]), ("openai/c", [A, B]), ("anthropic/c", []), ("local/c", [])],
)
def test_a_name_that_no_endpoint_has_goes_to_those_of_its_provider_that_take_any(
    model: str, expected: list[EndpointConfig]
) -> None:
    assert models(A, B, SIM).endpoints_of(model) == expected


def test_a_bare_name_is_one_of_the_provider_of_the_run() -> None:
    assert models(A, B).resolve("b") == "openai/b"
    assert models(A, B).resolve("openai/b") == "openai/b"
    with pytest.raises(
        LookupError, match="no endpoint answers for model local/c; there is openai/a, openai/b"
    ):
        models(A, B).resolve("local/c")


def test_an_endpoint_is_called_by_its_model_and_its_address_where_there_are_several() -> None:
    several = models(A, B, TWICE)
    assert [several.label(e) for e in several.endpoints] == [
        "openai/a #1",
        "openai/b",
        "openai/a http://127.0.0.1:2/v1",
    ]


def test_without_a_fallback_there_is_none() -> None:
    assert models(A, B).fallbacks() == {}


def test_a_fallback_is_by_full_names_and_in_its_order() -> None:
    assert models(A, B, SIM, a=("b",)).fallbacks() == {"openai/a": ["openai/b"]}
    bare = config_of(endpoint=(A, B, SIM), fallback={"a": ("sim/x", "b")})
    assert Models(bare.models).fallbacks() == {"openai/a": ["sim/x", "openai/b"]}


def test_a_fallback_that_names_a_model_without_endpoint_is_refused_by_its_name() -> None:
    named = Models(config_of(endpoint=(A, B), fallback={"openai/a": ("local/c",)}).models)
    with pytest.raises(ConfigError, match="of openai/a: no endpoint answers for model local/c"):
        named.fallbacks()


def test_a_fallback_of_a_model_that_is_not_of_this_run_is_passed_over() -> None:
    other = config_of(
        endpoint=(A, B), fallback={"local/c": ("local/d",), "openai/a": ("openai/b",)}
    )
    assert Models(other.models).fallbacks() == {"openai/a": ["openai/b"]}


def test_an_endpoint_of_no_known_provider_is_refused() -> None:
    with pytest.raises(ConfigError, match="nobody"):
        models(A, endpoint("nobody/a"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (endpoint("openai/a"), "http://gateway/v1"),
        (endpoint("openai/a", "http://own/v1"), "http://own/v1"),
        (endpoint("anthropic/a"), None),
        (endpoint("sim/a"), None),
    ],
)
def test_an_address_in_the_environment_replaces_that_of_its_provider_alone(
    given: EndpointConfig, expected: str | None
) -> None:
    config = config_of(endpoint=(given,), model=given.model).models
    found = Models(config, {"OPENAI_BASE_URL": " http://gateway/v1/ "})
    assert [one.base_url for one in found.endpoints] == [expected]
    is_used = expected == "http://gateway/v1"
    assert found.allow_hosts == ({"gateway"} if is_used else set())


@pytest.mark.parametrize(
    ("model", "address"),
    [
        ("openai/a", ""),
        ("openai/a", "https://api.openai.com/v1/"),
        ("anthropic/a", "https://api.anthropic.com"),
    ],
)
def test_no_address_and_the_own_one_change_nothing(model: str, address: str) -> None:
    variables = {f"{name}_BASE_URL": address for name in ("OPENAI", "ANTHROPIC")}
    found = Models(config_of(model=model).models, variables)
    assert [one.base_url for one in found.endpoints] == [None]
    assert not found.by_variable


def test_an_address_in_the_environment_must_hold_no_secret() -> None:
    with pytest.raises(ConfigError, match=r"^OPENAI_BASE_URL: base_url must") as error:
        Models(config_of(model="openai/a").models, {"OPENAI_BASE_URL": "http://me:s3cret@host/v1"})
    assert "s3cret" not in str(error.value)
