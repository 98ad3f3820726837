"""What the README tells machines and those who set them up is what the code does."""

import orjson

from llmscale.accounting.stats import Stats
from llmscale.config import Config
from llmscale.config.rules import METRICS
from llmscale.observe.alerts import delivery as telling
from llmscale.observe.alerts import targets
from llmscale.observe.alerts.metrics import FEWEST_ROWS
from llmscale.observe.json_summary import summary_line
from llmscale.observe.junit import examples
from llmscale.observe.metrics import Facts, families_of, metrics_file
from llmscale.observe.otel import FLUSH_S
from tests.docs.test_readme import FLAGS, code, flat, section, table
from tests.observe.alerts import add_rows, alerts


def test_the_numbers_of_rules_are_all_there() -> None:
    assert [n for row in table(section("Alarms and machines")) for n in code(row[0])] == list(
        METRICS
    )


def test_the_default_alarms_are_told_where_the_flag_is() -> None:
    (told,) = (row[-1] for _, *row in FLAGS if "`--alert-on`" in row[0])
    assert code(told) == [Config().observe.alert_on]


def test_the_alarms_have_the_fields_that_are_told() -> None:
    stats, told = Stats(), list[bytes]()
    add_rows(stats, failed=FEWEST_ROWS)
    watching = alerts(stats, alert_on="errors>5%", told=told)
    watching.judge_at_end(1.0)
    sentence = flat("Alarms and machines").partition("The JSON holds ")[2].partition(";")[0]
    assert code(sentence) == list(orjson.loads(told[0]))
    entry = flat("The report").partition("An entry of `alerts` holds ")[2].partition(". ")[0]
    assert code(entry) == list(watching.summary()[0])


def test_the_bounds_of_alarms_are_those_of_the_code() -> None:
    text = flat("Alarms and machines")
    assert f"only when {FEWEST_ROWS} rows have an outcome" in text
    assert f"an answer may take {targets.WEBHOOK_TIMEOUT_S:g} seconds" in text
    assert f"after {targets.COMMAND_TIMEOUT_S:g} seconds it is killed" in text
    assert f"up to {telling.LAST_S:g} seconds at its end" in text
    assert f"every {metrics_file.BEAT_S:g} seconds" in flat("Metrics")
    assert f"(0{metrics_file.READABLE:o})" in flat("Metrics")
    assert f"up to {examples.MOST} of its rows" in flat("In CI")
    assert f"up to {FLUSH_S:g} seconds at the end" in flat("Spans")


def test_the_metrics_and_their_labels_are_all_there() -> None:
    stats = Stats()
    add_rows(stats, 1, 1)
    stats.add_lookup("sim/a", hit=True)
    facts = Facts(3, 0, {"here": (0, 0)}, 1.0, 0)
    there = {
        family.name: {label for _, labels, _ in family.samples for label in labels} - {"run", "le"}
        for family in families_of("x", stats, facts)
    }
    rows = table(section("Metrics"))
    assert {name: set(code(row[1])) for row in rows for name in code(row[0])} == there


def test_the_fields_of_the_summary_are_all_there() -> None:
    told = flat("In CI").partition("It holds ")[2].partition(". ")[0]
    assert code(told) == list(orjson.loads(summary_line(0, None, None)))
