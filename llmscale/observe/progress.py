"""What a person sees while a run goes on: a bar on a terminal, a line now and then in a log.

Looks at the numbers on its own beat; the pipeline does not know that it is watched.
"""

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Literal, NamedTuple, Self

from llmscale.accounting.stats import Stats

log = logging.getLogger(__name__)

BAR_BEAT_S = 0.2
HEARTBEAT_S = 10.0

DEFAULT_COLUMNS = 100
MIN_BAR_COLUMNS = 3
_SHOWN_FIRST = ("failed", "spent", "left", "files")
"""Figures that a narrow terminal shows first."""

Show = Literal["bar", "log", "nothing"]


def how_to_show(*, quiet: bool, log_format: str) -> Show:
    """Choose what suits where stderr goes."""
    if quiet:
        return "nothing"
    return "bar" if sys.stderr.isatty() and log_format == "text" else "log"


class Reading:
    """Shows how far files are read, before there is a row; whoever reads them sets the numbers.

    From a thread, because no event loop runs yet, and a large file takes its time.
    """

    def __init__(self, show: Show, beat_s: float | None = None) -> None:
        self.files = 0
        self.chunks = 0
        self._show = show
        self._beat_s = beat_s or (BAR_BEAT_S if show == "bar" else HEARTBEAT_S)
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if self._show != "nothing":
            self._watching.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._show != "nothing":
            self._watching.join()

    def _watch(self) -> None:
        if self._ended.wait(self._beat_s):
            return  # what is read in a moment is not worth a word
        if self._show == "bar":
            self._watch_bar()
            return
        while True:
            log.info("reading: %d files, %d chunks", self.files, self.chunks)
            if self._ended.wait(self._beat_s):
                return

    def _watch_bar(self) -> None:
        from tqdm import tqdm

        with tqdm(desc="reading", unit="file", dynamic_ncols=True, leave=False) as bar:
            while True:
                bar.set_postfix_str(f"{self.chunks:,} chunks", refresh=False)
                bar.n = self.files
                bar.refresh()
                if self._ended.wait(self._beat_s):
                    return


class Unit(NamedTuple):
    """What a row is called, and further figures by name, shown in front of the others."""

    name: str = "row"
    more: Callable[[], Mapping[str, str]] = dict


ROWS = Unit()


class Progress:
    """Shows how far a run is. `total` rows (None: not known), `kept` of them from earlier runs."""

    def __init__(
        self,
        stats: Stats,
        total: int | None,
        kept: int,
        show: Show,
        left_usd: Callable[[], float] | None = None,
        unit: Unit = ROWS,
    ) -> None:
        """`left_usd` of the budget; None: there is none."""
        self._stats = stats
        self._total = total
        self._kept = kept
        self._show = show
        self._left_usd = left_usd
        self._unit = unit

    async def watch(self) -> None:
        """Show the numbers until cancelled."""
        if self._show == "bar":
            await self._watch_bar()
        elif self._show == "log":
            await self._watch(HEARTBEAT_S, lambda: log.info("%s", self.line()))

    def line(self) -> str:
        """Return the numbers as a line."""
        done = self._kept + self._stats.done
        total = "" if self._total is None else f"/{self._total}"
        figures = ", ".join(f"{value} {name}" for name, value in self._figures().items())
        return f"{done}{total} {self._unit.name}s, {figures}"

    async def _watch_bar(self) -> None:
        from tqdm import tqdm  # for terminals alone

        bar = tqdm(
            total=self._total,
            initial=self._kept,
            unit=self._unit.name,
            dynamic_ncols=True,
            smoothing=0.1,
        )

        def beat() -> None:
            bar.n = self._kept + self._stats.done
            bar.set_postfix_str("", refresh=False)
            columns = bar.format_dict["ncols"] or DEFAULT_COLUMNS
            without = len(tqdm.format_meter(**{**bar.format_dict, "ncols": 0}))
            shown = fitting(self._figures(), columns - without - MIN_BAR_COLUMNS)
            bar.set_postfix_str(shown, refresh=False)
            bar.refresh()

        try:
            await self._watch(BAR_BEAT_S, beat)
        finally:
            beat()
            bar.close()

    async def _watch(self, beat_s: float, beat: Callable[[], None]) -> None:
        import asyncio  # not before a loop runs: a finished job needs none

        while True:
            await asyncio.sleep(beat_s)
            beat()

    def _figures(self) -> dict[str, str]:
        rows, calls = self._stats.rows(), self._stats.calls()
        tokens = calls.usage.total_tokens
        figures = {
            **self._unit.more(),
            "failed": f"{rows.failed}",
            "cached": f"{rows.cached}",
            "tokens": f"{tokens:,}",
        }
        if calls.cost_usd:
            at_least = "at least " if calls.unpriced else ""
            figures["spent"] = f"{at_least}${calls.cost_usd:.4f}"
        if self._left_usd is not None:
            figures["left"] = f"${self._left_usd():.4f}"
        return figures


def fitting(figures: Mapping[str, str], columns: int) -> str:
    """Return the figures that fit so many columns, the most wanted before the others."""
    order = [*(name for name in _SHOWN_FIRST if name in figures), *figures]
    kept: set[str] = set()
    for name in dict.fromkeys(order):
        columns -= len(f", {figures[name]} {name}")
        if columns < 0:
            break
        kept.add(name)
    return ", ".join(f"{value} {name}" for name, value in figures.items() if name in kept)
