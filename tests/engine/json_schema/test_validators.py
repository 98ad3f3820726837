"""Numbers are those that were written, and patterns are ECMA's wherever they stand."""

from typing import Any

import orjson
import pytest

from llmscale.engine.json_schema.deadline import OutOfTime
from llmscale.engine.json_schema.validators import SchemaValidator


@pytest.mark.parametrize(
    ("factor", "text", "fits"),
    [
        (0.01, "19.99", True),
        (0.01, "19.995", False),
        (0.1, "0.3", True),
        (1e-7, "0.0000003", True),
        (0.01, "1e300", True),
        (0.01, "1e400", True),
        (0.01, "19.990000000000000001", False),
        (7, "8264141345021879123969", False),
        (0.5, "1e-999999999", False),
        (3, "9", True),
        (3, "10", False),
        (2, "18446744073709551617", False),
        (0.5, "true", True),  # no number
    ],
)
def test_a_multiple_is_worked_out_in_decimals(factor: float, text: str, fits: bool) -> None:
    assert (SchemaValidator({"multipleOf": factor}).misfit(text) is None) == fits


@pytest.mark.parametrize(
    ("schema", "text", "fits"),
    [
        ({"pattern": "^a$"}, '"a\\n"', False),
        ({"patternProperties": {"^a$": False}}, '{"a\\n": 1}', True),
        (
            {"patternProperties": {"^a$": True}, "additionalProperties": False},
            '{"a\\n": 1}',
            False,
        ),
        ({"properties": {"pattern": {"type": "string"}}}, '{"pattern": "("}', True),
        ({"const": {"pattern": "("}}, '{"pattern": "("}', True),
    ],
)
def test_a_pattern_counts_wherever_it_stands(schema: Any, text: str, fits: bool) -> None:
    assert (SchemaValidator(schema).misfit(text) is None) == fits


def exponential(levels: int) -> dict[str, Any]:
    defs: dict[str, Any] = {"d0": {"type": "object"}}
    for level in range(1, levels + 1):
        inner = {"$ref": f"#/$defs/d{level - 1}"}
        defs[f"d{level}"] = {"allOf": [inner, inner]}
    return {"$defs": defs, "$ref": f"#/$defs/d{levels}"}


@pytest.mark.parametrize(
    ("schema", "text", "fits"),
    [
        ({"maximum": 0.3}, "0.3", True),
        ({"maximum": 0.3}, "0.30000000000000001", False),
        ({"type": "integer"}, "2.0", True),
        ({"type": "integer"}, "2.00000000000000000001", False),
        ({"const": 0.1}, "0.10", True),
        ({"enum": [1, "a"]}, "true", False),
        ({"enum": [1, "a"]}, "1.0", True),
        ({"enum": [[0], {"a": 1.5}]}, '{"a": 1.50}', True),
        ({"uniqueItems": True}, "[1, true, [1], [true]]", True),
        ({"uniqueItems": True}, '[{"a": 1, "b": 2}, {"b": 2.0, "a": 1}]', False),
    ],
)
def test_numbers_are_compared_as_they_are_written(schema: Any, text: str, fits: bool) -> None:
    assert (SchemaValidator(schema).misfit(text) is None) == fits


def test_an_error_shows_a_number_as_json_does() -> None:
    assert "0.5 is greater than the maximum of 0.3" in (
        SchemaValidator({"maximum": 0.3}).misfit("0.5") or ""
    )


@pytest.mark.parametrize("pattern", [r"^\p{L}+$", r"^(?<year>\d{4})$", "^[^]$", r"\D[\D]"])
def test_a_pattern_of_ecma_262_alone_is_taken(pattern: str) -> None:
    SchemaValidator({"pattern": pattern, "patternProperties": {pattern: True}})


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"pattern": "^(a{1,30}){1,30}$"}, '"' + "a" * 40 + '!"'),
        ({"pattern": "^(a|a){1,60}$"}, '"' + "a" * 40 + '!"'),
        ({"patternProperties": {"^(a|a){1,60}$": True}}, '{"' + "a" * 40 + '!": 1}'),
        (
            {"patternProperties": {"^(a|a){1,60}$": True}, "additionalProperties": False},
            '{"' + "a" * 40 + '!": 1}',
        ),
        ({"items": {"anyOf": [{"const": n} for n in range(100)]}}, str([99] * 12_000)),
        ({"items": {"items": {"type": "string"}}}, str([[1] * 16_000])),
        (exponential(30), "{}"),
    ],
)
def test_a_check_ends_at_its_time(schema: Any, text: str) -> None:
    with pytest.raises(OutOfTime):
        SchemaValidator(schema).misfit(text, within_s=0.01)


def test_items_and_choices_are_compared_in_time_that_grows_with_their_number() -> None:
    items = [{"a": n} for n in range(6_000)]
    schema = {"uniqueItems": True, "items": {"enum": items}}
    assert SchemaValidator(schema).misfit(orjson.dumps(items).decode(), within_s=5) is None
