"""How often the bounds of an estimate hold: many samples of a job whose cost is known.

No row is sent: the answers of a sample are computed. Draws and forecasts are made by the package.
"""

from dataclasses import dataclass
from functools import cache
from statistics import median

import numpy as np

from llmscale.accounting.forecast.saved_estimate import Observation, Sample
from llmscale.accounting.forecast.strata import draw_stratified
from llmscale.accounting.tokens import input_bytes
from llmscale.commands.estimate.forecast_from_sample import ForecasterFromSample
from llmscale.commands.estimate.row_columns import RowColumns, select_rows
from llmscale.commands.estimate.token_rates import TokenRates
from llmscale.core.records import Request, Usage
from tests.benchmarks.estimate_jobs import JOBS, Job
from tests.commands.estimate import columns
from tests.servers.chat import prompt_tokens
from tests.servers.lengthy import answer_tokens

ROWS = 4_000


@dataclass(frozen=True, slots=True)
class Held:
    """How often the bounds held, and how far the estimates were off."""

    share: float
    too_low: float  # share of draws whose upper bound was below the cost
    error: float  # median, as a share of the cost
    width: float  # median, as a share of the cost


@dataclass(frozen=True, slots=True)
class Known:
    """A job with known answers."""

    job: Job
    columns: RowColumns
    usages: list[Usage]
    costs_usd: np.ndarray[tuple[int], np.dtype[np.float64]]


def coverage(name: str, sample: int, draws: int) -> Held:
    """Draw so many samples of a job and compare each estimate with the cost of the other rows."""
    known = _known(name)
    held, too_low, errors, widths = 0, 0, [], []
    for number in range(draws):
        indexes = _drawn(known, sample, number)
        usd = _estimated(known, indexes).forecast(select_rows(known.columns, None)).usd
        cost_usd = float(known.costs_usd.sum() - known.costs_usd[indexes].sum())
        assert usd.estimate is not None
        assert usd.low is not None
        assert usd.high is not None
        held += bool(usd.low <= cost_usd <= usd.high)
        too_low += bool(usd.high < cost_usd)
        errors.append(abs(usd.estimate / cost_usd - 1))
        widths.append((usd.high - usd.low) / cost_usd)
    return Held(held / draws, too_low / draws, median(errors), median(widths))


@cache
def _known(name: str) -> Known:
    job = next(job for job in JOBS if job.name == name)
    rows = job.rows(ROWS)
    messages = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    numbers = {f"openai/{m.name}": number for number, m in enumerate(job.models)}
    sizes = [input_bytes(Request(model="", messages=m)) for m in messages]
    known = columns(  # repeated rows are paid too: their answers are not cached
        ROWS,
        models=np.array([numbers[row["model"]] for row in rows], np.uint32),
        sizes=np.array(sizes, np.uint32),
    )
    usages = [
        Usage(prompt_tokens(m), answer_tokens(row["model"].partition("/")[2], m, job.max_tokens))
        for row, m in zip(rows, messages, strict=True)
    ]
    return Known(job, known, usages, np.array([job.cost_usd(row) for row in rows]))


def _drawn(known: Known, sample: int, number: int) -> list[int]:
    """Draw as if the rows stood elsewhere in a longer input, with other random numbers."""
    first, rows = number * ROWS, known.columns
    indexes = np.arange(ROWS) + first
    drawn = draw_stratified(rows.models, rows.sizes, indexes, first + ROWS, sample)
    return [int(index) - first for index in drawn]


def _estimated(known: Known, indexes: list[int]) -> ForecasterFromSample:
    observations = [
        Observation(index=i, usage=known.usages[i], latency_s=1.0, kept=True) for i in indexes
    ]
    rates = {
        f"openai/{m.name}": TokenRates(m.input_usd / 1e6, m.input_usd / 1e6, 0, m.output_usd / 1e6)
        for m in known.job.models
    }

    def price(observation: Observation, model: str) -> float | None:
        usage = observation.usage or Usage()
        rate = rates[model]
        return usage.input_tokens * rate.max_input + usage.output_tokens * rate.max_output

    sample = Sample(observations=observations, overhead={}, paces={})
    return ForecasterFromSample(known.columns, sample, rates, price)
