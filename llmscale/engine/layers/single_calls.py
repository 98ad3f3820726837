"""Every row is a call of its own, as chat models take them."""

import asyncio
from collections.abc import Sequence

from llmscale.core.asked_row import AskedRow
from llmscale.core.errors import JobError
from llmscale.core.protocols import Sends


class SingleCalls:
    """Makes one call for each row."""

    def __init__(self, sends: Sends) -> None:
        self._sends = sends

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        """Send every row at the same time, each alone. Raises `JobError`."""
        if len(rows) == 1:
            await self._answer(rows[0])
            return
        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(self._answer(row))

    async def _answer(self, row: AskedRow) -> None:
        try:
            replies = await self._sends.send((row.request,))
        except JobError:
            raise
        except Exception as error:  # a fault of ours too: the rows beside this one go on
            row.deliver(error)
        else:
            row.deliver(replies[0])
