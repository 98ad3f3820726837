"""A template is filled in one pass with the fields of a row, and what they hold stays text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.core.errors import ConfigError
from llmscale.rows.template import MissingField, Template


@pytest.mark.parametrize(
    ("template", "row", "prompt"),
    [
        ("no field", {}, "no field"),
        ("", {}, ""),
        ("Translate: {text}", {"text": "hallo"}, "Translate: hallo"),
        ("{a}{b}{a}", {"a": "1", "b": "2"}, "121"),
        ("{ a }", {"a": "1"}, "1"),
        ("{two words}", {"two words": "1"}, "1"),
        ("{ä}", {"ä": "1"}, "1"),
        ("{a}", {"a": ""}, ""),
        ("{a} {b} {c}", {"a": 1, "b": 2.5, "c": True}, "1 2.5 true"),
        ("{a}", {"a": {"b": ["ü"]}}, '{"b":["ü"]}'),
    ],
)
def test_a_field_is_replaced_by_its_text_or_by_its_json(
    template: str, row: dict[str, Any], prompt: str
) -> None:
    assert Template(template).fill(row) == prompt


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("{{}}", "{}"),
        ("{{a}}", "{a}"),
        ("{{{a}}}", "{1}"),
        ("{{{{a}}}}", "{{a}}"),
        ('{{"x": "{a}"}}', '{"x": "1"}'),
    ],
)
def test_a_brace_is_written_twice(template: str, prompt: str) -> None:
    assert Template(template).fill({"a": "1"}) == prompt


@pytest.mark.parametrize(
    "value", ["{other}", "{{other}}", "{", "}", "{a}", "%s", "{0.__class__}", "\\1", "$other"]
)
def test_what_a_field_holds_is_never_a_template(value: str) -> None:
    row = {"a": value, "other": "secret"}
    assert Template("<{a}>").fill(row) == f"<{value}>"


@pytest.mark.parametrize(
    "name", ["a.b", "a[b]", "a[0]", "a!r", "a:>10", "0", "a.__class__", "__class__", "a.keys"]
)
def test_a_name_is_a_key_and_never_an_attribute_an_index_or_a_format(name: str) -> None:
    template = Template("{" + name + "}")
    with pytest.raises(MissingField) as caught:
        template.fill({"a": {"b": "x"}, "b": "x"})
    assert str(caught.value).startswith(f"a field {name!r}")
    assert template.fill({name: "its own key"}) == "its own key"


def test_a_field_that_the_row_lacks_is_named() -> None:
    with pytest.raises(MissingField, match="'b'"):
        Template("{a} {b}").fill({"a": "1"})


@pytest.mark.parametrize(
    ("template", "brace", "place"),
    [
        ("{", "{", 1),
        ("}", "}", 1),
        ("a } b", "}", 3),
        ("{a", "{", 1),
        ("a}", "}", 2),
        ("{a {b}", "{", 1),
        ("{a}}", "}", 4),
        ("{{a}", "}", 4),
        ("ü{{}}{", "{", 6),
    ],
)
def test_a_lone_brace_is_refused_by_its_place(template: str, brace: str, place: int) -> None:
    complaint = (
        f"^--template: unmatched {brace} at character {place}; write {2 * brace} for a literal one$"
    )
    with pytest.raises(ConfigError, match=complaint.replace("{", r"\{")):
        Template(template)


@pytest.mark.parametrize("template", ["{}", "a { } b"])
def test_a_field_without_a_name_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match=r"\{\} names no field"):
        Template(template)


@given(before=st.text(), value=st.text(), after=st.text())
def test_any_text_survives_in_the_template_and_in_the_field(
    before: str, value: str, after: str
) -> None:
    twice = [text.replace("{", "{{").replace("}", "}}") for text in (before, after)]
    template = Template(f"{twice[0]}{{field}}{twice[1]}")
    assert template.fill({"field": value}) == f"{before}{value}{after}"
