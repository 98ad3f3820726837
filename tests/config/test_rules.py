"""What a rule says, and that one that can't be used is refused in a sentence that names it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.config import Config, load, parse_rules
from llmscale.config.rules import METRICS
from llmscale.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "metric", "sign", "bound", "is_share"),
    [
        ("errors>1%", "errors", ">", 0.01, True),
        ("errors>10", "errors", ">", 10, False),
        ("retries>=20%", "retries", ">=", 0.2, True),
        ("p50>500ms", "p50", ">", 0.5, False),
        ("p95>30s", "p95", ">", 30, False),
        ("p99>2m", "p99", ">", 120, False),
        ("p90>30", "p90", ">", 30, False),
        ("call_p99>1m30s", "call_p99", ">", 90, False),
        ("stalled>60s", "stalled", ">", 60, False),
        ("cost>0.5", "cost", ">", 0.5, False),
        ("spend>=80%", "spend", ">=", 0.8, True),
        ("hit_rate<20%", "hit_rate", "<", 0.2, True),
        ("rows_per_s<=2.5", "rows_per_s", "<=", 2.5, False),
    ],
)
def test_a_rule_is_a_number_of_the_run_and_its_bound(
    text: str, metric: str, sign: str, bound: float, is_share: bool
) -> None:
    (rule,) = parse_rules(text)
    assert rule == (text, metric, sign, bound, is_share)


def test_rules_are_parted_by_commas_and_may_have_blanks() -> None:
    rules = parse_rules(" errors > 1% , cost>5 ")
    assert [rule.text for rule in rules] == ["errors>1%", "cost>5"]


@pytest.mark.parametrize("text", ["", "  "])
def test_a_blank_text_has_no_rule(text: str) -> None:
    assert parse_rules(text) == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("latency>3", "unknown metric in rule 'latency>3'; known are errors, retries, p50"),
        ("errors", "invalid rule 'errors'; write for example errors>1%"),
        ("errors=1%", "invalid rule"),
        ("errors>", "invalid rule"),
        ("errors>1%,", "invalid rule ''"),
        ("errors>1%,,cost>1", "invalid rule ''"),
        ("errors>0.5", "'errors>0.5' needs a share such as 1%, or a whole number after >"),
        ("errors>-1", "whole number"),
        ("errors>101%", "from 0% to 100%"),
        ("hit_rate<20", "a share from 0% to 100%"),
        ("spend>=5", "a share from 0% to 100%"),
        ("p95>10%", "a time such as 30s"),
        ("p95>1x", "a time such as 30s"),
        ("cost>$5", "a number after >"),
        ("cost>5%", "a number"),
        ("cost>nan", "a number"),
        ("rows_per_s<5/s", "a number"),
    ],
)
def test_a_rule_that_can_not_be_used_is_named_with_what_exists(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_rules(text)


@pytest.mark.parametrize(
    ("text", "below", "at", "above"),
    [
        ("p95>2", False, False, True),
        ("p95>=2", False, True, True),
        ("p95<2", True, False, False),
        ("p95<=2", True, True, False),
    ],
)
def test_the_sign_says_on_which_side_a_rule_trips(
    text: str, below: bool, at: bool, above: bool
) -> None:
    (rule,) = parse_rules(text)
    assert (rule.trips(1.9), rule.trips(2.0), rule.trips(2.1)) == (below, at, above)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        rules = parse_rules(text)
    except ValueError:
        return
    assert all(rule.metric in METRICS for rule in rules)


@pytest.mark.parametrize("name", ["fail_on", "alert_on"])
def test_an_invalid_rule_is_reported_with_its_origin(name: str, tmp_path: Path) -> None:
    file = tmp_path / "llmscale.toml"
    file.write_text(f'{name} = "x>1"')
    flag = f"--{name.replace('_', '-')}"
    for flags, environ, path, origin in (
        ({name: "x>1"}, {}, None, flag),
        ({}, {f"LLMSCALE_{name.upper()}": "x>1"}, None, f"LLMSCALE_{name.upper()}"),
        ({}, {}, str(file), str(file)),
    ):
        with pytest.raises(ConfigError, match=f"^{origin}: unknown metric in rule 'x>1'"):
            load(flags, environ, path)


def test_the_default_alerts_are_rules() -> None:
    rules = parse_rules(Config().observe.alert_on)
    assert [rule.metric for rule in rules] == ["errors", "call_p99", "stalled", "spend", "spend"]


@pytest.mark.parametrize("name", ["alert", "metrics", "junit", "json_summary"])
def test_alert_targets_and_files_are_set_by_flags_alone(name: str, tmp_path: Path) -> None:
    file = tmp_path / "llmscale.toml"
    file.write_text(f'{name} = "x"')
    for environ, path in (({f"LLMSCALE_{name.upper()}": "x"}, None), ({}, str(file))):
        with pytest.raises(ConfigError, match="only as a flag"):
            load({}, environ, path)
