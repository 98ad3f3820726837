"""Each number that a rule can be about is that of the stats, and none where there is none."""

import pytest

from llmscale.accounting.stats import Stats
from llmscale.config import parse_rules
from llmscale.config.rules import METRICS
from llmscale.core.records import Reply, Usage
from llmscale.observe.alerts import RunMetrics, Spent
from llmscale.observe.alerts.metrics import MIN_ROWS
from tests.observe.alerts import add_rows


def numbers(stats: Stats, spent: Spent | None = None) -> RunMetrics:
    return RunMetrics(stats, elapsed_s=50.0, stalled_s=7.0, spent=spent)


def mixed() -> Stats:
    """90 rows answered after 2 s, 10 failed; 25 retries; 30 hits of 40 look-ups."""
    stats = Stats()
    add_rows(stats, 90, 10, latency_s=2.0)
    for _ in range(25):
        stats.calls_at("here", "sim/a").add(1.0, [], "timeout", attempt=2)
    for number in range(40):
        stats.add_lookup("sim/a", hit=number < 30)
    return stats


@pytest.mark.parametrize(
    ("rule", "value", "words"),
    [
        ("errors>1%", 0.1, "10 % of the rows have failed, 10 of 100"),
        ("errors>1", 10, "10 rows have failed"),
        ("retries>1%", 0.2, "20 % of the calls were retries, 25 of 125"),
        ("retries>1", 25, "25 calls were retries"),
        ("p95>1s", 2.0, "p95 of rows is 2 s"),
        ("call_p50>1s", 1.0, "p50 of calls is 1 s"),
        ("stalled>1s", 7.0, "no row has completed for 7 s"),
        ("cost>1", 22.5, "the calls have cost $22.5000"),
        ("spend>1%", 0.45, "45 % of the budget is used, $4.5000 of --max-cost 10"),
        ("hit_rate<1%", 0.75, "the cache has answered 75 % of its look-ups"),
        ("rows_per_s<1", 2.0, "2 rows a second have completed"),
    ],
)
def test_a_number_and_its_words(rule: str, value: float, words: str) -> None:
    (parsed,) = parse_rules(rule)
    now = numbers(mixed(), Spent(4.5, 10.0))
    found = now.of(parsed)
    assert found == pytest.approx(value, rel=0.011)  # as exact as the sketch
    assert now.said(parsed, value) == words


@pytest.mark.parametrize(
    "rule", ["errors>1%", "retries>1%", "p95>1s", "call_p99>1s", "hit_rate<20%", "spend>=80%"]
)
def test_there_is_no_number_where_nothing_was_counted(rule: str) -> None:
    (parsed,) = parse_rules(rule)
    assert numbers(Stats()).of(parsed) is None


def test_what_calls_have_cost_is_unknown_without_a_price_and_at_least_so_much_with_some() -> None:
    stats = mixed()
    (rule,) = parse_rules("cost>1")
    unpriced = Reply(text="x", finish_reason="stop", model="a", usage=Usage(), cost_usd=None)
    stats.calls_at("here", "sim/a").add(1.0, [unpriced])
    assert numbers(stats).said(rule, 22.5) == "the calls have cost at least $22.5000"
    alone = Stats()
    alone.calls_at("here", "sim/a").add(1.0, [unpriced])
    assert numbers(alone).of(rule) is None


def test_every_metric_of_the_grammar_has_its_number() -> None:
    units = {"errors": ("1", "1%"), "retries": ("1", "1%"), "spend": ("1%",), "hit_rate": ("1%",)}
    now = numbers(mixed(), Spent(1.0, 2.0))
    for metric in METRICS:
        for bound in units.get(metric, ("1",)):
            (rule,) = parse_rules(f"{metric}>{bound}")
            value = now.of(rule)
            assert value is not None
            assert now.said(rule, value)


@pytest.mark.parametrize(
    ("rule", "needs_rows"),
    [
        ("errors>1%", True),
        ("retries>1%", True),
        ("p50>1", True),
        ("call_p50>1", True),
        ("hit_rate<1%", True),
        ("rows_per_s<1", True),
        ("errors>1", False),
        ("retries>1", False),
        ("cost>1", False),
        ("spend>1%", False),
        ("stalled>1", False),
    ],
)
def test_shares_distributions_and_rates_need_some_rows(rule: str, needs_rows: bool) -> None:
    (parsed,) = parse_rules(rule)
    stats = Stats()
    add_rows(stats, MIN_ROWS - 1)
    assert numbers(stats).are_enough(parsed) is not needs_rows
    add_rows(stats, 1)
    assert numbers(stats).are_enough(parsed)
