"""A bar on a terminal, a line now and then in a log, or nothing."""

import asyncio
import io
import logging
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from tqdm import tqdm

from llmscale.accounting.stats import Stats
from llmscale.core.records import Failure, Outcome, Reply, Request, Row, Usage
from llmscale.observe.progress import (
    BAR_BEAT_S,
    HEARTBEAT_S,
    Progress,
    Reading,
    Unit,
    fitting,
    how_to_show,
)
from tests.cli.tool import wait_until

ROW = Row(index=0, request=Request(model="sim/a", messages=[]))


class Said(logging.Handler):
    """What was said, with the time on the loop's clock and the level."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[float, str, str]] = []
        self.heard = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            now_s = asyncio.get_running_loop().time()
        except RuntimeError:  # in a thread, or before there is a loop
            now_s = 0.0
        self.lines.append((now_s, record.levelname, record.getMessage()))
        self.heard.set()

    def at(self, level: str) -> list[float]:
        return [now_s for now_s, name, _ in self.lines if name == level]


@pytest.fixture
def said() -> Iterator[Said]:
    log = logging.getLogger("llmscale.observe.progress")
    handler, level = Said(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def add_answer(stats: Stats, *, cached: bool = False, cost_usd: float | None = 0.0) -> None:
    reply = Reply(
        text="x",
        finish_reason="stop",
        model="a",
        usage=Usage(1000, 200),
        cost_usd=cost_usd,
        cached=cached,
    )
    if not cached:
        stats.calls_at("sim/a", "sim/a").add(0.1, [reply])
    stats.add_outcome(Outcome(row=ROW, reply=reply))


def add_failure(stats: Stats) -> None:
    stats.add_outcome(Outcome(row=ROW, failure=Failure(kind="timeout", message="")))


async def watch(progress: Progress, seconds: float) -> None:
    """Watch for a while and be cancelled, as a run does it."""
    task = asyncio.create_task(progress.watch())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait((task,))


async def work(stats: Stats, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        add_answer(stats)


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal; not a fixture, since pytest sets stderr anew after those."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # no thread of its own
    monkeypatch.setenv("COLUMNS", "120")
    return stream


@pytest.mark.parametrize(
    ("quiet", "log_format", "is_terminal", "show"),
    [
        (False, "text", True, "bar"),
        (False, "text", False, "log"),
        (False, "json", True, "log"),
        (False, "json", False, "log"),
        (True, "text", True, "nothing"),
        (True, "json", False, "nothing"),
    ],
)
def test_a_bar_is_for_people_at_a_terminal(
    quiet: bool, log_format: str, is_terminal: bool, show: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal() if is_terminal else io.StringIO())
    assert how_to_show(quiet=quiet, log_format=log_format) == show


def test_the_line_has_the_figures() -> None:
    stats = Stats()
    progress = Progress(stats, 100, 40, "log")
    assert progress.line() == "40/100 rows, 0 failed, 0 cached, 0 tokens"
    add_answer(stats)
    add_answer(stats, cached=True)
    add_failure(stats)
    assert progress.line() == "43/100 rows, 1 failed, 1 cached, 1,200 tokens"
    add_answer(stats, cost_usd=0.01234)
    assert progress.line() == "44/100 rows, 1 failed, 1 cached, 2,400 tokens, $0.0123 spent"


def test_dollars_are_a_lower_bound_where_a_price_is_unknown() -> None:
    stats = Stats()
    add_answer(stats, cost_usd=0.5)
    add_answer(stats, cost_usd=None)
    assert Progress(stats, 2, 0, "log").line().endswith("tokens, at least $0.5000 spent")


def test_what_is_left_of_a_budget_is_shown_from_the_start() -> None:
    progress = Progress(Stats(), 2, 0, "log", lambda: 1.25)
    assert progress.line() == "0/2 rows, 0 failed, 0 cached, 0 tokens, $1.2500 left"


def test_a_line_without_a_known_total_has_none() -> None:
    assert Progress(Stats(), None, 0, "log").line() == "0 rows, 0 failed, 0 cached, 0 tokens"


def test_a_row_has_the_name_that_it_is_given_and_further_figures_come_first() -> None:
    more = {"files": "3/7"}
    progress = Progress(Stats(), 12, 2, "log", unit=Unit("chunk", lambda: more))
    assert progress.line() == "2/12 chunks, 3/7 files, 0 failed, 0 cached, 0 tokens"
    more["files"] = "4/7"
    assert "4/7 files" in progress.line()


def test_a_log_hears_how_far_files_are_read(said: Said) -> None:
    with Reading("log", beat_s=0.001) as reading:
        reading.files, reading.chunks = 3, 40
        for _ in range(2):  # the first may have been on its way before the numbers were set
            said.heard.clear()
            assert said.heard.wait(20)
    assert said.lines[-1][1:] == ("INFO", "reading: 3 files, 40 chunks")


def test_a_terminal_sees_how_far_files_are_read_and_nothing_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = on_a_terminal(monkeypatch)
    with Reading("bar", beat_s=0.001) as reading:
        for reading.files, reading.chunks in ((3, 40), (7, 90)):
            wait_until(lambda: f"{reading.chunks} chunks" in terminal.getvalue())
    assert "3file" in terminal.getvalue()
    assert "7file" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")


def test_files_that_are_read_at_once_are_not_worth_a_word(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_a_terminal(monkeypatch)
    for show in ("bar", "log"):
        with Reading(show, beat_s=60):
            pass
    with Reading("nothing", beat_s=0.001):
        time.sleep(0.01)
    assert (said.lines, terminal.getvalue()) == ([], "")


@pytest.mark.looptime
async def test_a_log_hears_of_the_rows_every_ten_seconds(said: Said) -> None:
    stats = Stats()
    working = asyncio.create_task(work(stats, every_s=3.5))
    await watch(Progress(stats, 100, 0, "log"), 35)
    working.cancel()
    assert HEARTBEAT_S == 10
    assert said.at("INFO") == [10, 20, 30]
    assert [line.partition(" ")[0] for _, _, line in said.lines] == ["2/100", "5/100", "8/100"]
    assert said.at("WARNING") == []


@pytest.mark.looptime
async def test_quiet_says_nothing(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = on_a_terminal(monkeypatch)
    await watch(Progress(Stats(), 100, 0, "nothing"), 200)
    assert (said.lines, stream.getvalue()) == ([], "")


@pytest.mark.looptime
async def test_a_terminal_has_a_bar_that_moves_and_is_closed_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = on_a_terminal(monkeypatch)
    stats = Stats()
    working = asyncio.create_task(work(stats, every_s=1))
    await watch(Progress(stats, 40, 10, "bar"), 20.5)
    working.cancel()
    states = terminal.getvalue().split("\r")
    assert "10/40" in states[1]
    assert any("20/40" in state for state in states)
    assert "30/40" in states[-1]
    assert "0 failed, 0 cached, 24,000 tokens" in states[-1]
    assert states[-1].endswith("\n"), "what comes next begins on a line of its own"
    assert len(states) >= 20 / BAR_BEAT_S


@pytest.mark.looptime
async def test_the_last_state_of_the_bar_is_that_of_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = on_a_terminal(monkeypatch)
    stats = Stats()
    task = asyncio.create_task(Progress(stats, 3, 0, "bar").watch())
    await asyncio.sleep(0.01)
    for _ in range(3):
        add_answer(stats)
    task.cancel()
    await asyncio.wait((task,))
    assert "3/3" in terminal.getvalue().split("\r")[-1]


@pytest.mark.looptime
async def test_a_bar_without_a_total_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    stats = Stats()
    add_answer(stats)
    await watch(Progress(stats, None, 0, "bar"), 1)
    assert "1row" in terminal.getvalue()


FIGURES = {"files": "3/7", "failed": "12", "cached": "0", "tokens": "1,042", "spent": "$0.0004"}


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (100, "3/7 files, 12 failed, 0 cached, 1,042 tokens, $0.0004 spent"),
        (30, "12 failed, $0.0004 spent"),
        (15, "12 failed"),
        (5, ""),
    ],
)
def test_a_narrow_bar_has_the_figures_that_matter_most(columns: int, shown: str) -> None:
    assert fitting(FIGURES, columns) == shown
