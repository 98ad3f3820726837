"""The page of a report: whole by itself, and with nothing in it that could act."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from llmscale.accounting.stats import BOTTLENECKS, Stats
from llmscale.report.page import page as page_of
from tests.report import add_row, built, mixed_stats, typed

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}"


class Seen(HTMLParser):
    """Notes each element with its attributes, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(report: Any, baseline: Any = None) -> bytes:
    return page_of(typed(report), None if baseline is None else typed(baseline))


def seen(report: dict[str, Any], baseline: dict[str, Any] | None = None) -> Seen:
    parser = Seen()
    parser.feed(page(report, baseline).decode())
    parser.close()
    return parser


def hostile() -> Any:
    stats = Stats()
    add_row(stats, f"sim/{HOSTILE}")
    report = built(stats, 1)
    report["output"] = HOSTILE
    report["inputs"] = [HOSTILE]
    report["rows"]["failures"] = {HOSTILE: 1}
    report["bottleneck"] |= {"says": HOSTILE, "advice": HOSTILE}
    report["users"]["top"] = [
        {"user": HOSTILE, "rows": 1, "failed": 0, "tokens": 0, "cost_usd": None}
    ]
    return report


def test_nothing_of_a_report_becomes_an_element_an_attribute_or_a_template() -> None:
    found = seen(hostile())
    tags = {tag for tag, _ in found.elements}
    assert not tags & {"script", "img", "iframe", "object", "link", "a", "form"}
    assert not any(name.startswith("on") for _, attrs in found.elements for name in attrs)
    assert found.text.count("<script>alert(1)</script>") >= 6, "it is shown as text"
    assert "{{ 7*7 }}" in found.text


def test_nothing_is_loaded_from_anywhere() -> None:
    text = page(built(mixed_stats(), 5)).decode()
    assert not re.search(r"(src|href|url)\s*[=(]|@import|https?://", text, flags=re.IGNORECASE)


def test_the_policy_allows_the_own_style_sheet_by_its_hash_and_nothing_else() -> None:
    text = page(built(mixed_stats(), 5)).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    (style,) = re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert not any("style" in attrs for _, attrs in seen(built(mixed_stats(), 5)).elements)


def test_what_a_person_looks_for_is_there() -> None:
    report = built(mixed_stats(), 12, kept=4, held_s={"tokens": 1.5})
    text = seen(report).text
    for word in ("7", "of 12 rows", "3 pending", "at least $1.0000", "sim/a", "at sim/b"):
        assert word in text
    assert "75 % of the time rows waited for the token limit." in text
    assert "1 row failed: timeout" in text


def test_everything_that_can_hold_a_run_back_has_a_colour_that_the_style_sheet_knows() -> None:
    report = built(mixed_stats(), 5, wall_s=11.0, held_s=dict.fromkeys(BOTTLENECKS, 1.0))
    text = page(report).decode()
    for number in range(10):
        assert f".f{number}" in text
        assert f'class="f{number}"' in text


def test_a_baseline_stands_beside_the_run() -> None:
    report = built(mixed_stats(), 5)
    assert "Beside the baseline" in seen(report, report).text
    assert "Beside the baseline" not in seen(report).text


@pytest.mark.parametrize("name", ["\x1b]52;c;x\x07", "a\u202eb", "a\ud800b"])
def test_what_could_steer_or_break_a_reader_is_shown_as_such(name: str) -> None:
    stats = Stats()
    add_row(stats, f"sim/{name}")
    text = page(built(stats, 1)).decode()
    assert not {"\x1b", "\x07", "\u202e", "\ud800"} & set(text)


def test_a_run_of_nothing_has_a_page() -> None:
    assert "of 0 rows" in seen(built(Stats(), 0, wall_s=0.0)).text
