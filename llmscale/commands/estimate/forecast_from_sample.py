"""A forecast from a sample: the mean of each stratum, with 95 % bounds.

A stratum is the rows of one model whose prompts lie between two sizes. The size of every prompt is
known and input tokens grow with it, so it corrects the means. `accounting.forecast.prediction`
computes the bounds and names their sources.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from llmscale.accounting.forecast.interval import UNKNOWN, Interval
from llmscale.accounting.forecast.prediction import StratumSample, predict_total
from llmscale.accounting.forecast.saved_estimate import Sample
from llmscale.accounting.forecast.strata import Strata, collapse
from llmscale.commands.estimate.forecast import Forecast
from llmscale.commands.estimate.row_columns import Mask, RowColumns, Selection
from llmscale.commands.estimate.sample_quantities import (
    Price,
    Quantity,
    observed_rows,
    quantities_of,
)
from llmscale.commands.estimate.token_rates import TokenRates
from llmscale.commands.limit_bounds import Need


class _Stratum(NamedTuple):
    """Rows of one model that a run sends, and the observations that stand for them."""

    model: int
    observed: Mask  # over all observations
    remaining: float  # rows to predict
    remaining_size: float  # sum of their sizes
    repeats: float  # rows with a repeated request, per row that is sent


class ForecasterFromSample:
    """Forecasts from the columns of an input and the observations of some of its rows."""

    def __init__(
        self,
        columns: RowColumns,
        sample: Sample,
        rates: Mapping[str, TokenRates | None],
        price: Price,
    ) -> None:
        """`rates` of all models of the input, in the order of their numbers."""
        self._names = list(rates)
        self._columns = columns
        self._observed = observed_rows(sample, columns)
        self._quantities = quantities_of(self._observed, sample.overhead, rates, price)
        strata = self._strata()
        groups = [strata.of_model(number) for number in range(len(self._names))]
        of_rows = strata.of(columns.models, columns.sizes)
        counts = np.bincount(of_rows[self._observed.indexes], minlength=strata.count)
        self._model_of_stratum = [n for n, group in enumerate(groups) for _ in group]
        self._of_rows = collapse(counts, groups)[of_rows]
        self._of_observed = self._of_rows[self._observed.indexes]

    @property
    def has_answers(self) -> bool:
        """Tell whether any row of the sample was answered."""
        return bool(self._observed.observations)

    @property
    def usd_deviation(self) -> float:
        """Standard deviation of the cost of one row; 0 where no price is known."""
        values = self._quantities.usd.values
        return float(values.std()) if values.size and not np.isnan(values).any() else 0.0

    def forecast(self, selection: Selection) -> Forecast:
        """Return estimates with 95 % bounds."""
        strata = [self._stratum(number, selection) for number in range(len(self._model_of_stratum))]
        by_model = {
            name: [stratum for stratum in strata if stratum.model == number]
            for number, name in enumerate(self._names)
        }
        took = self._quantities
        return Forecast(
            asked=self._total(strata, took.rows),
            input_tokens=self._total(strata, took.input_tokens),
            output_tokens=self._total(strata, took.output_tokens),
            usd=self._total(strata, took.usd),
            usd_by_model={name: self._total(own, took.usd) for name, own in by_model.items()},
            calls={name: self._need(own) for name, own in by_model.items()},
            busy_s={name: self._best(own, took.busy_s) for name, own in by_model.items()},
            busy=self._total(strata, took.busy_s),
        )

    def _strata(self) -> Strata:
        columns = self._columns
        population = columns.first & ~columns.answered
        sampled = np.bincount(self._observed.models, minlength=len(self._names))
        return Strata(columns.models[population], columns.sizes[population], sampled)

    def _stratum(self, number: int, selection: Selection) -> _Stratum:
        rows, sample = selection.where(self._of_rows == number), self._observed
        observed = self._of_observed == number
        # sampled rows whose answers are cached by now, so that a run does not send them
        done = observed & sample.kept & rows.asked[sample.indexes] & (not selection.from_scratch)
        return _Stratum(
            self._model_of_stratum[number],
            observed,
            rows.rows - float(done.sum()),
            rows.total(self._columns.sizes) - float(sample.sizes[done].sum()),
            float(rows.repeated.sum() / rows.asked.sum()) if rows.asked.any() else 0.0,
        )

    def _total(self, strata: Iterable[_Stratum], quantity: Quantity) -> Interval:
        samples = []
        for model, observed, remaining, remaining_size, repeats in strata:
            # repeated requests are sent too where the answer is not cached
            times = 1 + repeats * ~self._observed.kept[observed]
            values = quantity.values[observed] * times
            if remaining and np.isnan(values).any():
                return UNKNOWN
            sizes, slope = self._observed.sizes[observed], float(quantity.slopes[model])
            samples.append(StratumSample(values, sizes, remaining, remaining_size, slope))
        return predict_total(samples)

    def _best(self, strata: Iterable[_Stratum], quantity: Quantity) -> float:
        return self._total(strata, quantity).estimate or 0.0

    def _need(self, strata: Sequence[_Stratum]) -> Need:
        took = self._quantities
        tokens = self._best(strata, took.input_tokens) + self._best(strata, took.output_tokens)
        return Need(self._best(strata, took.attempts), tokens)
