"""Forecasts from token counts: bounds that no answer exceeds, and no best estimate."""

import numpy as np

from llmscale.accounting.forecast.interval import NOTHING, Interval
from llmscale.accounting.tokens import OUTPUT_TOKENS
from llmscale.commands.estimate.forecast import Forecast
from llmscale.commands.estimate.forecast_from_counts import ForecasterFromCounts
from llmscale.commands.estimate.input_counts import InputCounts
from llmscale.commands.estimate.row_columns import UNBOUNDED, RowColumns, select_rows
from llmscale.commands.estimate.token_rates import TokenRates
from tests.commands.estimate import columns

A_DOLLAR = TokenRates(1.0, 1.0, 1.0, 1.0)
FREE = TokenRates(0.0, 0.0, 0.0, 0.0)


def forecast(rows: RowColumns, *rates: TokenRates | None, scale: float | None = None) -> Forecast:
    counts = InputCounts(lambda _: None)
    counts.models = [f"sim/{number}" for number in range(len(rates))]
    known = dict(zip(counts.models, rates, strict=True))
    return ForecasterFromCounts(counts, rows, known).forecast(select_rows(rows, scale))


def test_bounds_are_few_tokens_and_the_limits_of_the_rows() -> None:
    found = forecast(columns(10), A_DOLLAR)
    assert found.asked == Interval(10, 10, 10)
    assert found.input_tokens == Interval(200, 50, 900)
    assert found.output_tokens == Interval(None, 10, 500)
    assert found.usd == Interval(None, 60, 1_400)
    assert (found.busy_s, found.busy) == (None, Interval())


def test_ten_times_the_rows_cost_ten_times_as_much() -> None:
    assert forecast(columns(10), A_DOLLAR, scale=10).usd == Interval(None, 600, 14_000)


def test_the_upper_bound_includes_repeated_requests() -> None:
    found = forecast(columns(10, repeated=4), A_DOLLAR)
    assert found.asked == Interval(6, 6, 10)
    assert found.output_tokens == Interval(None, 6, 500)


def test_an_unbounded_answer_has_no_upper_bound() -> None:
    bounds = np.array([50, UNBOUNDED], np.uint32)
    found = forecast(columns(2, max_output=bounds), A_DOLLAR)
    assert found.output_tokens == Interval(None, 2, None)
    assert found.input_tokens.high == 180
    assert found.usd == Interval(None, 12, None)


def test_a_free_model_costs_nothing_even_if_unbounded() -> None:
    bounds = np.full(2, UNBOUNDED, np.uint32)
    assert forecast(columns(2, max_output=bounds), FREE).usd == NOTHING


def test_an_unknown_price_makes_the_cost_unknown_and_never_zero() -> None:
    models = np.array([0, 1, 1], np.uint32)
    found = forecast(columns(3, models=models), A_DOLLAR, None)
    assert found.usd == Interval()
    assert found.usd_by_model == {"sim/0": Interval(None, 6, 140), "sim/1": Interval()}


def test_the_cheapest_and_the_dearest_endpoint_give_the_bounds() -> None:
    usd = forecast(columns(1), TokenRates(0.25, 2.0, 1.0, 3.0)).usd
    assert usd == Interval(None, 5 * 0.25 + 1 * 1.0, 90 * 2.0 + 50 * 3.0)


def test_calls_take_the_tokens_that_a_run_estimates_at_its_start() -> None:
    long = np.array([50, UNBOUNDED], np.uint32)
    (need,) = forecast(columns(2, max_output=long), A_DOLLAR).calls.values()
    assert (need.rows, need.tokens) == (2, 2 * 20 + 50 + OUTPUT_TOKENS)


def test_no_rows_take_nothing() -> None:
    found = forecast(columns(0), A_DOLLAR)
    assert (found.asked, found.usd, found.calls) == (NOTHING, NOTHING, {})
