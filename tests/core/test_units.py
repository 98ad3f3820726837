"""Amounts as people write them: read exactly, or refused with an example of what is right."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.core.units import duration_s, per_minute, short_size, size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("90s", 90),
        ("5m", 300),
        ("12h", 43_200),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1.5h", 5_400),
        ("1m30s", 90),
        ("1h1m1s1ms", 3661.001),
        (" 7D ", 604_800),
        ("0s", 0),
    ],
)
def test_a_duration_is_the_sum_of_its_parts_in_seconds(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "7", "d", "7 d", "1h 30m", "-5s", "5x", "1d2", "1.s", ".5s", "7days", "٧ d"]
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid duration .*; write for example 90s, 12h or 7d"):
        duration_s(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (500, 500),
        (0.5, 0.5),
        ("500", 500),
        ("200_000", 200_000),
        ("500/min", 500),
        ("500/m", 500),
        ("10/s", 600),
        ("10 / sec", 600),
        ("30000/h", 500),
        ("30000/hour", 500),
    ],
)
def test_a_rate_is_per_minute_unless_it_says_otherwise(value: float | str, expected: float) -> None:
    assert per_minute(value) == pytest.approx(expected)


@pytest.mark.parametrize("value", ["", "/", "x", "5/", "5/day", "5/s/s", "min", "5 per minute"])
def test_what_is_no_rate_is_refused_with_an_example(value: str) -> None:
    with pytest.raises(
        ValueError, match=r"invalid rate .*; write for example 500, 500/min or 10/s"
    ):
        per_minute(value)


@pytest.mark.parametrize("value", [0, -1, "-5/s", "0/h", "nan", "inf", "1e999"])
def test_a_rate_that_never_or_always_grants_is_refused(value: float | str) -> None:
    with pytest.raises(ValueError, match="must be more than 0"):
        per_minute(value)


@pytest.mark.parametrize(
    ("text", "expected_bytes"),
    [
        ("1", 1),
        ("500B", 500),
        ("1kB", 1_000),
        ("500MB", 500_000_000),
        ("500 mb", 500_000_000),
        ("2GB", 2_000_000_000),
        ("2g", 2_000_000_000),
        ("1.5TB", 1_500_000_000_000),
        ("1KiB", 1_024),
        ("1MiB", 1_048_576),
        ("1GiB", 1_073_741_824),
        ("0.5TiB", 549_755_813_888),
        (" 10GB ", 10_000_000_000),
        ("0.0001kB", 0),
    ],
)
def test_a_size_is_decimal_unless_it_says_otherwise(text: str, expected_bytes: int) -> None:
    assert size_bytes(text) == expected_bytes


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1XB", "1e9", "1 G B", "1,5GB", "0x10"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid size .*; write for example 500MB or 2GB"):
        size_bytes(text)


@pytest.mark.parametrize("text", ["9" * 400, "9" * 400 + "GB", "9223372036854775808", "10000000TB"])
def test_a_size_that_no_disk_has_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="more than any disk holds"):
        size_bytes(text)


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (duration_s, size_bytes):
        with suppress(ValueError):
            assert read(text) >= 0


@pytest.mark.parametrize(
    ("count_bytes", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (2_000_000_000, "2.0 GB"),
        (3_400_000_000_000, "3.4 TB"),
        (3_400_000_000_000_000, "3400.0 TB"),
    ],
)
def test_a_size_is_shown_in_the_unit_that_fits(count_bytes: int, shown: str) -> None:
    assert short_size(count_bytes) == shown
