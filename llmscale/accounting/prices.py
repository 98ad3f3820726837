"""What a call costs: by the prices of the configuration, else by the list of genai-prices.

The list is offline and dated. An unknown price is None, never zero, and never guessed. Only calls
to a provider's own address have a list price; a model in this process costs nothing.
"""

import fnmatch
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from llmscale.core.model_name import split_model_name
from llmscale.core.records import Usage

_MILLION = 1_000_000
_STEP_TOKENS = 256  # bounds are rounded up to it, so that few of them have to be calculated

_Pricing = Callable[[Usage], float | None]


class OwnPrice(NamedTuple):
    """A price that somebody has set, in dollars for a million tokens.

    `model` may be a shell pattern. A price that is not set: of cached input and of what is written
    into a cache, that of other input; of output, unknown (embeddings have none).
    """

    model: str
    input_usd: float
    output_usd: float | None = None
    cached_input_usd: float | None = None
    cache_write_usd: float | None = None

    def cost_usd(self, usage: Usage) -> float | None:
        """Return dollars; None for counts that contradict each other, and for unpriced output."""
        fresh = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
        if fresh < 0 or (usage.output_tokens and self.output_usd is None):
            return None
        cached_usd = self.input_usd if self.cached_input_usd is None else self.cached_input_usd
        write_usd = self.input_usd if self.cache_write_usd is None else self.cache_write_usd
        return (
            fresh * self.input_usd
            + usage.cached_input_tokens * cached_usd
            + usage.cache_write_tokens * write_usd
            + usage.output_tokens * (self.output_usd or 0.0)
        ) / _MILLION


class Prices:
    """Prices at one address, by model.

    `is_listed`: the address is the provider's own. `is_free`: the models run in this process.
    """

    def __init__(
        self, *, is_listed: bool, is_free: bool = False, own: Sequence[OwnPrice] = ()
    ) -> None:
        """`own`: the first that fits a model goes before the list, at whatever address."""
        self._is_listed = is_listed
        self._is_free = is_free
        self._own = own
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

    def max_call_usd(self, model: str, input_tokens: int, output_tokens: int) -> float | None:
        """Return no less than so many tokens can cost, cached or not; None where unknown."""
        tokens = -(-input_tokens // _STEP_TOKENS) * _STEP_TOKENS
        ways = (
            Usage(tokens, output_tokens),
            Usage(tokens, output_tokens, cached_input_tokens=tokens),
            Usage(tokens, output_tokens, cache_write_tokens=tokens),
        )
        costs = [self.cost_usd(model, usage) for usage in ways]
        known = [cost_usd for cost_usd in costs if cost_usd is not None]
        return max(known) if len(known) == len(costs) else None

    def _pricing(self, model: str) -> _Pricing:
        for own in self._own:
            if fnmatch.fnmatchcase(model, own.model):
                return own.cost_usd
        if self._is_free:
            return _free
        return _list_price(*split_model_name(model)) if self._is_listed else _unknown


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
