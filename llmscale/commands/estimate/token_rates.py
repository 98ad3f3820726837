"""Dollars per token of a model, over all endpoints that serve it."""

from typing import NamedTuple

from llmscale.config import CostConfig
from llmscale.core.records import Usage
from llmscale.runtime.costs import prices_at
from llmscale.runtime.models import Models

_TOKENS = 1_000  # that a price is computed for: below all volume steps of price lists


class TokenRates(NamedTuple):
    """Dollars per token at the cheapest and at the dearest endpoint, with or without prompt cache.

    All 0: the model is free.
    """

    min_input: float
    max_input: float
    min_output: float
    max_output: float


def token_rates(cost: CostConfig, models: Models, model: str) -> TokenRates | None:
    """Return what tokens of a model cost; None where an endpoint has no known price."""
    inputs, outputs = [], []
    for endpoint in models.endpoints_of(model):
        prices = prices_at(cost, endpoint)
        inputs += [
            prices.cost_usd(model, usage)
            for usage in (Usage(_TOKENS), Usage(_TOKENS, cached_input_tokens=_TOKENS))
        ]
        outputs.append(prices.cost_usd(model, Usage(output_tokens=_TOKENS)))
    known = [usd / _TOKENS for usd in inputs if usd is not None]
    known_output = [usd / _TOKENS for usd in outputs if usd is not None]
    if len(known) < len(inputs) or len(known_output) < len(outputs):
        return None
    return TokenRates(min(known), max(known), min(known_output), max(known_output))
