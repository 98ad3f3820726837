"""The event loop's part of a run: rows through the pipeline, while progress is shown."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from llmscale.assemble.models import Models
from llmscale.assemble.stack import Opened, stacked
from llmscale.assemble.stopping import run_stoppable
from llmscale.config import Config
from llmscale.contracts import OutcomeSink
from llmscale.errors import first_error
from llmscale.pipeline import Pipeline
from llmscale.progress import Progress
from llmscale.records import Row
from llmscale.stats import Stats

SYNC_EVERY_S = 2.0


async def answer_rows(
    config: Config,
    models: Models,
    opened: Opened,
    blocks: Iterator[list[Row]],
    sink: OutcomeSink,
    stats: Stats,
    progress: Progress,
    sync: Callable[[], None],
    reading_stopped: threading.Event,
) -> None:
    """Take all rows to `sink`, calling `sync` now and then in a thread.

    Raises the `JobError` that ended the job, `Interrupted` after a signal.
    """
    async with stacked(config, models, opened, stats) as stack:
        pipeline = Pipeline(blocks, stack.answers, sink, stats, stack.width)

        def stop() -> None:
            pipeline.stop()
            stack.stop()
            reading_stopped.set()

        try:
            async with asyncio.TaskGroup() as group:
                aside = [group.create_task(c) for c in (progress.watch(), _sync_often(sync))]
                try:
                    await run_stoppable(pipeline.run(), stop)
                finally:
                    reading_stopped.set()
                    for task in aside:
                        task.cancel()
        except* Exception as errors:
            raise first_error(errors) from None


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` on the fastest event loop there is."""
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        runner.run(work)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _sync_often(sync: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(SYNC_EVERY_S)
        await asyncio.to_thread(sync)
