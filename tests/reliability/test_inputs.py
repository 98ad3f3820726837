"""What goes in (I01 to I05). What is quick runs always; the whole of it in the campaign."""

from collections.abc import Callable
from functools import partial

import pytest

from tests.reliability.figures import Figure, Shows
from tests.reliability.inputs import CASES
from tests.reliability.mutated_settings import i05_settings
from tests.reliability.mutations import i05_rows
from tests.reliability.reading import KINDS, i01, i02_other, i02_same, i03
from tests.reliability.test_faults import named
from tests.reliability.ugly_rows import strictly
from tests.reliability.wrong_settings import WRONG, i04

QUICK: list[Callable[[], Figure]] = [
    i01,
    partial(i02_same, 200),
    partial(i02_other, 100),
    partial(i03, [KINDS[number] for number in (0, 3, 5, 8)]),
    partial(i04, WRONG[::3]),
    partial(i05_rows, 200),
    partial(i05_settings, 200),
]


@pytest.mark.parametrize("case", QUICK, ids=lambda case: getattr(case, "func", case).__name__)
def test_what_goes_in_is_answered_or_refused_in_words(
    case: Callable[[], Figure], shows: Shows
) -> None:
    shows(case())


@pytest.mark.campaign
@pytest.mark.parametrize("case", [c for cases in CASES.values() for c in cases], ids=named)
def test_every_case_of_what_goes_in_meets_its_goal(
    case: Callable[[], Figure], shows: Shows
) -> None:
    shows(case())


@pytest.mark.parametrize("raw", [b"NaN", b"[-Infinity]", b'{"a":1,"a":1}', b'"\xff"', b'"\n"'])
def test_the_strict_parser_takes_only_what_the_standard_has(raw: bytes) -> None:
    assert strictly(b'{"a":[1,null]}') == {"a": [1, None]}
    with pytest.raises(ValueError, match=r".+"):
        strictly(raw)
