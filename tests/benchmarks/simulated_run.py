"""A run of the tool's own layers on a virtual clock: hours in a moment, with a known bottleneck.

The feed, the limits, the pools, the retries, the pipeline and the meter are those of a run; the
providers, the disk and the processor are simulated, so that it is known what they take.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self, cast
from unittest.mock import patch

import looptime

from llmscale.accounting.prices import Prices
from llmscale.accounting.run_numbers import BottleneckSummary
from llmscale.accounting.stats import Stats
from llmscale.config import Config, EndpointConfig
from llmscale.core.errors import CallFailed, JobError
from llmscale.core.records import Failure, Outcome, Quota, Reply, Request, Row, Usage
from llmscale.engine.balance.endpoint import Endpoint, Slots
from llmscale.engine.cache.disk_backend import DiskBackend
from llmscale.engine.feed.input_passes import IsDone
from llmscale.observe.bottleneck import Settings, analyze
from llmscale.providers import Task, default_capacity, split_model
from llmscale.runtime import bottleneck_meter as meter
from llmscale.runtime.costs import budget_of
from llmscale.runtime.input_rows import InputRows
from llmscale.runtime.layer_stack import Opened, open_all
from llmscale.runtime.models import Models
from llmscale.runtime.session import RunContext, Session
from llmscale.runtime.workload import ChatWorkload, EmbeddingWorkload, Workload
from tests.settings import config_of
from tests.virtual_time import now_s

BLOCK_ROWS = 100

Fate = Callable[[float], Failure | None]
"""What becomes of a call that comes in at a time."""


TOO_MANY = Failure(kind="rate_limited", message="too many", retryable=True, status=429)


class Core:
    """One core of a processor, which is used by one at a time."""

    def __init__(self) -> None:
        self.used_s = 0.0
        self._free = asyncio.Lock()

    async def use(self, seconds: float) -> None:
        async with self._free:
            await asyncio.sleep(seconds)
            self.used_s += seconds


class Server:
    """A provider that answers so many calls at once, each after a while, unless it fails them."""

    def __init__(
        self,
        latency_s: float = 1.0,
        *,
        slots: int = 1_000_000,
        most: int = 1_000_000,
        fate: Fate = lambda _: None,
        quota: Quota | None = None,
        slow_row_s: float = 0.0,
        core_s: float = 0.0,
    ) -> None:
        """`slots`: calls that are worked on, while others wait; above `most` it refuses calls.

        `slow_row_s`: seconds for the first row; `core_s`: what a call takes of our own core.
        """
        self.quota = quota
        self.answered_s: list[float] = []
        self.core = Core()
        self._latency_s = latency_s
        self._slots = asyncio.Semaphore(slots)
        self._most = most
        self._in_flight = 0
        self._fate = fate
        self._slow_row_s = slow_row_s
        self._core_s = core_s
        self._rng = random.Random(1)

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        failure = TOO_MANY if self._in_flight >= self._most else self._fate(now_s())
        if failure is not None:
            await asyncio.sleep(0.01)
            raise CallFailed(failure)
        self._in_flight += 1
        try:
            await self._work(requests[0])
        finally:
            self._in_flight -= 1
        self.answered_s.append(now_s())
        return [_reply(request) for request in requests]

    async def _work(self, request: Request) -> None:
        is_slow = self._slow_row_s and request.messages[0]["content"] == "row 0"
        async with self._slots:
            usual_s = self._latency_s * self._rng.uniform(0.9, 1.1)
            await asyncio.sleep(self._slow_row_s if is_slow else usual_s)
        if self._core_s:
            await self.core.use(self._core_s)

    async def aclose(self) -> None:
        """Hold nothing."""


def _reply(request: Request) -> Reply:
    vector = b"\0" * 8 if request.text is not None else None
    usage = Usage(10, 0 if vector else 10)
    return Reply(text="x", finish_reason="stop", model="m", usage=usage, vector=vector)


class _Processor:
    """The clocks of the cores that are simulated."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers

    def had_s(self) -> float:
        return sum(server.core.used_s for server in self._servers)

    def lacked_s(self) -> float:
        return 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Hold nothing."""


class _Store:
    """A store that takes a while for what it is given, one group after the other."""

    def __init__(self, row_s: float) -> None:
        self._row_s = row_s
        self._free_at_s = 0.0

    def when_safe(self, then: Callable[[], None]) -> None:
        self._free_at_s = max(self._free_at_s, now_s()) + self._row_s
        asyncio.get_running_loop().call_at(self._free_at_s, then)

    async def aclose(self) -> None:
        """Hold nothing."""


class _Reader:
    """Stands for the threads of the loop: hands a block over some virtual seconds later."""

    def __init__(self, block_s: Callable[[int], float]) -> None:
        self._block_s = block_s
        self._blocks = 0

    def run(self, _: None, work: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Stand in for `run_in_executor`."""
        loop, delay_s = asyncio.get_running_loop(), 0.0
        if work is next:
            delay_s = self._block_s(self._blocks)
            self._blocks += 1
        done = loop.create_future()
        loop.call_later(delay_s, done.set_result, work(*args))
        return done


