"""Forecasts from a sample: by model and size, without the rows that a run does not send."""

from typing import Any

import numpy as np
import pytest

from llmscale.accounting.forecast.interval import NOTHING, UNKNOWN, Interval
from llmscale.accounting.forecast.saved_estimate import Observation, Overhead, Sample
from llmscale.commands.estimate.forecast import Forecast
from llmscale.commands.estimate.forecast_from_sample import ForecasterFromSample
from llmscale.commands.estimate.row_columns import RowColumns, select_rows
from llmscale.commands.estimate.token_rates import TokenRates
from llmscale.core.records import Usage
from tests.commands.estimate import columns

RATES = TokenRates(1.0, 1.0, 2.0, 2.0)


def seen(index: int, tokens: int = 10, **fields: Any) -> Observation:
    """Return a row that was answered in two seconds, with 20 input tokens."""
    usual: dict[str, Any] = {"usage": Usage(20, tokens), "latency_s": 2.0, "kept": True}
    return Observation(index=index, **(usual | fields))


def failed(index: int) -> Observation:
    return Observation(index=index, failure="timeout")


def forecast(
    rows: RowColumns,
    *observations: Observation,
    models: int = 1,
    price: float | None = 1.0,
    **fields: Any,
) -> ForecasterFromSample:
    """`price`: of an input token, half of that of an output token; None: unknown."""
    names = [f"sim/{number}" for number in range(models)]
    sample = Sample(observations=list(observations), **({"overhead": {}, "paces": {}} | fields))

    def usd(observation: Observation, _: str) -> float | None:
        usage = observation.usage
        assert usage is not None
        return None if price is None else price * (usage.input_tokens + 2 * usage.output_tokens)

    return ForecasterFromSample(rows, sample, dict.fromkeys(names, RATES), usd)


def figures(
    rows: RowColumns, *observations: Observation, scale: float | None = None, **fields: Any
) -> Forecast:
    return forecast(rows, *observations, **fields).forecast(select_rows(rows, scale))


def exactly(value: float) -> Interval:
    near: Any = pytest.approx(value)
    return Interval(near, near, near)


def test_remaining_rows_take_the_mean_of_the_sample() -> None:
    found = figures(columns(10), *(seen(i) for i in range(4)))
    assert found.asked == exactly(6)
    assert found.input_tokens == exactly(120)
    assert found.output_tokens == exactly(60)
    assert found.usd == found.usd_by_model["sim/0"] == exactly(240)
    assert found.busy == exactly(12)
    assert found.busy_s is not None
    assert found.busy_s["sim/0"] == pytest.approx(12)
    assert (found.calls["sim/0"].rows, found.calls["sim/0"].tokens) == (6, 180)


def test_sampled_rows_that_are_not_cached_are_sent_again() -> None:
    found = figures(columns(10), *(seen(i, kept=False) for i in range(4)))
    assert found.asked == exactly(10)


def test_sampled_rows_that_were_cached_before_are_not_subtracted_twice() -> None:
    stored = np.arange(10) < 2
    rows = columns(10, cached=stored, asked=~stored)
    found = figures(rows, *(seen(i) for i in range(4)))
    assert found.asked == exactly(6), "eight were to be asked, and two of them were"


def test_scaled_rows_are_all_sent() -> None:
    stored = np.arange(10) < 2
    rows = columns(10, cached=stored, asked=~stored)
    found = figures(rows, *(seen(i) for i in range(4)), scale=10)
    assert found.asked == exactly(100)
    assert found.usd == exactly(4_000)


def test_answers_that_differ_give_bounds() -> None:
    found = figures(columns(100), *(seen(i, tokens=10 * i) for i in range(10)))
    usd = found.usd
    assert usd.estimate == pytest.approx(90 * (20 + 90))
    assert usd.low is not None
    assert usd.high is not None
    assert usd.low < 90 * 110 < usd.high
    assert found.input_tokens == exactly(1_800)


