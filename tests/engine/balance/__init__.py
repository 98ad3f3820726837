"""What the tests of balance share."""

from collections.abc import Sequence

from llmscale.core.records import Quota, Reply, Request


class Unasked:
    """A provider that is never called, and never closed; it may tell its limits."""

    def __init__(self, quota: Quota | None = None) -> None:
        self.quota = quota

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        raise AssertionError(f"{len(requests)} requests went out, where nothing knows of calls")

    async def aclose(self) -> None:
        raise AssertionError("closed by who did not open it")
