"""Which key goes where, as a table of hosts, and that a key never shows in what is said."""

from typing import Any

import pytest

from llmscale.config import EndpointConfig
from llmscale.core.errors import ConfigError
from llmscale.providers import ProviderSpec, open_provider
from llmscale.providers.http.keys import check_base_url, key_advice, key_for

KEY = "sk-canary-0123456789"
SPEC = ProviderSpec("openai", base_url="https://api.openai.com/v1", key_variable="OWN_KEY")


def key_of(
    base_url: str,
    *,
    key: str | None = KEY,
    api_key_env: str | None = None,
    allow: frozenset[str] = frozenset(),
) -> str | None:
    """Return the key that goes to `base_url`; the default variable is OWN_KEY."""
    variable = api_key_env or "OWN_KEY"
    return key_for(
        EndpointConfig(model="openai/m", base_url=base_url, api_key_env=api_key_env),
        base_url,
        SPEC,
        allow,
        environ={} if key is None else {variable: key},
    )


@pytest.mark.parametrize(
    "base_url",
    [
        "https://api.openai.com/v1",
        "https://API.OpenAI.com/v1",
        "https://api.openai.com:443/v1",
        "http://localhost:8000/v1",
        "http://127.0.0.1:8000/v1",
        "http://127.8.9.10/v1",
        "http://[::1]:8000/v1",
    ],
)
def test_a_key_goes_to_its_own_host_and_to_loopback(base_url: str) -> None:
    assert key_of(base_url) == KEY


@pytest.mark.parametrize(
    "base_url",
    [
        "https://example.com/v1",
        "https://api.openai.com.example.com/v1",
        "https://example.com/api.openai.com",
        "https://example.com#@api.openai.com",
        "https://example.com?api.openai.com",
        "https://notapi.openai.com/v1",
        "https://openai.com/v1",
        "https://api.openai.com./v1",
        "https://api.anthropic.com/v1",
        "https://api.openai.com\t.example.com/v1",
        "http://localhost.example.com/v1",
        "http://127.0.0.1.example.com/v1",
        "http://0.0.0.0/v1",
        "http://10.0.0.1/v1",
        "http://169.254.169.254/v1",
        "http://[::2]/v1",
        "http://2130706433/v1",  # 127.0.0.1 to some, a name to others
    ],
)
def test_a_key_goes_nowhere_else(base_url: str) -> None:
    with pytest.raises(ConfigError, match=r"the key in OWN_KEY is not sent to .*--allow-host"):
        key_of(base_url)


def test_a_key_goes_to_a_host_that_a_flag_allows_and_to_no_other() -> None:
    allow = frozenset({"gateway.example.com"})
    assert key_of("https://gateway.example.com/v1", allow=allow) == KEY
    with pytest.raises(ConfigError):
        key_of("https://other.example.com/v1", allow=allow)
    with pytest.raises(ConfigError):
        key_of("https://sub.gateway.example.com/v1", allow=allow)


def test_a_key_goes_unencrypted_to_no_host_of_the_network_unless_allowed() -> None:
    with pytest.raises(ConfigError, match=r"api\.openai\.com.*https"):
        key_of("http://api.openai.com/v1")
    assert key_of("http://api.openai.com/v1", allow=frozenset({SPEC.host})) == KEY


def test_the_own_host_needs_a_key() -> None:
    with pytest.raises(ConfigError, match=r"openai/m needs a key: set .* OWN_KEY"):
        key_of("https://api.openai.com/v1", key=None)


def test_a_variable_that_is_named_has_to_be_set() -> None:
    with pytest.raises(ConfigError, match=r"needs a key: set .* MY_KEY"):
        key_of("http://localhost/v1", key=None, api_key_env="MY_KEY")
    assert key_of("http://localhost/v1", api_key_env="MY_KEY") == KEY


@pytest.mark.parametrize(
    ("variable", "shown"), [("MY_KEY_2", "MY_KEY_2"), ("sk_live_01", r"\*\*\*")]
)
def test_a_variable_that_looks_like_a_key_is_not_shown(variable: str, shown: str) -> None:
    with pytest.raises(ConfigError, match=f"set the environment variable {shown},"):
        key_of("http://localhost/v1", key=None, api_key_env=variable)


