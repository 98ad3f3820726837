"""What a job may cost: dollars are set aside before an attempt goes out, and settled after it.

So the spend never passes the cap, however many calls are in flight. Never guesses: a call whose
cost nothing bounds does not go out, and one whose outcome is unknown counts as what it may have
cost. Never retries and never sends.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from llmscale.accounting.prices import Prices
from llmscale.accounting.token_bounds import Unbounded, max_input_tokens, max_output_tokens
from llmscale.core.errors import BudgetReached, CallFailed, CallStopped
from llmscale.core.records import Failure, Request

log = logging.getLogger(__name__)


class CallBounds:
    """The most that calls can cost, by the prices and the bounds of their models."""

    def __init__(
        self,
        prices_of: Callable[[str], Sequence[Prices]],
        max_answer_tokens_of: Callable[[str], int | None],
    ) -> None:
        """`prices_of` the endpoints that may take a call; `max_answer_tokens_of` a model, where
        the request sets no bound.

        Both are asked once for each model.
        """
        self._prices_of = prices_of
        self._max_answer_tokens_of = max_answer_tokens_of
        self._known: dict[str, tuple[Sequence[Prices], int | None]] = {}  # no prices: it is free

    def max_call_usd(self, requests: Sequence[Request]) -> float:
        """Return the most that a call can cost, wherever it goes. Raises `CallFailed`."""
        model = requests[0].model
        prices, max_answer_tokens = self._known.get(model) or self._look_up(model)
        if not prices:
            return 0.0
        try:
            input_tokens = sum(map(max_input_tokens, requests))
            output_tokens = sum(max_output_tokens(r, max_answer_tokens) for r in requests)
        except Unbounded as why:
            raise _unbounded(f"--max-cost does not let this row out: {why}") from None
        dearest_usd = 0.0
        for one in prices:
            max_call_usd = one.max_call_usd(model, input_tokens, output_tokens)
            if max_call_usd is None:
                message = f"--max-cost does not let this row out: the price of {model} is not known"
                raise _unbounded(f"{message}; set it as a [[price]] in llmscale.toml")
            dearest_usd = max(dearest_usd, max_call_usd)
        return dearest_usd

    def _look_up(self, model: str) -> tuple[Sequence[Prices], int | None]:
        prices = [p for p in self._prices_of(model) if p.max_call_usd(model, 1, 1) != 0]
        self._known[model] = (prices, self._max_answer_tokens_of(model))
        return self._known[model]


class HeldReservation:
    """Dollars that are set aside for one attempt, until it is settled."""

    def __init__(self, settle: Callable[[float | None], None]) -> None:
        self._settle = settle

    def settle(self, cost_usd: float | None) -> None:
        """Put what the attempt has cost in their place. None: nobody knows, it may be all."""
        self._settle(cost_usd)


class _Waiting(NamedTuple):
    """An attempt that waits for money."""

    max_call_usd: float
    granted: asyncio.Future[None]


Note = Callable[[float, float], None]
"""Keeps the sum of what is spent, unconfirmed and reserved; and what of it is unconfirmed."""


class CostBudget:
    """The money of one job. Attempts get theirs in the order in which they ask.

    When what is left does not cover the next attempt it waits, for those under way cost less than
    the most as a rule. When none is under way the budget is reached.
    """

    def __init__(
        self,
        max_usd: float,
        bounds: CallBounds,
        *,
        spent_usd: float = 0.0,
        unconfirmed_usd: float = 0.0,
        note: Note = lambda _committed_usd, _unconfirmed_usd: None,
    ) -> None:
        """`spent_usd`, `unconfirmed_usd`: of earlier runs. `note` gets every change."""
        self.max_usd = max_usd
        self.max_call_usd = bounds.max_call_usd
        self.spent_usd = spent_usd
        self.unconfirmed_usd = (
            unconfirmed_usd  # for attempts that may have been billed: their outcome is unknown
        )
        self.when_reached: Callable[[], None] = lambda: None
        """Called once when the budget is reached; by then nothing is under way."""
        self.reached: BudgetReached | None = None
        self._note = note
        self._held_usd = 0.0
        self._under_way = 0
        self._waiting: deque[_Waiting] = deque()
        self._stopped = False
        self._margins: dict[str, float] = {}  # of models that have cost more than the most

    @property
    def left_usd(self) -> float:
        """Dollars that are neither spent nor set aside."""
        return self.max_usd - self._committed_usd

    async def reserve(self, model: str, max_call_usd: float) -> HeldReservation:
        """Set `max_call_usd` aside for an attempt, as soon as there is so much.

        Raises `CallStopped` when there never will be: the budget is reached, or the run stops.
        """
        if not max_call_usd:
            return HeldReservation(lambda _: None)
        held_usd = max_call_usd * self._margins.get(model, 1.0)
        await self._take(held_usd)
        return HeldReservation(lambda cost_usd: self._settle(model, held_usd, cost_usd))

    def stop(self) -> None:
        """Let nobody wait any longer; attempts under way are still settled."""
        self._stopped = True
        for waiting in self._waiting:
            if not waiting.granted.done():
                waiting.granted.set_exception(CallStopped())
        self._waiting.clear()

    @property
    def _committed_usd(self) -> float:
        return self.spent_usd + self.unconfirmed_usd + self._held_usd

    async def _take(self, usd: float) -> None:
        if self._stopped:
            raise CallStopped
        if not self._waiting and self._fits(usd):
            self._hold(usd)
            return
        waiting = _Waiting(usd, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._serve()
        try:
            await waiting.granted
        except asyncio.CancelledError:
            done = waiting.granted.done() and not waiting.granted.cancelled()
            if done and waiting.granted.exception() is None:  # granted in this very moment
                self._let_go(usd)
            self._serve()
            raise

    def _fits(self, usd: float) -> bool:
        return self._committed_usd + usd <= self.max_usd

    def _hold(self, usd: float) -> None:
        self._held_usd += usd
        self._under_way += 1
        self._note(self._committed_usd, self.unconfirmed_usd)

    def _let_go(self, usd: float) -> None:
        self._under_way -= 1
        # sums of floats drift, and what drifts would never be free again
        self._held_usd = self._held_usd - usd if self._under_way else 0.0

    def _settle(self, model: str, held_usd: float, cost_usd: float | None) -> None:
        self._let_go(held_usd)
        if cost_usd is None:
            self.unconfirmed_usd += held_usd
        else:
            self.spent_usd += cost_usd
            if cost_usd > held_usd:
                self._widen(model, cost_usd / held_usd)
        self._note(self._committed_usd, self.unconfirmed_usd)
        self._serve()

    def _widen(self, model: str, factor: float) -> None:
        """Set more aside for a model that does not keep to what bounds it."""
        if model not in self._margins:
            log.warning(
                "a call to %s has cost %.1f times what its bounds allow (does its server keep to "
                "max_tokens?); more is set aside for it from now on",
                model,
                factor,
            )
        self._margins[model] = self._margins.get(model, 1.0) * factor

    def _serve(self) -> None:
        """Grant what fits, first come first served; nobody overtakes a dear call for ever."""
        while self._waiting:
            usd, granted = self._waiting[0]
            if granted.done():  # it was given up
                self._waiting.popleft()
            elif self._fits(usd):
                self._waiting.popleft()
                self._hold(usd)
                granted.set_result(None)
            else:
                if not self._under_way:
                    self._reach(usd)
                return

    def _reach(self, next_usd: float) -> None:
        self.reached = BudgetReached(f"{self._used()}, and the next call may cost ${next_usd:.4f}")
        self.stop()
        self.when_reached()

    def _used(self) -> str:
        text = f"${self.spent_usd:.4f} of --max-cost {self.max_usd:g} is spent"
        if self.unconfirmed_usd:
            text += f", ${self.unconfirmed_usd:.4f} is unconfirmed (calls whose outcome is unknown)"
        return text


def _unbounded(message: str) -> CallFailed:
    return CallFailed(Failure(kind="invalid_request", message=message), 0)
