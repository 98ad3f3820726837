"""What a call costs, from the price list that genai-prices carries: offline, dated, never guessed.

An unknown price is None, never zero. Only calls to a provider's own address have a list price; a
model in this process costs nothing.
"""

from collections.abc import Callable
from functools import lru_cache

from llmscale.records import Usage

_FREE_PROVIDERS = frozenset({"local", "sim"})

_Pricing = Callable[[Usage], float | None]


class Prices:
    """Prices at one address, by model. `is_listed`: it is the provider's own."""

    def __init__(self, *, is_listed: bool) -> None:
        self._is_listed = is_listed
        self._pricings: dict[str, _Pricing] = {}

    def cost_usd(self, model: str, usage: Usage) -> float | None:
        """Return dollars for the tokens of a call to "provider/name".

        None where the price is not known, or where the call reported no tokens to price.
        """
        if not (usage.input_tokens or usage.output_tokens):
            return None
        pricing = self._pricings.get(model)
        if pricing is None:
            pricing = self._pricings[model] = self._pricing(model)
        return pricing(usage)

    def _pricing(self, model: str) -> _Pricing:
        provider, _, name = model.partition("/")
        if provider in _FREE_PROVIDERS:
            return _free
        return _list_price(provider, name) if self._is_listed else _unknown


def _free(_: Usage) -> float | None:
    return 0.0


def _unknown(_: Usage) -> float | None:
    return None


def _list_price(provider: str, name: str) -> _Pricing:
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
        try:
            return float(price.calc_price(counted)["total_price"])
        except ValueError:  # counts that contradict each other, more cached than read
            return None

    return cost_usd
