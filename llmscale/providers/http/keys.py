"""Which key goes to which host: only its own provider's, loopback, or one allowed by a flag.

A configuration file found in a folder may name any host; it must not be able to walk off with
a key.
"""

import os
from collections.abc import Mapping

from yarl import URL

from llmscale.config import EndpointConfig
from llmscale.config.addresses import is_loopback
from llmscale.core.errors import ConfigError
from llmscale.providers.registry import ProviderSpec


def key_for(
    endpoint: EndpointConfig,
    base_url: str,
    spec: ProviderSpec,
    allow_hosts: frozenset[str],
    environ: Mapping[str, str] = os.environ,
) -> str | None:
    """Return the key for `base_url`, or None where the host may do without one.

    Raises `ConfigError` when the key is missing, or the host may not have it.
    """
    variable = endpoint.api_key_env or spec.key_variable
    key = environ.get(variable, "").strip() or None
    named = _shown(variable)
    host = check_base_url(base_url)
    if key is None:
        if host == spec.host or endpoint.api_key_env is not None:
            raise ConfigError(
                f"{endpoint.model} needs a key: set the environment variable {named}, "
                "or name another one with --api-key-env"
            )
        return None
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"the key in {named} has characters that no key has; set it again")
    if host in allow_hosts or is_loopback(host):
        return key
    if host != spec.host:
        raise ConfigError(
            f"the key in {named} is not sent to {host}, which is not {spec.host}; "
            f"if it is meant for there, say --allow-host {host}"
        )
    if not base_url.lower().startswith("https:"):
        raise ConfigError(f"the key in {named} is not sent to {host} in the clear; say https://")
    return key


def key_advice(
    endpoint: "EndpointConfig", spec: ProviderSpec, environ: Mapping[str, str] = os.environ
) -> str:
    """Return what to do about the key of an endpoint that refuses it."""
    variable = endpoint.api_key_env or spec.key_variable
    if environ.get(variable, "").strip():
        return f"check the key in {_shown(variable)}"
    return f"no key was sent: set {_shown(variable)}, or name another variable with --api-key-env"


def check_base_url(base_url: str) -> str:
    """Return the host of a base URL. Raises `ConfigError` unless it is http(s) with a host."""
    try:
        url = URL(base_url)  # read by the one parser that the client connects by
        host = url.host or ""
        host.encode("idna")
    except ValueError:
        host = ""
    if not host or any(c.isspace() for c in host) or url.scheme not in ("http", "https"):
        shown = "***" if "@" in base_url else repr(base_url)  # a password may stand before the @
        raise ConfigError(f"base_url {shown} is no address; write http(s)://HOST[:PORT]/v1")
    if url.user or url.password:
        raise ConfigError("base_url must not hold a name or a password; use --api-key-env")
    return host


def _shown(variable: str) -> str:
    """Return the name of a variable; not one that may be a key itself, put in the wrong place."""
    is_like_a_key = any(c.islower() for c in variable) and any(c.isdigit() for c in variable)
    return "***" if is_like_a_key else variable
