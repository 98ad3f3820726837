"""A row in the layers: its request goes down, its result comes back up.

A layer that wants the result of a row adds itself to the row's path before it asks the layer below.
Whoever has the result calls `deliver` once, and it passes the layers from the innermost outwards.
"""

from typing import Protocol

from llmscale.core.records import Reply, Request

Result = Reply | Exception
"""The reply; else `CallFailed` where this row can't be answered, `CallStopped` where it was not
asked, anything else for a fault of ours.
"""


class Receiver(Protocol):
    """Takes results as they come up, and passes each on with `row.deliver`, changed or not."""

    def receive(self, row: "AskedRow", result: Result) -> None:
        """Take over the result of a row. Must not block."""
        ...


class AskedRow:
    """One request and the receivers of its result. Compared by identity."""

    __slots__ = ("_path", "request")

    def __init__(self, request: Request, receiver: Receiver) -> None:
        """`receiver` is the last to receive the result."""
        self.request = request  # a layer may replace it, and restores it before it delivers
        self._path = [receiver]

    def through(self, receiver: Receiver) -> None:
        """Have the result pass `receiver` before the receivers that were added earlier."""
        self._path.append(receiver)

    def deliver(self, result: Result) -> None:
        """Pass the result to the next receiver. Raises `IndexError` after the last."""
        self._path.pop().receive(self, result)
