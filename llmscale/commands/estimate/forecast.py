"""A forecast of the rows that a run sends: requests, tokens, dollars and seconds, with bounds.

There are two sources: `forecast_from_counts` uses token counts alone, `forecast_from_sample` rows
that were sent.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

import numpy as np

from llmscale.accounting.forecast.interval import UNKNOWN, Interval
from llmscale.accounting.tokens import BYTES_PER_TOKEN, OUTPUT_TOKENS
from llmscale.commands.estimate.input_counts import InputCounts
from llmscale.commands.estimate.row_columns import RowColumns, Selection
from llmscale.commands.limit_bounds import Need


class Forecast(NamedTuple):
    """What the selected rows will take."""

    asked: Interval  # rows that are sent
    input_tokens: Interval
    output_tokens: Interval
    usd: Interval
    usd_by_model: Mapping[str, Interval]
    calls: Mapping[str, Need]  # best estimate, by model
    busy_s: Mapping[str, float] | None = None  # seconds of all calls, by model; None: unknown
    busy: Interval = UNKNOWN  # the same for all models


class Forecaster(Protocol):
    """A source of forecasts."""

    def forecast(self, selection: Selection) -> Forecast:
        """Return what the selected rows will take."""
        ...


def counted_needs(
    by: Literal["models", "users"], counts: InputCounts, columns: RowColumns, selection: Selection
) -> list[Need]:
    """Return the estimated need of each model or user before any row was sent."""
    numbers = (columns.models if by == "models" else columns.users)[selection.asked]
    groups = len(counts.models if by == "models" else counts.users)
    tokens_of_row = columns.sizes[selection.asked] / BYTES_PER_TOKEN
    tokens_of_row += np.minimum(columns.max_output[selection.asked], OUTPUT_TOKENS)
    rows = np.bincount(numbers, minlength=groups) * selection.scale
    tokens = np.bincount(numbers, weights=tokens_of_row, minlength=groups) * selection.scale
    return [Need(*both) for both in zip(rows, tokens, strict=True)]
