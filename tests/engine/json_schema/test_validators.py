"""Numbers are those that were written, and patterns are ECMA's wherever they stand."""

from typing import Any

import pytest

from llmscale.engine.json_schema.cost import is_quick
from llmscale.engine.json_schema.validators import misfit, validator_of


@pytest.mark.parametrize(
    ("factor", "text", "fits"),
    [
        (0.01, "19.99", True),
        (0.01, "19.995", False),
        (0.1, "0.3", True),
        (1e-7, "0.0000003", True),
        (0.01, "1e300", True),
        (3, "9", True),
        (3, "10", False),
        (2, "18446744073709551617", False),
        (0.5, "true", True),  # no number
    ],
)
def test_a_multiple_is_worked_out_in_decimals(factor: float, text: str, fits: bool) -> None:
    assert (misfit(validator_of({"multipleOf": factor}), text) is None) == fits


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
    assert (misfit(validator_of(schema), text) is None) == fits


def exponential(levels: int) -> dict[str, Any]:
    defs: dict[str, Any] = {"d0": {"type": "object"}}
    for level in range(1, levels + 1):
        inner = {"$ref": f"#/$defs/d{level - 1}"}
        defs[f"d{level}"] = {"allOf": [inner, inner]}
    return {"$defs": defs, "$ref": f"#/$defs/d{levels}"}


@pytest.mark.parametrize(
    ("schema", "quick"),
    [
        ({"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}}, True),
        ({"properties": {"d": {"pattern": r"^\d{4}$"}}}, True),
        ({"properties": {"d": {"pattern": "^(a+)+$"}}}, False),
        ({"uniqueItems": True}, False),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}, True),
        ({"$ref": "#", "type": "object"}, False),
        (exponential(3), True),
        (exponential(30), False),
    ],
)
def test_what_is_not_sure_to_be_quick_is_known_beforehand(schema: Any, quick: bool) -> None:
    assert is_quick(schema) == quick
