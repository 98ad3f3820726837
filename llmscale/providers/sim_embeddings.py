"""Simulated vectors: a function of the text, so that a wrong or shifted one is detected."""

import hashlib
from collections.abc import Sequence

import numpy as np

from llmscale.accounting.tokens import estimated_input_tokens
from llmscale.config import EndpointConfig
from llmscale.core.model_name import name_at_provider
from llmscale.core.records import Reply, Request, Usage
from llmscale.core.vectors import LITTLE_FLOAT32
from llmscale.providers.sim import SimulatedModel, read_settings

DIMENSIONS = 64


class SimulatedVectors(SimulatedModel):
    """As slow, and as likely to fail, as its settings say."""

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer all texts after one latency. Raises `CallFailed`."""
        await self.pass_fate()
        return [_reply(request) for request in requests]


def open_endpoint(
    name: str, endpoint: EndpointConfig, capacity: int, allow_hosts: frozenset[str]
) -> SimulatedVectors:
    """Read the settings out of the name. Raises `ConfigError`."""
    del endpoint, capacity, allow_hosts
    return SimulatedVectors(read_settings(name))


def _reply(request: Request) -> Reply:
    text = request.text or ""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    numbers = np.random.default_rng(seed).standard_normal(request.dimensions or DIMENSIONS)
    return Reply(
        text=None,
        finish_reason="stop",
        model=name_at_provider(request.model),
        usage=Usage(input_tokens=estimated_input_tokens(request)),
        vector=(numbers / np.linalg.norm(numbers)).astype(LITTLE_FLOAT32).tobytes(),
    )