def test_the_sizes_of_the_remaining_prompts_correct_the_input_tokens() -> None:
    sizes = np.array([80, 160, 800, 1_600], np.uint32)
    observations = [seen(0, usage=Usage(20, 10)), seen(1, usage=Usage(40, 10))]
    found = figures(columns(4, sizes=sizes), *observations)
    assert found.input_tokens == exactly(600)
    assert found.usd.estimate == pytest.approx(600 + 40)


def test_repeated_requests_are_sent_only_if_their_answers_are_not_cached() -> None:
    rows = columns(20, repeated=10)
    assert figures(rows, *(seen(i) for i in range(4))).asked == exactly(6)
    cut = [seen(i, kept=False) for i in range(4)]
    assert figures(rows, *cut).asked == exactly(20)


def test_a_failed_row_costs_nothing_and_is_sent_again() -> None:
    found = figures(columns(10), seen(0), seen(1), failed(2), failed(3))
    assert found.asked.estimate == 8
    assert found.output_tokens.estimate == pytest.approx(8 * 5)
    assert found.busy.estimate == pytest.approx(8 * 2), "it takes time"


def test_retries_multiply_calls_tokens_cost_and_time() -> None:
    overhead = {"sim/0": Overhead(attempts=1.5, tokens=1.25)}
    found = figures(columns(10), *(seen(i) for i in range(4)), overhead=overhead)
    assert found.asked == exactly(6)
    assert found.calls["sim/0"].rows == 9
    assert found.output_tokens == exactly(60 * 1.25)
    assert found.usd == exactly(240 * 1.25)
    assert found.busy == exactly(12 * 1.5)


def test_models_are_told_apart() -> None:
    models = np.array([0] * 6 + [1] * 4, np.uint32)
    observations = [seen(i, tokens=10) for i in (0, 1)] + [seen(i, tokens=100) for i in (6, 7)]
    found = figures(columns(10, models=models), *observations, models=2)
    assert found.usd_by_model == {"sim/0": exactly(4 * 40), "sim/1": exactly(2 * 220)}
    assert found.usd.estimate == pytest.approx(600)


def test_a_model_without_answers_has_an_unknown_cost() -> None:
    models = np.array([0] * 6 + [1] * 4, np.uint32)
    observations = [seen(0), seen(1), failed(6), failed(7)]
    found = figures(columns(10, models=models), *observations, models=2)
    assert found.usd == UNKNOWN
    assert found.usd_by_model["sim/0"] == exactly(160)


def test_an_unknown_price_leaves_the_token_forecast() -> None:
    known = forecast(columns(10), seen(0), seen(1), price=None)
    found = known.forecast(select_rows(columns(10), None))
    assert found.usd == UNKNOWN
    assert found.output_tokens == exactly(80)
    assert known.usd_deviation == 0


def test_usd_deviation_is_that_of_the_cost_of_one_row() -> None:
    assert forecast(columns(10), seen(0, 10), seen(1, 20)).usd_deviation == pytest.approx(10)


def test_a_sample_of_failures_has_no_answers() -> None:
    assert not forecast(columns(10), failed(0)).has_answers
    assert not forecast(columns(10)).has_answers
    assert forecast(columns(10), seen(0)).has_answers


def test_sampled_rows_that_no_longer_exist_are_ignored() -> None:
    found = figures(columns(5), seen(0), seen(1), seen(7, tokens=9_999))
    assert found.output_tokens == exactly(30)


def test_a_finished_job_has_no_remaining_rows_but_a_scaled_forecast() -> None:
    everything, nothing = np.ones(10, np.bool_), np.zeros(10, np.bool_)
    rows = columns(10, answered=everything, asked=nothing)
    observations = [seen(i) for i in range(4)]
    assert figures(rows, *observations).usd == NOTHING
    assert figures(rows, *observations, scale=2).usd == exactly(800)