class Nowhere:
    """An `OutcomeSink` that keeps nothing."""

    def take_up(self, rows: int) -> None:
        """Note nothing."""

    def put(self, outcomes: Sequence[Outcome]) -> None:
        """Keep nothing."""

    def put_back(self) -> None:
        """Note nothing."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """A job, and the world in which it runs."""

    rows: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    server: Callable[[], Server] = Server  # behind each endpoint
    task: Task = "chat"
    users: int = 0  # in turn; 0: rows have none
    block_s: Callable[[int], float] = lambda _: 0.0  # to read a block, by its number
    store_s: float = 0.0  # for the rows of one turn; 0: nothing is stored

    @property
    def config(self) -> Config:
        return config_of(**{"model": "sim/a", "cache_mode": "off", "quiet": True, **self.settings})


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run came to."""

    wall_s: float
    verdict: BottleneckSummary
    stats: Stats
    servers: list[Server]

    def share(self, bound: str) -> float:
        """Return for which part of the time a bound held the run back."""
        return float(self.verdict.seconds[bound] / self.wall_s)


def simulate(job: Simulation) -> Ran:
    """Run a job to its end on a clock of its own."""

    async def play() -> Ran:
        loop = asyncio.get_running_loop()
        with patch.object(loop, "run_in_executor", _Reader(job.block_s).run):
            return await _played(job)

    # there is nothing outside that one would have to wait for before time goes on
    loop_factory = partial(looptime.new_event_loop, noop_cycles=1)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(play())


async def _played(job: Simulation) -> Ran:
    config, stats, began_s = job.config, Stats(), now_s()
    models = Models(config.models)
    async with AsyncExitStack() as stack:
        opened = await _opened(job, models)
        servers = [cast("Server", e.provider) for e in opened.endpoints.values()]
        stack.enter_context(patch.object(meter, "CpuClock", lambda **_: _Processor(servers)))
        budget = budget_of(config.cost, models)
        error: JobError | None = None
        try:
            rows = InputRows(lambda is_done: _blocks(job, is_done), job.rows, threading.Event())
            async with Session(config, _workload(job), opened) as session:
                await session.answer(rows, Nowhere(), RunContext(stats, budget))
        except JobError as raised:
            error = raised
    wall_s = round(now_s() - began_s, 3)
    assert error is None, error
    settings = Settings(opened.max_calls, opened.capacity)
    return Ran(wall_s, analyze(stats.held_s(), wall_s, settings, stats.causes_s), stats, servers)


async def _opened(job: Simulation, models: Models) -> Opened:
    """Open what the settings name, with the simulated servers behind it."""
    if split_model(job.config.models.default_model)[0] == "local":  # without the weights
        endpoint = EndpointConfig(model=job.config.models.default_model)
        slots, free = default_capacity(endpoint.model) or 1, Prices(is_listed=False, is_free=True)
        local = Endpoint("local", job.server(), Slots(slots, full_at=slots), free)
        return Opened(models, {endpoint: local}, None, {}, slots, slots, 1)
    opened = open_all(job.config, models, _workload(job))
    for one in opened.endpoints.values():
        await one.provider.aclose()
        one.provider = job.server()
    if job.store_s:
        return opened._replace(replies=cast("DiskBackend", _Store(job.store_s)))
    return opened


def _workload(job: Simulation) -> Workload:
    return ChatWorkload(job.config) if job.task == "chat" else EmbeddingWorkload(job.config)


def _blocks(job: Simulation, is_done: IsDone | None) -> Iterator[list[Row]]:
    for first in range(0, job.rows, BLOCK_ROWS):
        indices = range(first, min(first + BLOCK_ROWS, job.rows))
        block = [_row(job, i) for i in indices if is_done is None or not is_done(i)]
        if block:
            yield block


def _row(job: Simulation, index: int) -> Row:
    text = f"row {index}"
    request = Request(
        model=job.config.models.default_model,
        messages=[] if job.task == "embedding" else [{"role": "user", "content": text}],
        text=text if job.task == "embedding" else None,
        max_tokens=job.config.sampling.max_tokens,
    )
    user = f"user {index % job.users}" if job.users else None
    return Row(index=index, user=user, request=request)
