"""Patterns mean what ECMA-262 says, and which of them are sure to be quick is known."""

import pytest

from llmscale.engine.json_schema.patterns import compiled, is_linear


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("^[a-z]+$", "abc", True),
        ("^[a-z]+$", "abc\n", False),
        ("^a|b$", "xb\n", False),
        (r"^\d+$", "\u0663", False),
        (r"^\w+$", "\u00e9", False),
        (r"^\s$", "\ufeff", True),
        (r"^\s$", "\x1c", False),
        (r"^\S+$", "a\u00a0", False),
        (r"^[\d.]+$", "1.5", True),
        (r"^\p{L}+$", "\u00e9\u4e2d", True),
        (r"^\u{1F600}$", "\U0001f600", True),
        (r"^(?<y>\d{4})-\k<y>$", "2026-2026", True),
        ("^[^]$", "\n", True),
        (r"^\$[$]$", "$$", True),
        (r"^\/$", "/", True),
        ("[[]", "[", True),
    ],
)
def test_a_pattern_is_read_as_ecma_262_says(pattern: str, text: str, fits: bool) -> None:
    assert (compiled(pattern).search(text) is not None) == fits


@pytest.mark.parametrize("pattern", ["(", r"\p{Script=Greek}", r"[\D]", "a{2,1}"])
def test_a_pattern_that_can_not_be_used_is_named(pattern: str) -> None:
    with pytest.raises(ValueError, match="the pattern"):
        compiled(pattern)


@pytest.mark.parametrize(
    ("pattern", "is_quick"),
    [
        (r"^\d{4}-\d{2}-\d{2}$", True),
        ("^(red|green)$", True),
        ("^(a+)+$", False),
        ("a*b", False),
        (r"^(.)\1$", False),
        ("^[a-z]{1,200}$", False),
    ],
)
def test_a_pattern_that_repeats_without_bound_is_not_sure_to_be_quick(
    pattern: str, is_quick: bool
) -> None:
    assert is_linear(pattern) == is_quick
