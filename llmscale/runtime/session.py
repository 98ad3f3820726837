"""The one way in which rows are answered: endpoints, cache and limits opened once, then `answer`.

`run`, `embed`, `search` and the sample of `estimate` use it. Nothing here knows of files, signals
or terminals: a job's output is a sink, and the caller handles signals and calls `stop`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from llmscale.accounting.stats import Stats
from llmscale.accounting.tokens import TokenEstimates
from llmscale.config import Config
from llmscale.core.errors import first_error
from llmscale.core.protocols import OutcomeSink
from llmscale.core.records import Outcome
from llmscale.engine.feed import Feed
from llmscale.engine.feed.ordered_feed import OrderedFeed
from llmscale.engine.feed.user_feed import UserFeed
from llmscale.engine.limits.user_limits import UserLimits
from llmscale.engine.outcome_writer import OutcomeWriter
from llmscale.engine.pipeline import Intake, Pipeline
from llmscale.runtime.bottleneck_meter import BottleneckMeter
from llmscale.runtime.costs import check_budget
from llmscale.runtime.input_rows import InputRows
from llmscale.runtime.layer_stack import LayerStack, Opened, layers_on, open_all
from llmscale.runtime.limit_terms import limits_of_users
from llmscale.runtime.models import Models
from llmscale.runtime.workload import Workload

if TYPE_CHECKING:
    from llmscale.accounting.budget import CostBudget
    from llmscale.runtime.failure_watch import FailureWatch

SYNC_EVERY_S = 2.0

Watcher = Callable[[], Coroutine[Any, Any, None]]
"""Runs beside the rows until it is cancelled."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What one `answer` counts into, what bounds it, and what runs beside it."""

    stats: Stats = field(default_factory=Stats)
    budget: "CostBudget | None" = None  # None: no cap
    sync: Callable[[], None] | None = None  # called every `SYNC_EVERY_S` seconds, in a thread
    watchers: Sequence[Watcher] = ()
    failures: "FailureWatch | None" = None  # None: any number of rows may fail


class Session:
    """Answers one input after another on the same endpoints. Closed by `async with`."""

    def __init__(self, config: Config, workload: Workload, opened: Opened) -> None:
        """Use `Session.open`, unless endpoints are opened elsewhere."""
        self.opened = opened
        self._config = config
        self._workload = workload
        limits = config.limits
        has_limits = limits.user is not None or bool(limits.users)
        self._estimates = TokenEstimates()
        self._user_limits = (
            UserLimits(limits_of_users(limits), self._estimates) if has_limits else None
        )
        self._run: _Run | None = None  # the `answer` in progress
        self._stopped = False

    @classmethod
    def open(cls, config: Config, models: Models, workload: Workload) -> Self:
        """Open the endpoints (find keys, load weights) and the cache. Sends nothing.

        Raises `ConfigError` for what can't be opened, and for a budget that can't be enforced.
        """
        check_budget(config, models, workload.task)
        return cls(config, workload, open_all(config, models, workload))

    async def answer(
        self, rows: InputRows, sink: OutcomeSink, context: RunContext | None = None
    ) -> Stats:
        """Take every row to an outcome in `sink`; return the numbers of these rows.

        Inputs are answered one after another, never two at a time. After `stop` it returns early,
        and rows without an outcome stay pending.

        Raises the `JobError` that ended the job; `BudgetReached` and `TooManyFailures` once the
        calls that were in flight then have ended. The numbers until then are in `context.stats`.
        """
        if self._run is not None:
            raise RuntimeError("a session answers one input at a time")
        context = context or RunContext()
        budget, failures = context.budget, context.failures
        self._run = run = self._started(rows, sink, context)
        run.pipeline.when_ended_early = run.stop
        if budget is not None:
            budget.when_reached = run.stop
        if failures is not None:
            failures.when_reached = run.stop
        if self._stopped:
            run.stop()
        try:
            await _beside(run.pipeline.run(), [run.meter.watch, *_watchers(context)], rows.stop)
        finally:
            self._run = None
        if budget is not None and budget.reached is not None and not self._stopped:
            raise budget.reached
        if failures is not None and failures.reached is not None and not self._stopped:
            raise failures.reached
        return context.stats

    def stop(self) -> None:
        """Send nothing more, now and later; calls in flight may finish."""
        self._stopped = True
        if self._run is not None:
            self._run.stop()

    async def aclose(self) -> None:
        """Close endpoints and cache."""
        await self._workload.aclose()
        await self.opened.aclose()

    async def __aenter__(self) -> Self:
        """Return the session."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.aclose()

    def _started(self, rows: InputRows, sink: OutcomeSink, context: RunContext) -> "_Run":
        opened, stats = self.opened, context.stats
        stack = layers_on(
            opened, self._config, self._workload, stats, context.budget, self._estimates
        )
        feed = self._feed(rows)
        when_safe = None if opened.replies is None else opened.replies.when_safe
        writer = OutcomeWriter(sink, stats, when_safe)
        pipeline = Pipeline(
            feed,
            stack.answers,
            sink,
            writer,
            Intake(opened.max_in_flight, opened.rows_per_take),
            input_ended=stack.input_ended,
        )
        meter = BottleneckMeter(stats, pipeline, feed, writer, stack, opened)
        return _Run(rows, pipeline, stack, meter)

    def _feed(self, rows: InputRows) -> Feed:
        """Return rows in the order of the input, or user by user where users have limits."""
        if self._user_limits is None:
            return OrderedFeed(rows.read(None))
        return UserFeed(rows.read, self._user_limits, rows.total)


class _Run(NamedTuple):
    """What one `answer` consists of."""

    rows: InputRows
    pipeline: Pipeline
    stack: LayerStack
    meter: BottleneckMeter

    def stop(self) -> None:
        """Read and send nothing more; calls in flight may finish."""
        self.pipeline.stop()
        self.stack.stop()
        self.rows.stop()


class OutcomeList:
    """An `OutcomeSink` that collects outcomes in memory, in completion order."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def take_up(self, rows: int) -> None:
        """Do nothing."""

    def put(self, outcomes: Sequence[Outcome]) -> None:
        """Collect them."""
        self.outcomes += outcomes

    def put_back(self) -> None:
        """Do nothing."""


def _watchers(context: RunContext) -> list[Watcher]:
    sync = context.sync
    if sync is None:
        return list(context.watchers)

    async def sync_often() -> None:
        while True:
            await asyncio.sleep(SYNC_EVERY_S)
            await asyncio.to_thread(sync)

    return [sync_often, *context.watchers]


async def _beside(
    work: Coroutine[Any, Any, None], watchers: Sequence[Watcher], ended: Callable[[], None]
) -> None:
    """Run work, and watchers until it has ended; the first error of either ends both."""
    try:
        async with asyncio.TaskGroup() as group:
            aside = [group.create_task(watch()) for watch in watchers]
            try:
                await work
            finally:
                ended()
                for task in aside:
                    task.cancel()
    except Exception as error:
        raise first_error(error) from None
