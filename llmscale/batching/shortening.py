"""Texts that are too long for the model, cut until they fit: only where that was asked for."""

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from llmscale.contracts import Answers, Settle
from llmscale.errors import CallFailed
from llmscale.records import Reply, Request

KEPT = 0.75  # of a text, at each cut
MAX_CUTS = 16  # then a text has a hundredth of its length


class Shortened:
    """Asks again with less of a text. The reply says that it was cut: `finish_reason` length."""

    def __init__(self, inner: Answers) -> None:
        self._inner = inner

    async def answer_all(self, requests: Sequence[Request], settle: Settle) -> None:
        """Settle each request with the reply to as much of its text as fits. Raises `JobError`."""
        texts = [_Text(request) for request in requests]
        async with asyncio.TaskGroup() as again:

            def settled(position: int, result: Reply | Exception) -> None:
                text = texts[position]
                if text.is_too_long(result):
                    shorter = [text.cut()]
                    again.create_task(
                        self._inner.answer_all(shorter, lambda _, end: settled(position, end))
                    )
                else:
                    settle(position, text.end(result))

            await self._inner.answer_all(requests, settled)


class _Text:
    """A text, how often it was cut, and the attempts that were made with it."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._cuts = 0
        self._attempts = 0

    def is_too_long(self, result: Reply | Exception) -> bool:
        """Tell whether it was refused for its length, and may be cut."""
        if not isinstance(result, CallFailed) or self._cuts == MAX_CUTS:
            return False
        if result.failure.kind != "context_length":
            return False
        self._attempts += result.attempts
        return True

    def cut(self) -> Request:
        """Return the request with less of the text."""
        self._cuts += 1
        text = self._request.text or ""
        self._request = replace(self._request, text=text[: int(len(text) * KEPT)])
        return self._request

    def end(self, result: Reply | Exception) -> Reply | Exception:
        """Return what the text has come to, with all attempts."""
        if not self._cuts:
            return result
        if isinstance(result, CallFailed):
            return CallFailed(result.failure, self._attempts + result.attempts)
        if isinstance(result, Reply):
            attempts = self._attempts + result.attempts
            return replace(result, finish_reason="length", attempts=attempts)
        return result
