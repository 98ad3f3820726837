"""Texts that are too long for the model, shortened until they fit: only with `--truncate`."""

from collections.abc import Sequence

from msgspec.structs import replace

from llmscale.core.asked_row import AskedRow
from llmscale.core.protocols import Answers
from llmscale.core.records import Reply, Request
from llmscale.engine.layers.replacement import FailedTry, answer_or_replace

KEPT = 0.75  # of a text, at each cut
MAX_CUTS = 16  # then a text has a hundredth of its length


class TruncationLayer:
    """Retries with less of a text. The reply of a shortened text has `finish_reason` length."""

    def __init__(self, inner: Answers) -> None:
        self._inner = inner

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        """Deliver the reply to as much of each text as fits. Raises `JobError`."""
        await answer_or_replace(self._inner, rows, _shortened, _as_cut)


def _shortened(tried: FailedTry) -> Request | None:
    if tried.error.failure.kind != "context_length" or tried.earlier == MAX_CUTS:
        return None
    text = tried.request.text or ""
    return replace(tried.request, text=text[: int(len(text) * KEPT)])


def _as_cut(reply: Reply) -> Reply:
    return replace(reply, finish_reason="length")
