"""A simulated model: seeded latency, failures and rate limiting, no network and no bill.

Its settings are part of its name: `sim/latency=0.2,jitter=0.5,error_rate=0.05,seed=7`. The answer
is a function of the request, so that a wrong or shifted answer is detected and not guessed.
"""

import asyncio
import hashlib
import random
from collections.abc import Sequence
from typing import Annotated

import msgspec
import orjson
from msgspec import Meta

from llmscale.accounting.tokens import estimated_input_tokens
from llmscale.config import EndpointConfig
from llmscale.core.errors import CallFailed, ConfigError
from llmscale.core.json_text import dumps
from llmscale.core.model_name import name_at_provider
from llmscale.core.records import Failure, Reply, Request, Usage

Rate = Annotated[float, Meta(ge=0, le=1)]


class SimSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the simulated endpoint behaves. Times in seconds, rates as shares of all calls."""

    latency: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    jitter: Rate = 0.0  # latency varies by this share, up and down
    error_rate: Rate = 0.0  # answered with a server error
    rate_limit_rate: Rate = 0.0  # answered with a 429
    retry_after: Annotated[float, Meta(ge=0, le=86_400)] = 1.0  # what a 429 asks for
    tokens: Annotated[int, Meta(ge=1)] = 16  # of an answer, unless max_tokens is less
    seed: int = 0


class SimulatedModel:
    """Answers after a while, or fails, by a seeded random number."""

    def __init__(self, settings: SimSettings) -> None:
        self._settings = settings
        self._rng = random.Random(settings.seed)  # noqa: S311 (a simulation, no secret)

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer all requests after one latency. Raises `CallFailed`."""
        await self.pass_fate()
        return [self._reply(request) for request in requests]

    async def pass_fate(self) -> None:
        """Take as long as a call does, and fail as often. Raises `CallFailed`."""
        settings = self._settings
        spread = self._rng.uniform(-settings.jitter, settings.jitter)
        fate = self._rng.random()
        await asyncio.sleep(settings.latency * (1 + spread))
        if fate < settings.error_rate:
            failure = Failure(
                kind="server_error", message="simulated failure", retryable=True, status=500
            )
            raise CallFailed(failure)
        if fate < settings.error_rate + settings.rate_limit_rate:
            raise CallFailed(
                Failure(
                    kind="rate_limited",
                    message="simulated rate limit",
                    retryable=True,
                    retry_after_s=settings.retry_after,
                    status=429,
                )
            )

    @property
    def quota(self) -> None:
        """There are no limits here but those of the machine."""

    async def aclose(self) -> None:
        """Nothing is held."""

    def _reply(self, request: Request) -> Reply:
        asked = self._settings.tokens
        tokens = min(asked, request.max_tokens or asked)
        return Reply(
            text=simulated_answer(request),
            finish_reason="stop" if tokens == asked else "length",
            model=name_at_provider(request.model),
            usage=Usage(input_tokens=estimated_input_tokens(request), output_tokens=tokens),
            cost_usd=0.0,
        )


def simulated_answer(request: Request) -> str:
    """Return the one answer to a request, whatever the settings."""
    question = dumps(request.messages, orjson.OPT_SORT_KEYS)
    return f"A:{hashlib.sha256(question).hexdigest()[:16]}"


def open_endpoint(
    name: str, endpoint: EndpointConfig, capacity: int, allow_hosts: frozenset[str]
) -> SimulatedModel:
    """Open the endpoint that `name` describes."""
    del endpoint, capacity, allow_hosts
    return SimulatedModel(read_settings(name))


def read_settings(name: str) -> SimSettings:
    """Read `key=value,key=value`; a bare word is just a name. Raises `ConfigError`."""
    pairs = dict(part.partition("=")[::2] for part in name.split(",") if "=" in part)
    try:
        return msgspec.convert(pairs, SimSettings, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(SimSettings.__struct_fields__)
        what = str(error).replace("`", "").replace("Object contains unknown field", "no setting")
        what = what[:1].lower() + what[1:]
        raise ConfigError(f"sim/{name}: {what}; settings are {known}") from None
