"""Which of several endpoints takes a call: the one small seam between a pool and its choice.

A strategy sees the endpoints that could begin the call now, and names one. Ties are random:
whoever comes first in a list must not get all calls. It never waits and never counts.
"""

import random
from collections.abc import Callable, Sequence

from llmscale.core.choices import StrategyName
from llmscale.core.records import Usage
from llmscale.engine.balance.endpoint import Endpoint

Strategy = Callable[[Sequence[Endpoint]], Endpoint]

_TYPICAL = Usage(1000, 250)  # of a call, to compare prices by


def strategy(name: StrategyName, model: str, rng: random.Random) -> Strategy:
    """Return the strategy of a pool that answers for `model`."""
    if name == "round-robin":
        return RoundRobin()
    if name == "latency":
        return Lowest(lambda e: e.expected_s, rng)
    if name == "cost":
        return Lowest(lambda e: (_price(e, model), e.utilisation), rng)
    return Lowest(lambda e: e.utilisation, rng)


class Lowest:
    """Names the endpoint whose score is the lowest."""

    def __init__(
        self, score: Callable[[Endpoint], float | tuple[float, float]], rng: random.Random
    ) -> None:
        self._score = score
        self._rng = rng

    def __call__(self, candidates: Sequence[Endpoint]) -> Endpoint:
        """Choose one of at least one."""
        if len(candidates) == 1:
            return candidates[0]
        scores = [self._score(e) for e in candidates]
        least = min(scores)
        return self._rng.choice(
            [e for e, score in zip(candidates, scores, strict=True) if score == least]
        )


class RoundRobin:
    """Names one after the other, each as often as its weight says, and evenly spread.

    Source: nginx, "smooth weighted round-robin".
    """

    def __init__(self) -> None:
        self._credit: dict[Endpoint, float] = {}

    def __call__(self, candidates: Sequence[Endpoint]) -> Endpoint:
        """Choose one of at least one."""
        credit = self._credit
        for endpoint in candidates:
            credit[endpoint] = credit.get(endpoint, 0.0) + endpoint.weight
        chosen = max(candidates, key=lambda e: credit[e])
        credit[chosen] -= sum(e.weight for e in candidates)
        return chosen


def _price(endpoint: Endpoint, model: str) -> float:
    """Return the price of a typical call; one that is not known goes last."""
    price = endpoint.prices.cost_usd(model, _TYPICAL)
    return float("inf") if price is None else price
