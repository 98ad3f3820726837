"""C05: an output that is torn anywhere is resumed right. A few cuts here, all in the campaign."""

import pytest

from tests.reliability.figures import Shows
from tests.reliability.torn_output import c05, torn


def test_an_output_that_is_torn_is_resumed_right(shows: Shows) -> None:
    shows(c05(range(1, 301, 30)))


@pytest.mark.campaign
def test_an_output_that_is_torn_anywhere_is_resumed_right(shows: Shows) -> None:
    shows(c05())


def test_a_line_without_its_newline_is_torn() -> None:
    whole = b'{"index":0}\n{"index":1}\n{"index":2}\n'
    assert [len(torn(whole, cut)) for cut in (1, 11, 12, 13, len(whole))] == [1, 1, 1, 2, 3]
