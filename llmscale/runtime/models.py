"""Which endpoints answer for which model, and with how many calls at once, by the settings."""

import os
from collections.abc import Mapping

from msgspec.structs import replace

from llmscale.config import EndpointConfig, ModelsConfig
from llmscale.config.addresses import check_address, host_of
from llmscale.core.errors import ConfigError
from llmscale.core.model_name import split_model_name
from llmscale.providers import PROVIDERS, Task, base_url_of, default_capacity, spec_of, split_model

DEFAULT_CONCURRENCY = 64
DEFAULT_BATCHES = 16  # in flight, of texts to be embedded


def capacity_of(concurrency: int | None, endpoint: EndpointConfig, task: Task = "chat") -> int:
    """Return how many calls an endpoint may have in flight. `concurrency` None: not set."""
    return (
        endpoint.capacity
        or default_capacity(endpoint.model, task)
        or concurrency
        or (DEFAULT_CONCURRENCY if task == "chat" else DEFAULT_BATCHES)
    )


class Models:
    """Names of models as rows write them, and the endpoints behind them."""

    def __init__(self, config: ModelsConfig, environ: Mapping[str, str] = os.environ) -> None:
        """An address in the environment, such as OPENAI_BASE_URL, replaces the provider's own.

        Raises `ConfigError` for an endpoint of no known provider, and for such an address that
        can't be used.
        """
        self.by_variable: dict[str, str] = {}
        """Addresses that the environment names, by variable; a key may go there."""
        self.endpoints = tuple(self._addressed(e, environ) for e in config.endpoints())
        self.allow_hosts = frozenset((*config.allow_host, *map(host_of, self.by_variable.values())))
        """Hosts that a key may go to beside the provider's own."""
        self._own_provider, _ = split_model(config.default_model)
        self._has_gateway = self.endpoints[0].base_url is not None
        self._fallback = config.fallback

    def _addressed(self, endpoint: EndpointConfig, environ: Mapping[str, str]) -> EndpointConfig:
        spec = spec_of(endpoint.model)
        address = environ.get(spec.base_url_variable, "").strip().rstrip("/")
        if not address or endpoint.base_url is not None:
            return endpoint
        try:
            check_address(address, None)
            if not address.startswith(("http://", "https://")):
                raise ValueError(f"{address!r} is no address; write http(s)://HOST[:PORT]/v1")
        except ValueError as error:
            raise ConfigError(f"{spec.base_url_variable}: {error}") from None
        addressed = replace(endpoint, base_url=address)
        if base_url_of(addressed) == spec.base_url:  # its own, at its own prices
            return endpoint
        self.by_variable[spec.base_url_variable] = address
        return addressed

    def fallbacks(self) -> dict[str, list[str]]:
        """Return for each model that answers here those that answer when it can't.

        Raises `ConfigError` for one that no endpoint answers for.
        """
        found = {}
        for model, others in self._fallback.items():
            try:
                resolved = self.resolve(model)
            except LookupError:
                continue  # not a model of this run
            try:
                found[resolved] = [self.resolve(other) for other in others]
            except LookupError as error:
                raise ConfigError(f"fallback of {model}: {error.args[0]}") from None
        return found

    def resolve(self, model: str, *, is_literal: bool = False) -> str:
        """Return the full name of a model: a bare name is one of the run's own provider.

        `is_literal`: as the server of the run is to be sent it. Gateways have models such as
        `openai/gpt-oss-20b`, which is the whole name there.

        Raises `LookupError` with a sentence where no endpoint answers for it.
        """
        provider, name = split_model_name(model)
        own = f"{self._own_provider}/{model}"
        is_own = (is_literal and self._has_gateway) or any(e.model == own for e in self.endpoints)
        if is_own or provider not in PROVIDERS or not name:
            model = own
        if not self.endpoints_of(model):
            known = ", ".join(sorted({e.model for e in self.endpoints}))
            raise LookupError(f"no endpoint answers for model {model}; there is {known}")
        return model

    def endpoints_of(self, model: str) -> list[EndpointConfig]:
        """Return the endpoints that were set up for a model, else those that take any name."""
        exact = [e for e in self.endpoints if e.model == model]
        spec = spec_of(model)
        if exact or not spec.takes_any_model:
            return exact
        return [e for e in self.endpoints if spec_of(e.model) is spec]

    def label(self, endpoint: EndpointConfig) -> str:
        """Return the name of an endpoint in the report: its model, and its address where needed."""
        same = [e for e in self.endpoints if e.model == endpoint.model]
        if len(same) == 1:
            return endpoint.model
        return f"{endpoint.model} {endpoint.base_url or f'#{same.index(endpoint) + 1}'}"
