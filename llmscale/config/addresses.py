"""The address and the key variable of an endpoint, checked so that neither holds a secret.

An address is shown in tables, logs and reports; a key is named and never set.
"""

import ipaddress
import re
from urllib.parse import urlsplit

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def check_address(base_url: str | None, api_key_env: str | None) -> None:
    """Raise `ValueError` for an address or a variable that may hold a secret; it quotes neither."""
    if base_url is not None and any(mark in base_url for mark in "@?#"):
        raise ValueError(
            "base_url must hold no name, password or query; write http(s)://HOST[:PORT]/v1, and "
            "name the variable that holds the key with api_key_env"
        )
    if api_key_env is not None and not _VARIABLE.fullmatch(api_key_env):
        raise ValueError(
            "api_key_env takes the name of an environment variable, and never a key itself"
        )


def host_of(base_url: str) -> str:
    """Return the host of an address, empty where it has none."""
    try:
        return urlsplit(base_url).hostname or ""
    except ValueError:  # the provider refuses it with a reason
        return ""


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
