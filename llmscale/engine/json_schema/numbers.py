"""Numbers of JSON as they were written: 0.1 is a tenth, and a digit more is another number."""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

_MAX_INT_DIGITS = 4_000  # Python reads no more than 4,300 into an int
_NEEDS_DECIMALS = re.compile(r"\d[.eE]|\d{16}")


class Written(Decimal):
    """A number with a fraction or an exponent; it is shown as JSON shows it."""

    def __repr__(self) -> str:
        return str(self)


def has_decimals(text: str) -> bool:
    """Tell whether a float might lose a digit of a number in the text."""
    return _NEEDS_DECIMALS.search(text) is not None


def loads_as_written(text: str) -> Any:
    """Parse JSON. Raises `ValueError` for what is none, or has a number that nothing can hold."""
    return json.loads(text, parse_float=_number, parse_int=_whole, parse_constant=_refused)


def with_written(value: Any) -> Any:
    """Return parsed JSON with its floats as the decimals that they were written as."""
    if isinstance(value, float):
        return Written(repr(value))
    if isinstance(value, list):
        return [with_written(one) for one in value]
    if isinstance(value, dict):
        return {name: with_written(one) for name, one in value.items()}
    return value


def is_integer(value: object) -> bool:
    """Tell whether a number is whole, however it is written."""
    if isinstance(value, Decimal):
        return value == value.to_integral_value()
    return isinstance(value, int) and not isinstance(value, bool)


def is_multiple(value: Decimal | int, factor: Decimal | int) -> bool:
    """Tell whether a number is a multiple; an exponent of any size costs nothing."""
    value_digits, value_exponent = _parts(value)
    factor_digits, factor_exponent = _parts(factor)
    if not value_digits:
        return True
    if not factor_digits:
        return False
    shift = value_exponent - factor_exponent
    if shift < 0:  # it has digits where the factor has none left
        return False
    return value_digits * pow(10, shift, factor_digits) % factor_digits == 0


def _parts(number: Decimal | int) -> tuple[int, int]:
    """Return digits that do not end in a zero, and the exponent of ten."""
    _, digits, exponent = Decimal(number).as_tuple()
    assert isinstance(exponent, int)  # noqa: S101
    whole = "".join(map(str, digits)).lstrip("0")
    stripped = whole.rstrip("0")
    return int(stripped or "0"), exponent + len(whole) - len(stripped)


def _number(text: str) -> Written:
    try:
        return Written(text)
    except InvalidOperation:
        raise ValueError(f"the number {text[:40]} can't be held") from None


def _whole(text: str) -> int | Written:
    return int(text) if len(text) <= _MAX_INT_DIGITS else _number(text)


def _refused(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
