"""What rows will come to, however that is known: the figures, and what a token costs at most.

`from_counts` makes them of token counts alone, `from_sample` of rows that were asked.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

import numpy as np

from llmscale.accounting.forecast.interval import Interval
from llmscale.accounting.tokens import CHARACTERS_PER_TOKEN, OUTPUT_TOKENS
from llmscale.commands.estimate.input_counts import Columns, Extent, InputCounts
from llmscale.commands.limits import Need
from llmscale.config import CostConfig
from llmscale.core.records import Usage
from llmscale.runtime.costs import prices_at
from llmscale.runtime.models import Models

_SOME_TOKENS = 1_000  # whose price is asked for, below all steps that list prices have


class Figures(NamedTuple):
    """What rows come to that a run sends."""

    asked: Interval
    input_tokens: Interval
    output_tokens: Interval
    usd: Interval
    usd_of_models: Mapping[str, Interval]
    calls: Mapping[str, Need]  # by model, as well as it is known
    busy_s: Mapping[str, float] | None = None  # by model; None: nobody knows how long calls take
    busy: Interval = Interval()


class Forecasts(Protocol):
    """Tells what rows will come to."""

    def figures(self, sent: Extent) -> Figures:
        """Return it for the rows that are sent."""
        ...


class Rates(NamedTuple):
    """Dollars for a token: at the cheapest endpoint and at the dearest, from a cache or not."""

    least_input: float
    max_input: float
    least_output: float
    max_answer_tokens: float


def rates_of(cost: CostConfig, models: Models, model: str) -> Rates | None:
    """Return what tokens of a model cost, None where one of its endpoints has no price."""
    some = _SOME_TOKENS
    inputs, outputs = [], []
    for endpoint in models.endpoints_of(model):
        prices = prices_at(cost, endpoint)
        inputs += [
            prices.cost_usd(model, usage)
            for usage in (Usage(some), Usage(some, cached_input_tokens=some))
        ]
        outputs.append(prices.cost_usd(model, Usage(output_tokens=some)))
    known = [usd / some for usd in inputs if usd is not None]
    known_output = [usd / some for usd in outputs if usd is not None]
    if len(known) < len(inputs) or len(known_output) < len(outputs):
        return None
    return Rates(min(known), max(known), min(known_output), max(known_output))


def needs_by(
    whose: Literal["models", "users"], census: InputCounts, columns: Columns, sent: Extent
) -> list[Need]:
    """Return what the rows of each model or user are estimated to take before one was asked."""
    numbers = (columns.models if whose == "models" else columns.users)[sent.asked]
    count = len(census.models if whose == "models" else census.users)
    of_row = columns.sizes[sent.asked] / CHARACTERS_PER_TOKEN
    of_row += np.minimum(columns.max_answer_tokens[sent.asked], OUTPUT_TOKENS)
    rows = np.bincount(numbers, minlength=count)
    tokens = np.bincount(numbers, weights=of_row, minlength=count)
    figures = zip(rows * sent.times, tokens * sent.times, strict=True)
    return [need(*both) for both in figures]


def need(rows: float, tokens: float) -> Need:
    """Return a need of whole numbers."""
    found = Need()
    found.add(round(rows), round(tokens))
    return found


def named(census: InputCounts, needs: list[Need]) -> dict[str, Need]:
    """Return needs under the names of their models, without those of which there is none."""
    return {name: n for name, n in zip(census.models, needs, strict=True) if n.rows}
