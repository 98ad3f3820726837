"""What rows in the order of the input wait for: only ever for being read."""

from llmscale.feed.in_order import InOrder


def test_the_next_row_is_waited_for_because_it_is_being_read() -> None:
    assert InOrder(iter([])).waits_for == "reading"
