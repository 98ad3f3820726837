"""Patterns mean what ECMA-262 says."""

import pytest

from llmscale.engine.json_schema.patterns import compiled


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
        ("^.$", "\r", False),
        ("^.$", "\u2028", False),
        (r"^\p{Lu}+$", "\u00c9A", True),
        (r"^\p{Lu}+$", "a", False),
        (r"^[\p{L}-]+$", "\u00e9-", True),
        (r"^\p{Script=Greek}+$", "\u03b1", True),
        (r"^[\D]$", "x", True),
        (r"^[\D]$", "5", False),
        (r"^[^\S]$", " ", True),
        (r"\bx", "\u00e9x", True),
        (r"\bx", "ax", False),
        (r"\Bx", "ax", True),
        (r"^a{e}$", "a{e}", True),
    ],
)
def test_a_pattern_is_read_as_ecma_262_says(pattern: str, text: str, fits: bool) -> None:
    assert (compiled(pattern).search(text) is not None) == fits


@pytest.mark.parametrize("pattern", ["(", r"\p{Script=Nowhere}", "a{2,1}"])
def test_a_pattern_that_can_not_be_used_is_named(pattern: str) -> None:
    with pytest.raises(ValueError, match="the pattern"):
        compiled(pattern)
