"""What calls cost at each endpoint, and the budget that `--max-cost` gives a run.

What nothing bounds is refused before anything is sent. Nothing here is loaded without a cap but
the prices.
"""

import fnmatch
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmscale.accounting.prices import OwnPrice, Prices
from llmscale.accounting.stats import Spend
from llmscale.config import Config, CostConfig, EndpointConfig
from llmscale.core.errors import BudgetReached, ConfigError, JobError
from llmscale.providers import Task, spec_of
from llmscale.runtime.models import Models

if TYPE_CHECKING:
    from llmscale.accounting.budget import CostBudget
    from llmscale.job.spending import Spending


def prices_at(cost: CostConfig, endpoint: EndpointConfig) -> Prices:
    """Return the prices at an endpoint: those of the configuration before the list's."""
    own = [OwnPrice(p.model, p.input, p.output, p.cached_input, p.cache_write) for p in cost.price]
    return Prices(
        is_listed=endpoint.base_url is None,
        is_free=not spec_of(endpoint.model).is_remote,
        own=own,
    )


def budget_of(
    cost: CostConfig, models: Models, spending: "Spending | None" = None
) -> "CostBudget | None":
    """Return the budget of a run, None without a cap. `spending`: of the job until now."""
    if cost.max_cost is None:
        return None
    from llmscale.accounting.budget import CallBounds, CostBudget

    def prices_of(model: str) -> list[Prices]:
        return [prices_at(cost, endpoint) for endpoint in models.endpoints_of(model)]

    bounds = CallBounds(prices_of, max_answer_tokens_of(cost))
    if spending is None:
        return CostBudget(cost.max_cost, bounds)
    return CostBudget(
        cost.max_cost,
        bounds,
        spent_usd=spending.total(Spend()).cost_usd,
        unconfirmed_usd=spending.unconfirmed_usd,
        note=spending.note,
    )


def check_budget(config: Config, models: Models, task: Task = "chat") -> None:
    """Raises `ConfigError` where a cap is set that the run's own model could not be held to.

    That of the rows that name none, and its fallbacks. A row that names a model
    that can't be bounded fails alone.
    """
    if config.cost.max_cost is None:
        return
    wanted = {config.models.default_model}
    if task == "chat":
        wanted.update(other for others in models.fallbacks().values() for other in others)
    for model in sorted(wanted):
        for endpoint in models.endpoints_of(model):
            _check(config, model, endpoint, task)


def with_rows_left(error: JobError, rows: int) -> JobError:
    """Return the error with what only the job knows, where that is of use."""
    return BudgetReached(error.used, rows) if isinstance(error, BudgetReached) else error


def _check(config: Config, model: str, endpoint: EndpointConfig, task: Task) -> None:
    max_call_usd = prices_at(config.cost, endpoint).max_call_usd(model, 1, int(task == "chat"))
    if max_call_usd is None:
        at = f" at {endpoint.base_url}" if endpoint.base_url else ""
        raise ConfigError(
            f"--max-cost needs the price of {model}{at}, which is not known; set it in "
            f'llmscale.toml: [[price]], model = "{model}", and input and output in dollars for a '
            "million tokens"
        )
    is_bounded = (
        config.sampling.max_tokens is not None
        or max_answer_tokens_of(config.cost)(model) is not None
    )
    if task == "chat" and max_call_usd and not is_bounded:
        raise ConfigError(
            f"--max-cost needs a bound of what an answer of {model} can cost; set --max-tokens, or "
            "max_output in its [[price]] in llmscale.toml"
        )


def max_answer_tokens_of(cost: CostConfig) -> Callable[[str], int | None]:
    """Return what tells the longest answer of a model where the request sets no bound."""

    def max_answer_tokens(model: str) -> int | None:
        for price in cost.price:
            if fnmatch.fnmatchcase(model, price.model):
                if price.max_output is not None:
                    return price.max_output
                break
        return spec_of(model).default_max_tokens

    return max_answer_tokens
