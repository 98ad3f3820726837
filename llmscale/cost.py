"""What a call costs, from the price list that genai-prices carries: offline, dated, never guessed.

An unknown price is None, never zero. Only calls to a provider's own address have a list price; a
model in this process costs nothing.
"""

from collections.abc import Callable
from functools import lru_cache

from llmscale.records import Usage

Pricing = Callable[[Usage], float | None]
"""Dollars for the tokens of one call, None where the price is unknown."""

_FREE_PROVIDERS = frozenset({"local", "sim"})


def pricing_of(model: str, base_url: str | None) -> Pricing:
    """Return the pricing of a model ("provider/name") at an address (None: the provider's own)."""
    provider, _, name = model.partition("/")
    if provider in _FREE_PROVIDERS:
        return _free
    if base_url is not None:
        return _unknown
    return _list_price(provider, name)


def _free(_: Usage) -> float | None:
    return 0.0


def _unknown(_: Usage) -> float | None:
    return None


def _list_price(provider: str, name: str) -> Pricing:
    import genai_prices  # 0.1 s, so not before a price is wanted

    try:
        found = genai_prices.calc_price(genai_prices.Usage(), name, provider_id=provider)
    except LookupError:
        return _unknown
    price = found.model_price

    @lru_cache(maxsize=4096)  # short rows share their counts; a calculation takes 10 us and more
    def cost_usd(usage: Usage) -> float | None:
        counted = genai_prices.Usage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
        )
        return float(price.calc_price(counted)["total_price"])

    return cost_usd
