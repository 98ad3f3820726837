"""Every row a call of its own."""

from llmscale.contracts import Sends
from llmscale.records import Reply, Request


class OneByOne:
    """Every row is a call of its own, as chat models take them."""

    def __init__(self, sends: Sends) -> None:
        self._sends = sends

    async def answer(self, request: Request) -> Reply:
        """Send the request alone. Raises what the layer below raises."""
        replies = await self._sends.send((request,))
        return replies[0]
