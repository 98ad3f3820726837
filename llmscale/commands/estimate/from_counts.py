"""What rows will come to by their token counts alone: between which bounds, for nothing is sent.

How long an answer will be nobody knows before. So the least is an answer of one token and a prompt
of few, and the most what `max_tokens` and the bytes of the prompt allow. There is no best guess of
dollars in between.
"""

from collections.abc import Mapping
from typing import NamedTuple

from llmscale.accounting.forecast.interval import NOTHING, UNKNOWN, Interval, together
from llmscale.accounting.tokens import CHARACTERS_PER_TOKEN
from llmscale.commands.estimate.figures import Figures, Rates, named, needs_by
from llmscale.commands.estimate.input_counts import UNBOUNDED, Columns, Counts, Extent, InputCounts

MAX_CHARACTERS_PER_TOKEN = 8.0  # twice what is usual


class _Amounts(NamedTuple):
    asked: Interval
    input_tokens: Interval
    output_tokens: Interval
    usd: Interval


class FromCounts:
    """Forecasts from a census."""

    def __init__(
        self, census: InputCounts, columns: Columns, rates: Mapping[str, Rates | None]
    ) -> None:
        """`rates` of each model of the census."""
        self._census = census
        self._columns = columns
        self._rates = rates

    def figures(self, sent: Extent) -> Figures:
        """Return the bounds."""
        names = self._census.models
        amounts = [self._amounts(number, sent) for number in range(len(names))]
        return Figures(
            asked=together(a.asked for a in amounts),
            input_tokens=together(a.input_tokens for a in amounts),
            output_tokens=together(a.output_tokens for a in amounts),
            usd=together(a.usd for a in amounts),
            usd_of_models={name: a.usd for name, a in zip(names, amounts, strict=True)},
            calls=named(self._census, needs_by("models", self._census, self._columns, sent)),
        )

    def _amounts(self, number: int, sent: Extent) -> _Amounts:
        """Return what the rows of a model come to."""
        columns, rates = self._columns, self._rates[self._census.models[number]]
        least = sent.within(columns.models == number)
        most = least.with_repeated()
        if not most.rows:
            return _Amounts(NOTHING, NOTHING, NOTHING, NOTHING)
        tokens = Interval(
            least.total(columns.sizes) / CHARACTERS_PER_TOKEN,
            least.total(columns.text_sizes) / MAX_CHARACTERS_PER_TOKEN,
            _bound(columns.max_input, most),
        )
        output = Interval(None, least.rows, _bound(columns.max_answer_tokens, most))
        usd = UNKNOWN if rates is None else _dollars(rates, tokens, output)
        return _Amounts(Interval(least.rows, least.rows, most.rows), tokens, output, usd)


def _bound(column: Counts, sent: Extent) -> float | None:
    """Return the sum of bounds, None where one of the rows has none."""
    return None if (column[sent.asked] == UNBOUNDED).any() else sent.total(column)


def _dollars(rates: Rates, tokens: Interval, output: Interval) -> Interval:
    low = (tokens.low or 0.0) * rates.least_input + (output.low or 0.0) * rates.least_output
    if not (rates.max_input or rates.max_answer_tokens):
        return NOTHING  # it costs nothing, however long it is
    if tokens.high is None or output.high is None:
        return Interval(None, low, None)
    return Interval(
        None, low, tokens.high * rates.max_input + output.high * rates.max_answer_tokens
    )
