"""What a job may cost: dollars are reserved before an attempt is sent, and charged after it.

So the spend never passes the cap, however many calls are in flight. Never guesses: a call whose
cost has no bound is not sent, and one whose outcome is unknown counts as what it may have cost.
Never retries and never sends.
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
            raise _unbounded(f"--max-cost prevents this row from being sent: {why}") from None
        highest_usd = 0.0
        for one in prices:
            max_call_usd = one.max_call_usd(model, input_tokens, output_tokens)
            if max_call_usd is None:
                reason = f"the price of {model} is unknown; set it as a [[price]] in llmscale.toml"
                raise _unbounded(f"--max-cost prevents this row from being sent: {reason}")
            highest_usd = max(highest_usd, max_call_usd)
        return highest_usd

    def _look_up(self, model: str) -> tuple[Sequence[Prices], int | None]:
        prices = [p for p in self._prices_of(model) if p.max_call_usd(model, 1, 1) != 0]
        self._known[model] = (prices, self._max_answer_tokens_of(model))
        return self._known[model]


class FreeCall:
    """The reservation of a call that costs nothing."""

    def charge(self, cost_usd: float | None) -> None:
        """Do nothing."""


class CallReservation:
    """Dollars that are reserved for one attempt, until it is charged."""

    __slots__ = ("_budget", "_model", "_usd")

    def __init__(self, budget: "CostBudget", model: str, usd: float) -> None:
        self._budget = budget
        self._model = model
        self._usd = usd

    def charge(self, cost_usd: float | None) -> None:
        """Replace the reservation by the cost of the attempt. None: unknown, up to all of it."""
        self._budget.charge(self._model, self._usd, cost_usd)


class _Waiting(NamedTuple):
    """An attempt that waits for its reservation."""

    max_call_usd: float
    granted: asyncio.Future[None]


Note = Callable[[float, float], None]
"""Keeps the dollars that are spent, unconfirmed and reserved, and the unconfirmed part of them."""


class CostBudget:
    """The money of one job. Attempts get reservations in the order in which they ask.

    An attempt that the rest of the budget does not cover waits: most attempts in flight cost less
    than was reserved for them. When none is in flight, the budget is reached.
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
        """Called once when the budget is reached; by then nothing is in flight."""
        self.reached: BudgetReached | None = None
        self._note = note
        self._reserved_usd = 0.0
        self._in_flight = 0
        self._waiting: deque[_Waiting] = deque()
        self._stopped = False
        self._margins: dict[str, float] = {}  # factors for models that cost more than their bounds

    @property
    def left_usd(self) -> float:
        """Dollars that are neither spent, unconfirmed nor reserved."""
        return self.max_usd - self._committed_usd

    async def reserve(self, model: str, max_call_usd: float) -> CallReservation | FreeCall:
        """Reserve `max_call_usd` for an attempt, as soon as the budget has so much left.

        Raises `CallStopped` when it never will: the budget is reached, or the run stops.
        """
        if not max_call_usd:
            return FreeCall()
        usd = max_call_usd * self._margins.get(model, 1.0)
        await self._take(usd)
        return CallReservation(self, model, usd)

    def stop(self) -> None:
        """Let no call wait any longer; attempts in flight are still charged."""
        self._stopped = True
        for waiting in self._waiting:
            if not waiting.granted.done():
                waiting.granted.set_exception(CallStopped())
        self._waiting.clear()

    @property
    def _committed_usd(self) -> float:
        return self.spent_usd + self.unconfirmed_usd + self._reserved_usd

    async def _take(self, usd: float) -> None:
        if self._stopped:
            raise CallStopped
        if not self._waiting and self._fits(usd):
            self._add_reservation(usd)
            return
        waiting = _Waiting(usd, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._serve()
        try:
            await waiting.granted
        except asyncio.CancelledError:
            done = waiting.granted.done() and not waiting.granted.cancelled()
            if done and waiting.granted.exception() is None:  # granted in this very moment
                self._end_reservation(usd)
            self._serve()
            raise

    def _fits(self, usd: float) -> bool:
        return self._committed_usd + usd <= self.max_usd

    def _add_reservation(self, usd: float) -> None:
        self._reserved_usd += usd
        self._in_flight += 1
        self._note(self._committed_usd, self.unconfirmed_usd)

    def _end_reservation(self, usd: float) -> None:
        self._in_flight -= 1
        # sums of floats drift, and what drifts would never be free again
        self._reserved_usd = self._reserved_usd - usd if self._in_flight else 0.0

    def charge(self, model: str, reserved_usd: float, cost_usd: float | None) -> None:
        """Replace a reservation by a cost. None: unknown, so all of it is unconfirmed."""
        self._end_reservation(reserved_usd)
        if cost_usd is None:
            self.unconfirmed_usd += reserved_usd
        else:
            self.spent_usd += cost_usd
            if cost_usd > reserved_usd:
                self._widen(model, cost_usd / reserved_usd)
        self._note(self._committed_usd, self.unconfirmed_usd)
        self._serve()

    def _widen(self, model: str, factor: float) -> None:
        """Reserve more for a model whose calls cost more than their bounds allow."""
        if model not in self._margins:
            log.warning(
                "a call to %s has cost %.1f times what its bounds allow (does its server keep to "
                "max_tokens?); more is reserved for it from now on",
                model,
                factor,
            )
        self._margins[model] = self._margins.get(model, 1.0) * factor

    def _serve(self) -> None:
        """Grant what fits, first come first served, so that expensive calls get their turn."""
        while self._waiting:
            usd, granted = self._waiting[0]
            if granted.done():  # its caller was cancelled
                self._waiting.popleft()
            elif self._fits(usd):
                self._waiting.popleft()
                self._add_reservation(usd)
                granted.set_result(None)
            else:
                if not self._in_flight:
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