@pytest.mark.parametrize("base_url", ["http://localhost/v1", "https://example.com/v1"])
@pytest.mark.parametrize("key", [None, "", "  \n"])
def test_another_host_may_do_without_a_key(base_url: str, key: str | None) -> None:
    assert key_of(base_url, key=key) is None


def test_white_space_around_a_key_is_none_of_it() -> None:
    assert key_of("http://localhost/v1", key=f" {KEY}\n") == KEY


@pytest.mark.parametrize(
    "key", ["sk\r\nX-Evil: 1", "sk\x00", "sk\x1b[31m", "sk-ä", "sk\x7f", "sk\u200b", "sk\tx"]
)
def test_a_key_with_characters_that_no_key_has_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="the key in OWN_KEY has characters") as raised:
        key_of("http://localhost/v1", key=key)
    assert key not in str(raised.value)


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.openai.com/v1",
        "localhost:8000/v1",
        "ftp://example.com/v1",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "http:///v1",
        "http://[::1/v1",
        "http://host:99999/v1",
        "http://host:port/v1",
        "http://a..b/v1",
        "http://xn--a/v1",
        "http://two words/v1",
        "http://a\\b/v1",
        f"http://{'a' * 64}.example.com/v1",
    ],
)
def test_what_is_no_address_is_refused(base_url: str) -> None:
    with pytest.raises(ConfigError, match="is no address"):
        check_base_url(base_url)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://user@example.com/v1",
        "https://user:canary-pass@example.com/v1",
        "https://api.openai.com@example.com/v1",
        "https://api.openai.com:443@example.com/v1",
    ],
)
def test_an_address_holds_no_name_and_no_password(base_url: str) -> None:
    with pytest.raises(ConfigError, match="must not hold a name or a password") as raised:
        check_base_url(base_url)
    assert "canary-pass" not in str(raised.value)


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("https://Example.COM:8443/v1", "example.com"),
        ("http://[::1]:80", "::1"),
        ("http://127.0.0.1", "127.0.0.1"),
        ("http://my_service:8000/v1", "my_service"),
    ],
)
def test_the_host_of_an_address_is_read(base_url: str, host: str) -> None:
    assert check_base_url(base_url) == host


@pytest.mark.parametrize(
    ("model", "variable", "host"),
    [
        ("openai/m", "OPENAI_API_KEY", "https://api.openai.com"),
        ("anthropic/m", "ANTHROPIC_API_KEY", "https://api.anthropic.com"),
    ],
)
async def test_a_provider_takes_its_key_from_its_own_variable(
    monkeypatch: pytest.MonkeyPatch, model: str, variable: str, host: str
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=variable):
        open_provider(EndpointConfig(model=model), 1)
    monkeypatch.setenv(variable, KEY)
    provider = open_provider(EndpointConfig(model=model), 1)
    await provider.aclose()
    elsewhere = EndpointConfig(model=model, base_url="https://example.com/v1")
    with pytest.raises(ConfigError, match=r"not sent to example\.com") as raised:
        open_provider(elsewhere, 1)
    assert KEY not in f"{raised.value!r} {raised.value}"
    allowed = open_provider(elsewhere, 1, frozenset({"example.com"}))
    await allowed.aclose()


def hidden_in(value: Any) -> bool:
    return KEY not in repr(value) and KEY not in str(value)


async def test_a_key_shows_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    endpoint = EndpointConfig(model="openai/m", base_url="http://127.0.0.1:1/v1")
    provider = open_provider(endpoint, 1)
    assert hidden_in(provider)
    assert hidden_in(endpoint)
    await provider.aclose()


def test_a_password_in_a_broken_base_url_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as raised:
        check_base_url("ftp://me:hunter2@host/v1")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "api_key_env", "advice"),
    [
        (KEY, None, "check the key in OWN_KEY"),
        (KEY, "OTHER", "check the key in OTHER"),
        ("", None, "no key was sent: set OWN_KEY, or name another variable with --api-key-env"),
    ],
)
def test_an_endpoint_that_refuses_the_key_is_told_of_with_its_variable(
    key: str, api_key_env: str | None, advice: str
) -> None:
    endpoint = EndpointConfig(model="openai/m", api_key_env=api_key_env)
    assert key_advice(endpoint, SPEC, {api_key_env or "OWN_KEY": key}) == advice
