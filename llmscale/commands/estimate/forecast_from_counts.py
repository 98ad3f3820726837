"""A forecast from token counts alone: bounds, because nothing was sent.

The length of an answer is unknown before the call. So the lower bound is one token per answer and
few tokens per prompt, the upper bound what `max_tokens` and the bytes of the prompt allow. There is
no best estimate of dollars in between.
"""

from collections.abc import Mapping
from typing import NamedTuple

from llmscale.accounting.forecast.interval import NOTHING, UNKNOWN, Interval, sum_intervals
from llmscale.accounting.tokens import BYTES_PER_TOKEN
from llmscale.commands.estimate.forecast import Forecast, counted_needs
from llmscale.commands.estimate.input_counts import InputCounts
from llmscale.commands.estimate.row_columns import UNBOUNDED, Counts, RowColumns, Selection
from llmscale.commands.estimate.token_rates import TokenRates

MAX_CHARACTERS_PER_TOKEN = 8.0  # a bound: few texts of any script have more


class _Amounts(NamedTuple):
    asked: Interval
    input_tokens: Interval
    output_tokens: Interval
    usd: Interval


class ForecasterFromCounts:
    """Forecasts from the counts of an input."""

    def __init__(
        self, counts: InputCounts, columns: RowColumns, rates: Mapping[str, TokenRates | None]
    ) -> None:
        """`rates` of each model of the input."""
        self._counts = counts
        self._columns = columns
        self._rates = rates

    def forecast(self, selection: Selection) -> Forecast:
        """Return the bounds."""
        models = self._counts.models
        amounts = [self._amounts(number, selection) for number in range(len(models))]
        needs = counted_needs("models", self._counts, self._columns, selection)
        return Forecast(
            asked=sum_intervals(a.asked for a in amounts),
            input_tokens=sum_intervals(a.input_tokens for a in amounts),
            output_tokens=sum_intervals(a.output_tokens for a in amounts),
            usd=sum_intervals(a.usd for a in amounts),
            usd_by_model={model: a.usd for model, a in zip(models, amounts, strict=True)},
            calls={model: need for model, need in zip(models, needs, strict=True) if need.rows},
        )

    def _amounts(self, number: int, selection: Selection) -> _Amounts:
        """Return what the rows of one model take."""
        columns, rates = self._columns, self._rates[self._counts.models[number]]
        least = selection.where(columns.models == number)
        most = least.with_repeated()
        if not most.rows:
            return _Amounts(NOTHING, NOTHING, NOTHING, NOTHING)
        tokens = Interval(
            least.total(columns.sizes) / BYTES_PER_TOKEN,
            least.total(columns.text_sizes) / MAX_CHARACTERS_PER_TOKEN,
            _bound(columns.max_input, most),
        )
        output = Interval(None, least.rows, _bound(columns.max_output, most))
        usd = UNKNOWN if rates is None else _dollars(rates, tokens, output)
        return _Amounts(Interval(least.rows, least.rows, most.rows), tokens, output, usd)


def _bound(column: Counts, selection: Selection) -> float | None:
    """Return the sum of bounds; None where one of the rows has none."""
    is_unbounded = (column[selection.asked] == UNBOUNDED).any()
    return None if is_unbounded else selection.total(column)


def _dollars(rates: TokenRates, tokens: Interval, output: Interval) -> Interval:
    low = (tokens.low or 0.0) * rates.min_input + (output.low or 0.0) * rates.min_output
    if not (rates.max_input or rates.max_output):
        return NOTHING  # free, however long the answers are
    if tokens.high is None or output.high is None:
        return Interval(None, low, None)
    high = tokens.high * rates.max_input + output.high * rates.max_output
    return Interval(None, low, high)
