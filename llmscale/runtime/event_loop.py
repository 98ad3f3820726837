"""The event loop's part of a run: rows through the pipeline, while progress is shown."""

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from llmscale.accounting.stats import Stats
from llmscale.config import Config
from llmscale.core.errors import first_error
from llmscale.core.protocols import OutcomeSink
from llmscale.engine.feed import Feed
from llmscale.engine.outcome_writer import OutcomeWriter
from llmscale.engine.pipeline import Pipeline
from llmscale.observe.progress import Progress
from llmscale.runtime.bottleneck_meter import BottleneckMeter
from llmscale.runtime.layer_stack import Opened, stacked
from llmscale.runtime.models import Models
from llmscale.runtime.signals import run_stoppable

try:
    from uvloop import new_event_loop
except ImportError:  # Windows
    from asyncio import new_event_loop  # type: ignore[assignment]

if TYPE_CHECKING:
    from llmscale.accounting.budget import CostBudget

SYNC_EVERY_S = 2.0
COLLECT_EVERY = 10_000  # objects made; Python's own default is 700


async def answer_rows(
    config: Config,
    models: Models,
    opened: Opened,
    feed: Feed,
    sink: OutcomeSink,
    stats: Stats,
    progress: Progress,
    sync: Callable[[], None],
    reading_stopped: threading.Event,
    budget: "CostBudget | None" = None,
    beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
) -> None:
    """Take all rows to `sink`, calling `sync` now and then in a thread.

    `beside` is run until the last row is done.
    Raises the `JobError` that ended the job, `Interrupted` after a signal, `BudgetReached` when
    the calls that were under way then have ended.
    """
    async with stacked(config, models, opened, stats, budget) as stack:
        replies = opened.replies
        writer = OutcomeWriter(sink, stats, None if replies is None else replies.when_safe)
        pipeline = Pipeline(
            feed,
            stack.answers,
            sink,
            writer,
            stack.width,
            together=stack.together,
            input_ended=stack.input_ended,
        )
        meter = BottleneckMeter(stats, pipeline, feed, writer, stack, opened)

        def stop() -> None:
            pipeline.stop()
            stack.stop()
            reading_stopped.set()

        if budget is not None:
            budget.when_reached = stop
        try:
            async with asyncio.TaskGroup() as group:
                besides = (watch() for watch in beside)
                watching = (progress.watch(), meter.watch(), _sync_often(sync), *besides)
                aside = [group.create_task(c) for c in watching]
                try:
                    await run_stoppable(pipeline.run(), stop)
                finally:
                    reading_stopped.set()
                    for task in aside:
                        task.cancel()
        except Exception as error:
            raise first_error(error) from None
        if budget is not None and budget.reached is not None:
            raise budget.reached


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` on the fastest event loop there is.

    The modules that are loaded by now stay, and rows are many and without cycles: the collector of
    cycles looks at fewer objects, and less often. That is a tenth of the time of a row.
    """
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(work)


async def _sync_often(sync: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(SYNC_EVERY_S)
        await asyncio.to_thread(sync)
