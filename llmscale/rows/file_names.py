"""Names of files as they come from the system, which may be bytes that are no text."""

import os

from llmscale.core.errors import ConfigError


def is_unicode(path: str) -> bool:
    """Tell whether a path is UTF-8; other bytes come from the system as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in path)


def check_unicode(path: str) -> None:
    """Raise `ConfigError` for an input whose name is not UTF-8."""
    if not is_unicode(path):
        raise ConfigError(f"the name of the input {path!r} is not UTF-8; rename it")


def shown_name(path: str) -> str:
    r"""Return a path that can be printed and written as JSON: `caf\xe9.txt`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
