"""A forecast from a sample: the mean of each stratum, with 95 % bounds.

A stratum is the rows of one model whose prompts lie between two sizes. The size of every prompt is
known and input tokens grow with it, so it corrects the means. `accounting.forecast.prediction`
computes the bounds and names their sources.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmscale.accounting.forecast.interval import UNKNOWN, Interval
from llmscale.accounting.forecast.prediction import StratumSample, predict_total
from llmscale.accounting.forecast.saved_estimate import Observation, Overhead, Sample
from llmscale.accounting.forecast.strata import Strata, collapse
from llmscale.commands.estimate.forecast import Forecast
from llmscale.commands.estimate.input_counts import InputCounts
from llmscale.commands.estimate.row_columns import Mask, RowColumns, Selection
from llmscale.commands.estimate.token_rates import TokenRates
from llmscale.commands.limit_bounds import Need
from llmscale.core.records import Usage

Floats = NDArray[np.float64]
Price = Callable[[Observation, str], float | None]
"""Returns the dollars for the tokens of an observation whose row asks for that model."""


class _Quantity(NamedTuple):
    """A value per observation, and per model what one more character adds to it."""

    values: Floats
    slopes: Floats


class _Stratum(NamedTuple):
    """Rows of one model that a run sends, and the observations that stand for them."""

    model: int
    observed: Mask  # over all observations
    remaining: float  # rows to predict
    remaining_size: float  # sum of their sizes
    repeats: float  # rows with a repeated request, per row that is sent


class ForecasterFromSample:
    """Forecasts from the counts of an input and the observations of some of its rows."""

    def __init__(
        self,
        counts: InputCounts,
        columns: RowColumns,
        sample: Sample,
        rates: Mapping[str, TokenRates | None],
        price: Price,
    ) -> None:
        self._names = counts.models
        self._columns = columns
        observations = _usable(sample.observations, columns)
        indexes = np.array([o.index for o in observations], np.int64)
        self._indexes = indexes
        self._models = columns.models[indexes].astype(np.int64)
        self._sizes = columns.sizes[indexes].astype(np.float64)
        self._kept = np.array([o.kept for o in observations], np.bool_)
        self._set_quantities(observations, sample.overhead, rates, price)
        self._set_strata()

    @property
    def has_answers(self) -> bool:
        """Tell whether any row of the sample was answered."""
        return bool(self._indexes.size)

    @property
    def usd_deviation(self) -> float:
        """Standard deviation of the cost of one row; 0 where no price is known."""
        values = self._usd.values
        return float(values.std()) if values.size and not np.isnan(values).any() else 0.0

    def forecast(self, selection: Selection) -> Forecast:
        """Return estimates with 95 % bounds."""
        strata = [self._stratum(number, selection) for number in range(self._strata_count)]
        by_model = {
            name: [stratum for stratum in strata if stratum.model == number]
            for number, name in enumerate(self._names)
        }
        return Forecast(
            asked=self._total(strata, self._rows),
            input_tokens=self._total(strata, self._input),
            output_tokens=self._total(strata, self._output),
            usd=self._total(strata, self._usd),
            usd_by_model={name: self._total(own, self._usd) for name, own in by_model.items()},
            calls={name: self._need(own) for name, own in by_model.items()},
            busy_s={name: self._best(own, self._busy) for name, own in by_model.items()},
            busy=self._total(strata, self._busy),
        )

    def _set_quantities(
        self,
        observations: Sequence[Observation],
        overhead: Mapping[str, Overhead],
        rates: Mapping[str, TokenRates | None],
        price: Price,
    ) -> None:
        names = [self._names[number] for number in self._models]
        usages = [o.usage or Usage() for o in observations]
        attempts = _floats(overhead.get(name, Overhead()).attempts for name in names)
        more = _floats(overhead.get(name, Overhead()).tokens for name in names)
        no_slope = np.zeros(len(self._names))
        tokens = _floats(u.input_tokens for u in usages) * more
        per_character = self._tokens_per_character(tokens)
        input_usd = _floats(r.max_input if (r := rates[n]) else 0.0 for n in self._names)
        pairs = zip(observations, names, strict=True)
        prices = (0.0 if o.usage is None else price(o, name) for o, name in pairs)
        usd = _floats(np.nan if usd is None else usd for usd in prices) * more
        self._rows = _Quantity(np.ones(len(observations)), no_slope)
        self._attempts = _Quantity(attempts, no_slope)
        self._input = _Quantity(tokens, per_character)
        self._output = _Quantity(_floats(u.output_tokens for u in usages) * more, no_slope)
        self._usd = _Quantity(usd, per_character * input_usd)
        self._busy = _Quantity(self._latencies(observations) * attempts, no_slope)

    def _tokens_per_character(self, tokens: Floats) -> Floats:
        """Return the input tokens per character, by model."""
        count = len(self._names)
        sums = np.bincount(self._models, weights=tokens, minlength=count)
        sizes = np.bincount(self._models, weights=self._sizes, minlength=count)
        return np.divide(sums, sizes, out=np.zeros(count), where=sizes > 0)

    def _latencies(self, observations: Sequence[Observation]) -> Floats:
        """Return the seconds of the calls; a failed one gets the mean of its model."""
        found = _floats(np.nan if o.latency_s is None else o.latency_s for o in observations)
        for model in set(self._models):
            own = self._models == model
            found[own & np.isnan(found)] = np.nanmean(found[own])
        return found

    def _set_strata(self) -> None:
        columns, count = self._columns, len(self._names)
        population = columns.first & ~columns.answered
        strata = Strata(
            columns.models[population],
            columns.sizes[population],
            np.bincount(self._models, minlength=count),
        )
        of_rows = strata.of(columns.models, columns.sizes)
        observed = np.bincount(of_rows[self._indexes], minlength=strata.count)
        groups = [strata.of_model(number) for number in range(count)]
        self._of_rows = collapse(observed, groups)[of_rows]
        self._of_observations = self._of_rows[self._indexes]
        self._strata_count = strata.count
        self._model_of_stratum = [n for n, group in enumerate(groups) for _ in group]

    def _stratum(self, number: int, selection: Selection) -> _Stratum:
        own = selection.where(self._of_rows == number)
        observed = self._of_observations == number
        # rows of the sample whose answers are cached by now, so that a run does not send them
        done = observed & self._kept & own.asked[self._indexes] & (not selection.from_scratch)
        return _Stratum(
            self._model_of_stratum[number],
            observed,
            own.rows - float(done.sum()),
            own.total(self._columns.sizes) - float(self._sizes[done].sum()),
            float(own.repeated.sum() / own.asked.sum()) if own.asked.any() else 0.0,
        )

    def _total(self, strata: Iterable[_Stratum], quantity: _Quantity) -> Interval:
        samples = []
        for model, observed, remaining, remaining_size, repeats in strata:
            # repeated requests are sent too where the answer is not cached
            times = 1 + repeats * ~self._kept[observed]
            values = quantity.values[observed] * times
            if remaining and np.isnan(values).any():
                return UNKNOWN
            sizes, slope = self._sizes[observed], float(quantity.slopes[model])
            samples.append(StratumSample(values, sizes, remaining, remaining_size, slope))
        return predict_total(samples)

    def _best(self, strata: Iterable[_Stratum], quantity: _Quantity) -> float:
        return self._total(strata, quantity).estimate or 0.0

    def _need(self, strata: Sequence[_Stratum]) -> Need:
        tokens = self._best(strata, self._input) + self._best(strata, self._output)
        return Need(self._best(strata, self._attempts), tokens)


def _usable(observations: Iterable[Observation], columns: RowColumns) -> list[Observation]:
    """Return the observations of rows that exist, of models that answered at least once."""
    rows = len(columns.is_row)
    existing = [o for o in observations if o.index < rows and columns.is_row[o.index]]
    answering = {columns.models[o.index] for o in existing if o.failure is None}
    return [o for o in existing if columns.models[o.index] in answering]


def _floats(values: Iterable[float]) -> Floats:
    return np.array(list(values), np.float64)
