"""What a run does about failed rows: it logs each one, and ends where there are too many.

Sits in front of the sink, so that a row that ends the run is stored like any other.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from llmscale.config.failure_bound import FailureBound
from llmscale.core.errors import TooManyFailures
from llmscale.core.protocols import OutcomeSink
from llmscale.core.records import Outcome

log = logging.getLogger(__name__)


class FailureWatch:
    """An `OutcomeSink` that forwards everything."""

    def __init__(self, sink: OutcomeSink, bound: FailureBound | None = None) -> None:
        """`bound` None: any number of rows may fail."""
        self._sink = sink
        self._bound = bound
        self._done = 0
        self._failed = 0
        self._kinds: Counter[str] = Counter()
        self.reached: TooManyFailures | None = None
        """Why the run has to end; None: it may go on."""
        self.when_reached: Callable[[], None] = lambda: None
        """Called once, as soon as the bound is reached."""
        self.take_up = sink.take_up
        self.put_back = sink.put_back

    def put(self, outcomes: Sequence[Outcome]) -> None:
        """Store outcomes, then judge the failures among them."""
        self._sink.put(outcomes)
        self._done += len(outcomes)
        failed = [outcome for outcome in outcomes if outcome.failure is not None]
        if not failed:
            return
        self._failed += len(failed)
        for outcome in failed:
            self._note(outcome)
        self._judge()

    def _note(self, outcome: Outcome) -> None:
        failure, row = outcome.failure, outcome.row
        assert failure is not None  # noqa: S101
        self._kinds[failure.kind] += 1
        called = "" if row.id is None else f" (id {row.id})"
        log.debug("row %d%s failed: %s: %s", row.index, called, failure.kind, failure.message)

    def _judge(self) -> None:
        bound = self._bound
        if bound is None or self.reached is not None:
            return
        if bound.is_reached(self._failed, self._done):
            self.reached = TooManyFailures(self._sentence(bound))
            self.when_reached()

    def _sentence(self, bound: FailureBound) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self._kinds.most_common(3))
        return (
            f"{self._failed} of {self._done} rows failed ({kinds}), and --max-failures is "
            f"{bound.text}; the remaining rows are pending"
        )
