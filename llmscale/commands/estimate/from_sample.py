"""What rows will come to by a sample of them: the mean of each stratum, with 95 % bounds.

A stratum is a part of the rows of one model, between two sizes of prompt. The size of every prompt
is known, and tokens of input go with it: so it corrects the means. How the bounds are made is told
in `forecast.prediction`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmscale.accounting.forecast.interval import UNKNOWN, Interval
from llmscale.accounting.forecast.prediction import Part, predicted
from llmscale.accounting.forecast.saved_estimate import Observation, Overhead, Sample
from llmscale.accounting.forecast.strata import Strata, collapsed
from llmscale.commands.estimate.figures import Figures, Rates, need
from llmscale.commands.estimate.input_counts import Columns, Extent, InputCounts
from llmscale.commands.limits import Need
from llmscale.core.records import Usage

Floats = NDArray[np.float64]
Price = Callable[[Observation, str], float | None]
"""Dollars for the tokens of an observation, of a row that asks for a model."""


class _Quantity(NamedTuple):
    """A value for each observation, and for each model what one more character adds to it."""

    values: Floats
    slopes: Floats


class _Stratum(NamedTuple):
    """Rows of a model that a run sends, and which observations tell of them."""

    model: int
    seen: NDArray[np.bool_]
    rest: float
    rest_size: float
    repeats: float  # rows that ask the same again, for each row that is sent


class FromSample:
    """Forecasts from a census and what came of some of its rows."""

    def __init__(
        self,
        census: InputCounts,
        columns: Columns,
        sample: Sample,
        rates: Mapping[str, Rates | None],
        price: Price,
    ) -> None:
        self._names = census.models
        self._columns = columns
        seen = _usable(sample.observations, columns)
        indexes = np.array([o.index for o in seen], np.int64)
        self._indexes = indexes
        self._models = columns.models[indexes].astype(np.int64)
        self._sizes = columns.sizes[indexes].astype(np.float64)
        self._kept = np.array([o.kept for o in seen], np.bool_)
        self._set_quantities(seen, sample.overhead, rates, price)
        self._set_strata()

    @property
    def says_something(self) -> bool:
        """Tell whether any row of the sample was answered."""
        return bool(self._indexes.size)

    @property
    def usd_deviation(self) -> float:
        """How much the cost of one row differs; 0 where no price is known."""
        values = self._usd.values
        return float(values.std()) if values.size and not np.isnan(values).any() else 0.0

    def figures(self, sent: Extent) -> Figures:
        """Return the estimates."""
        strata = [self._stratum(number, sent) for number in range(self._strata_count)]
        of_model = {
            name: [stratum for stratum in strata if stratum.model == number]
            for number, name in enumerate(self._names)
        }
        return Figures(
            asked=self._total(strata, self._rows),
            input_tokens=self._total(strata, self._input),
            output_tokens=self._total(strata, self._output),
            usd=self._total(strata, self._usd),
            usd_of_models={name: self._total(own, self._usd) for name, own in of_model.items()},
            calls={name: self._need(own) for name, own in of_model.items()},
            busy_s={name: self._best(own, self._busy) for name, own in of_model.items()},
            busy=self._total(strata, self._busy),
        )

    def _set_quantities(
        self,
        seen: Sequence[Observation],
        overhead: Mapping[str, Overhead],
        rates: Mapping[str, Rates | None],
        price: Price,
    ) -> None:
        names = [self._names[number] for number in self._models]
        usages = [o.usage or Usage() for o in seen]
        attempts = _floats(overhead.get(name, Overhead()).attempts for name in names)
        more = _floats(overhead.get(name, Overhead()).tokens for name in names)
        none = np.zeros(len(self._names))
        tokens = _floats(u.input_tokens for u in usages) * more
        per_character = self._ratios(tokens)
        input_usd = _floats(r.max_input if (r := rates[n]) else 0.0 for n in self._names)
        prices = (0.0 if o.usage is None else price(o, n) for o, n in zip(seen, names, strict=True))
        self._rows = _Quantity(np.ones(len(seen)), none)
        self._attempts = _Quantity(attempts, none)
        self._input = _Quantity(tokens, per_character)
        self._output = _Quantity(_floats(u.output_tokens for u in usages) * more, none)
        self._usd = _Quantity(
            _floats(np.nan if usd is None else usd for usd in prices) * more,
            per_character * input_usd,
        )
        self._busy = _Quantity(self._latencies(seen) * attempts, none)

    def _ratios(self, tokens: Floats) -> Floats:
        """Return the tokens of input for a character, by model."""
        count = len(self._names)
        sums = np.bincount(self._models, weights=tokens, minlength=count)
        sizes = np.bincount(self._models, weights=self._sizes, minlength=count)
        return np.divide(sums, sizes, out=np.zeros(count), where=sizes > 0)

    def _latencies(self, seen: Sequence[Observation]) -> Floats:
        """Return the seconds of the calls; one that failed is taken to be as long as others."""
        found = _floats(np.nan if o.latency_s is None else o.latency_s for o in seen)
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
        seen = np.bincount(of_rows[self._indexes], minlength=strata.count)
        groups = [strata.of_model(number) for number in range(count)]
        joined = collapsed(seen, groups)
        self._of_rows = joined[of_rows]
        self._of_seen = self._of_rows[self._indexes]
        self._strata_count = strata.count
        self._model_of_stratum = [n for n, group in enumerate(groups) for _ in group]

    def _stratum(self, number: int, sent: Extent) -> _Stratum:
        own = sent.within(self._of_rows == number)
        seen = self._of_seen == number
        # rows of the sample whose answers are in the cache by now, and which are not sent again
        now_kept = seen & self._kept & own.asked[self._indexes] & (not sent.afresh)
        return _Stratum(
            self._model_of_stratum[number],
            seen,
            own.rows - float(now_kept.sum()),
            own.total(self._columns.sizes) - float(self._sizes[now_kept].sum()),
            float(own.repeated.sum() / own.asked.sum()) if own.asked.any() else 0.0,
        )

    def _total(self, strata: Iterable[_Stratum], quantity: _Quantity) -> Interval:
        parts = []
        for model, seen, rest, rest_size, repeats in strata:
            # equal rows are asked again where an answer is none that can be kept
            times = 1 + repeats * ~self._kept[seen]
            values = quantity.values[seen] * times
            if rest and np.isnan(values).any():
                return UNKNOWN
            slope = float(quantity.slopes[model])
            parts.append(Part(values, self._sizes[seen], rest, rest_size, slope))
        return predicted(parts)

    def _best(self, strata: Iterable[_Stratum], quantity: _Quantity) -> float:
        return self._total(strata, quantity).estimate or 0.0

    def _need(self, strata: Sequence[_Stratum]) -> Need:
        tokens = self._best(strata, self._input) + self._best(strata, self._output)
        return need(self._best(strata, self._attempts), tokens)


def _usable(observations: Iterable[Observation], columns: Columns) -> list[Observation]:
    """Return those of rows that there are, of models that have answered at all."""
    rows = len(columns.is_row)
    there = [o for o in observations if o.index < rows and columns.is_row[o.index]]
    answering = {columns.models[o.index] for o in there if o.failure is None}
    return [o for o in there if columns.models[o.index] in answering]


def _floats(values: Iterable[float]) -> Floats:
    return np.array(list(values), np.float64)
