"""Every row a call of its own."""

import asyncio
from collections.abc import Sequence

from llmscale.core.errors import JobError
from llmscale.core.protocols import Sends, Settle
from llmscale.core.records import Request


class SingleCalls:
    """Every row is a call of its own, as chat models take them."""

    def __init__(self, sends: Sends) -> None:
        self._sends = sends

    async def answer_all(self, requests: Sequence[Request], settle: Settle) -> None:
        """Send each request alone, all at the same time. Raises `JobError`."""
        if len(requests) == 1:
            await self._answer(0, requests[0], settle)
            return
        async with asyncio.TaskGroup() as group:
            for position, request in enumerate(requests):
                group.create_task(self._answer(position, request, settle))

    async def _answer(self, position: int, request: Request, settle: Settle) -> None:
        try:
            replies = await self._sends.send((request,))
        except JobError:
            raise
        except Exception as error:  # a fault of ours too: the rows beside this one go on
            settle(position, error)
        else:
            settle(position, replies[0])
