"""What each observed row of a sample took: calls, tokens, dollars and seconds, as columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from llmscale.accounting.forecast.prediction import Floats
from llmscale.accounting.forecast.saved_estimate import Observation, Overhead, Sample
from llmscale.accounting.forecast.strata import Ints
from llmscale.commands.estimate.row_columns import Mask, RowColumns
from llmscale.commands.estimate.token_rates import TokenRates
from llmscale.core.records import Usage

Price = Callable[[Observation, str], float | None]
"""Returns the dollars for the tokens of an observation whose row asks for that model."""


class Observed(NamedTuple):
    """The usable observations of a sample."""

    observations: Sequence[Observation]
    indexes: Ints
    models: Ints  # numbers of the models that their rows ask for
    sizes: Floats  # bytes of what the model reads
    kept: Mask  # their answers are in the cache


class Quantity(NamedTuple):
    """A value per observation, and per model what one more byte adds to it."""

    values: Floats
    slopes: Floats


class Quantities(NamedTuple):
    """What the observed rows took, including the overhead of retries. NaN: unknown."""

    rows: Quantity  # 1 each
    attempts: Quantity
    input_tokens: Quantity
    output_tokens: Quantity
    usd: Quantity
    busy_s: Quantity  # seconds of all calls


def observed_rows(sample: Sample, columns: RowColumns) -> Observed:
    """Return the observations of rows that exist, of models that answered at least once."""
    rows = len(columns.is_row)
    existing = [o for o in sample.observations if o.index < rows and columns.is_row[o.index]]
    answering = {columns.models[o.index] for o in existing if o.failure is None}
    usable = [o for o in existing if columns.models[o.index] in answering]
    indexes = np.array([o.index for o in usable], np.int64)
    return Observed(
        usable,
        indexes,
        columns.models[indexes].astype(np.int64),
        columns.sizes[indexes].astype(np.float64),
        np.array([o.kept for o in usable], np.bool_),
    )


def quantities_of(
    observed: Observed,
    overhead: Mapping[str, Overhead],
    rates: Mapping[str, TokenRates | None],
    price: Price,
) -> Quantities:
    """Return what the observed rows took. `rates` of all models, in the order of their numbers."""
    models = list(rates)
    names = [models[number] for number in observed.models]
    usages = [o.usage or Usage() for o in observed.observations]
    attempts = _floats(overhead.get(name, Overhead()).attempts for name in names)
    more = _floats(overhead.get(name, Overhead()).tokens for name in names)
    tokens = _floats(u.input_tokens for u in usages) * more
    per_byte = _tokens_per_byte(observed, tokens, len(models))
    input_usd = _floats(0.0 if rate is None else rate.max_input for rate in rates.values())
    no_slope = np.zeros(len(models))
    return Quantities(
        rows=Quantity(np.ones(len(names)), no_slope),
        attempts=Quantity(attempts, no_slope),
        input_tokens=Quantity(tokens, per_byte),
        output_tokens=Quantity(_floats(u.output_tokens for u in usages) * more, no_slope),
        usd=Quantity(_prices(observed, names, price) * more, per_byte * input_usd),
        busy_s=Quantity(_latencies(observed) * attempts, no_slope),
    )


def _tokens_per_byte(observed: Observed, tokens: Floats, models: int) -> Floats:
    """Return the input tokens per byte, by model."""
    sums = np.bincount(observed.models, weights=tokens, minlength=models)
    sizes = np.bincount(observed.models, weights=observed.sizes, minlength=models)
    return np.divide(sums, sizes, out=np.zeros(models), where=sizes > 0)


def _prices(observed: Observed, names: Iterable[str], price: Price) -> Floats:
    """Return the dollars for the tokens; NaN where the price is unknown."""
    pairs = zip(observed.observations, names, strict=True)
    prices = (0.0 if o.usage is None else price(o, name) for o, name in pairs)
    return _floats(np.nan if usd is None else usd for usd in prices)


def _latencies(observed: Observed) -> Floats:
    """Return the seconds of the calls; a failed one gets the mean of its model."""
    latencies = (o.latency_s for o in observed.observations)
    found = _floats(np.nan if seconds is None else seconds for seconds in latencies)
    for model in set(observed.models):
        own = observed.models == model
        found[own & np.isnan(found)] = np.nanmean(found[own])
    return found


def _floats(values: Iterable[float]) -> Floats:
    return np.array(list(values), np.float64)
