"""Targets of alerts: a webhook, or a command of the user's own.

Only what was typed on the command line comes here. A webhook gets JSON over TLS that is verified,
or over plain HTTP where that was typed; redirects are not followed. A command is started without a
shell, with the JSON on its standard input. Addresses of webhooks are secrets often: only the host
is ever named.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

from llmscale import __version__

WEBHOOK_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 10.0

COMMAND = "exec:"
VARIABLE = "env:"


class DeliveryFailed(Exception):
    """An alert did not reach its target; the message says why, as the end of a sentence."""


class Target(Protocol):
    """Where alerts go."""

    @property
    def name(self) -> str:
        """What it is called in the log."""
        ...

    async def tell(self, payload: bytes) -> None:
        """Deliver one alert as JSON, within the timeout. Raises `DeliveryFailed`."""
        ...


def target_of(text: str, environ: Mapping[str, str] = os.environ) -> Target:
    """Return the target that `http(s)://...`, `env:NAME` or `exec:COMMAND` names.

    Raises `ValueError` with a sentence. `env:NAME`: the address is in that variable.
    """
    if text.startswith(COMMAND):
        return CommandTarget(_words(text.removeprefix(COMMAND)))
    if text.startswith(VARIABLE):
        name = text.removeprefix(VARIABLE)
        text = environ.get(name, "").strip()
        if not text:
            raise ValueError(f"the environment variable {name} holds no address")
    return WebhookTarget(text)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"{command!r} is no command: {error}") from None
    if not words or shutil.which(words[0]) is None:
        raise ValueError(f"there is no program {words[0] if words else ''!r} to run")
    return words


class WebhookTarget:
    """An address that takes JSON by POST."""

    def __init__(self, url: str) -> None:
        """Raises `ValueError` with a sentence that does not repeat the address."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("http", "https") or not url.isprintable():
            raise ValueError("write http(s)://HOST/..., env:NAME or exec:COMMAND")
        if parts.username or parts.password:
            raise ValueError("the address must not hold a name or a password; put it in env:NAME")
        self.name = f"the webhook at {host}"
        self._url = url

    async def tell(self, payload: bytes) -> None:
        """Post one alert. Raises `DeliveryFailed`."""
        import aiohttp  # loading it takes a tenth of a second, and most runs have no alert

        headers = {"Content-Type": "application/json", "User-Agent": f"llmscale/{__version__}"}
        try:
            async with (
                asyncio.timeout(WEBHOOK_TIMEOUT_S),
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.post(
                    self._url, data=payload, headers=headers, allow_redirects=False
                ) as response,
            ):
                status = response.status
        except TimeoutError:
            raise DeliveryFailed(f"gave no answer within {WEBHOOK_TIMEOUT_S:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DeliveryFailed(f"can't be reached ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise DeliveryFailed(f"answered HTTP {status}")


class CommandTarget:
    """A program of the user's, started for each alert; what it prints is not shown."""

    def __init__(self, words: list[str]) -> None:
        self.name = f"the command {words[0]}"
        self._words = words

    async def tell(self, payload: bytes) -> None:
        """Run the program. Raises `DeliveryFailed`."""
        nothing = asyncio.subprocess.DEVNULL  # standard output may be that of the answers
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words,
                stdin=asyncio.subprocess.PIPE,
                stdout=nothing,
                stderr=nothing,
                start_new_session=True,
            )
        except OSError as error:
            raise DeliveryFailed(f"can't be started ({error.strerror})") from None
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                await process.communicate(payload)
        except TimeoutError:
            raise DeliveryFailed(
                f"did not end within {COMMAND_TIMEOUT_S:g} s, and was killed"
            ) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # with all that it has started
                await process.wait()
        if process.returncode:
            raise DeliveryFailed(f"ended with exit code {process.returncode}")
