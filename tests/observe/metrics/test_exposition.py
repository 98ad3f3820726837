"""The text is what Prometheus's own parser reads, whatever stands in a label."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from llmscale.core.printable import printable
from llmscale.observe.metrics.exposition import Family, text_of


def parsed(*families: Family) -> dict[str, list[tuple[str, dict[str, str], float]]]:
    """Return the samples as the client library reads them."""
    return {
        found.name: [(s.name, s.labels, s.value) for s in found.samples]
        for found in text_string_to_metric_families(text_of(families))
    }


def test_a_counter_has_help_type_and_its_samples() -> None:
    family = Family("a_total", "counter", "All of it.", [("", {"x": "1"}, 3), ("", {}, 0.5)])
    assert text_of([family]) == (
        '# HELP a_total All of it.\n# TYPE a_total counter\na_total{x="1"} 3\na_total 0.5\n'
    )


def test_a_family_without_a_sample_is_left_out() -> None:
    assert text_of([Family("a_total", "counter", "All of it.", [])]) == ""


@given(st.text().map(printable), st.floats(allow_nan=False, allow_infinity=False))
def test_any_label_and_number_come_back_as_they_were(label: str, value: float) -> None:
    family = Family("a", "gauge", "x", [("", {"x": label}, value)])
    assert parsed(family) == {"a": [("a", {"x": label}, value)]}


@pytest.mark.parametrize("label", ['a"b', "a\\b", "a\nb", 'a\\"b\\n\n', "{x=1}", "é"])
def test_what_the_format_uses_itself_is_escaped_in_a_label(label: str) -> None:
    family = Family("a", "gauge", "x", [("", {"x": label, "y": "z"}, 1)])
    assert parsed(family) == {"a": [("a", {"x": label, "y": "z"}, 1)]}
    assert text_of([family]).count("\n") == 3


def test_help_stays_one_line() -> None:
    assert text_of([Family("a", "gauge", "x\\\ny", [("", {}, 1)])]).startswith(
        "# HELP a x\\\\\\ny\n# TYPE"
    )
