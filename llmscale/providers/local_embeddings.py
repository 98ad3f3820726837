"""`local/wordllama`: vectors from static weights in this process, in threads, for nothing."""

import asyncio
import os
from collections.abc import Sequence

from llmscale.config import EndpointConfig
from llmscale.core.errors import CallFailed, ConfigError
from llmscale.core.records import Failure, Reply, Request, Usage
from llmscale.core.vectors import LITTLE_FLOAT32
from llmscale.providers.static_vectors import StaticVectors, UnusableText

NAME = "wordllama"


class LocalVectors:
    """Weights that were loaded once, and answer many texts a call."""

    def __init__(self) -> None:
        self._vectors = StaticVectors()

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Embed all texts. Raises `CallFailed` for a text that has no vector."""
        texts = [request.text or "" for request in requests]
        try:
            rows, tokens = await asyncio.to_thread(
                self._vectors.embed, texts, requests[0].dimensions
            )
        except UnusableText as error:
            raise CallFailed(Failure(kind="invalid_request", message=str(error))) from None
        rows = rows.astype(LITTLE_FLOAT32, copy=False)
        return [
            Reply(
                text=None,
                finish_reason="stop",
                model=NAME,
                usage=Usage(input_tokens=count),
                vector=row.tobytes(),
            )
            for row, count in zip(rows, tokens, strict=True)
        ]

    @property
    def quota(self) -> None:
        """There are no limits here but those of the machine."""

    async def aclose(self) -> None:
        """Let go of nothing: the weights go with the process."""


def default_capacity() -> int:
    """Return how many calls run at once: one for each core."""
    return os.cpu_count() or 1


def open_endpoint(
    name: str, endpoint: EndpointConfig, capacity: int, allow_hosts: frozenset[str]
) -> LocalVectors:
    """Load the weights. Raises `ConfigError` where there are none of that name."""
    del endpoint, capacity, allow_hosts
    if name != NAME:
        raise ConfigError(f"local/{name} does not embed; the model for that is local/{NAME}")
    return LocalVectors()
