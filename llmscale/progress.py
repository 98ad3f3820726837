"""What a person sees while a run goes on: a bar on a terminal, a line now and then in a log.

Looks at the numbers on its own beat; the pipeline does not know that it is watched.
"""

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Literal

from tqdm import tqdm

from llmscale.stats import Stats

log = logging.getLogger(__name__)

BAR_BEAT_S = 0.2
HEARTBEAT_S = 10.0

Show = Literal["bar", "log", "nothing"]


def how_to_show(*, quiet: bool, log_format: str) -> Show:
    """Choose what suits where stderr goes."""
    if quiet:
        return "nothing"
    return "bar" if sys.stderr.isatty() and log_format == "text" else "log"


class Progress:
    """Shows how far a run is. `total` rows (None: not known), `kept` of them from earlier runs."""

    def __init__(
        self,
        stats: Stats,
        total: int | None,
        kept: int,
        show: Show,
        left_usd: Callable[[], float] | None = None,
    ) -> None:
        """`left_usd` of the budget; None: there is none."""
        self._stats = stats
        self._total = total
        self._kept = kept
        self._show = show
        self._left_usd = left_usd

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
        return f"{done}{total} rows, {', '.join(f'{v} {k}' for k, v in self._figures().items())}"

    async def _watch_bar(self) -> None:
        bar = tqdm(
            total=self._total, initial=self._kept, unit="row", dynamic_ncols=True, smoothing=0.1
        )

        def beat() -> None:
            figures = self._figures()
            bar.set_postfix_str(", ".join(f"{v} {k}" for k, v in figures.items()), refresh=False)
            bar.n = self._kept + self._stats.done
            bar.refresh()

        try:
            await self._watch(BAR_BEAT_S, beat)
        finally:
            beat()
            bar.close()

    async def _watch(self, beat_s: float, beat: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(beat_s)
            beat()

    def _figures(self) -> dict[str, str]:
        rows, calls = self._stats.rows(), self._stats.calls()
        tokens = calls.usage.input_tokens + calls.usage.output_tokens
        figures = {"failed": f"{rows.failed}", "cached": f"{rows.cached}", "tokens": f"{tokens:,}"}
        if calls.cost_usd:
            at_least = "at least " if calls.unpriced else ""
            figures["spent"] = f"{at_least}${calls.cost_usd:.4f}"
        if self._left_usd is not None:
            figures["left"] = f"${self._left_usd():.4f}"
        return figures
