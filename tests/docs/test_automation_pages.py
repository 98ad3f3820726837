"""The pages on alerts, metrics and CI say what the code does."""

import orjson

from llmscale.accounting.stats import Stats
from llmscale.config import Config
from llmscale.config.rules import METRICS
from llmscale.observe.alerts import delivery as telling
from llmscale.observe.alerts import targets
from llmscale.observe.alerts.metrics import MIN_ROWS
from llmscale.observe.json_summary import summary_line
from llmscale.observe.junit import examples
from llmscale.observe.metrics import Facts, families_of, metrics_file
from llmscale.observe.otel import FLUSH_S
from tests.docs.pages import code, flat, table, texts
from tests.observe.alerts import add_rows, alerts


def page(topic: str) -> str:
    return flat(texts()[topic])


def test_the_metrics_of_rules_are_all_there() -> None:
    rows = table(texts()["alerts"])
    assert [name for row in rows for name in code(row[0])] == list(METRICS)


def test_the_default_alerts_are_those_of_the_flag() -> None:
    shown = Config().observe.alert_on.replace(",", ", ")
    assert f"| {shown} |" in texts()["flags"]


def test_alerts_have_the_fields_that_the_pages_name() -> None:
    stats, sent = Stats(), list[bytes]()
    add_rows(stats, failed=MIN_ROWS)
    watching = alerts(stats, alert_on="errors>5%", told=sent)
    watching.judge_at_end(1.0)
    sentence = page("alerts").partition("The JSON has ")[2].partition(", a sentence")[0]
    assert code(sentence) == list(orjson.loads(sent[0]))
    entry = page("report").partition("An entry of `alerts` has ")[2].partition(". ")[0]
    assert code(entry) == list(watching.summary()[0].__struct_fields__)


def test_the_bounds_of_alerts_are_those_of_the_code() -> None:
    text = page("alerts")
    assert f"until {MIN_ROWS} rows have an outcome" in text
    assert f"with a timeout of {targets.WEBHOOK_TIMEOUT_S:g} seconds" in text
    assert f"killed after {targets.COMMAND_TIMEOUT_S:g} seconds" in text
    assert f"at most {telling.LAST_S:g} seconds at the end" in text
    assert f"every {metrics_file.BEAT_S:g} seconds" in page("metrics")
    assert f"(0{metrics_file.READABLE:o})" in page("metrics")
    assert f"up to {examples.MAX_EXAMPLES} of its rows" in page("ci")
    assert f"up to {FLUSH_S:g} seconds at the end" in page("metrics")


def test_the_metrics_and_their_labels_are_all_there() -> None:
    stats = Stats()
    add_rows(stats, 1, 1)
    stats.add_lookup("sim/a", hit=True)
    facts = Facts(3, 0, {"here": (0, 0)}, 1.0, 0)
    there = {
        family.name: {label for _, labels, _ in family.samples for label in labels} - {"run", "le"}
        for family in families_of("x", stats, facts)
    }
    rows = table(texts()["metrics"])
    assert {name: set(code(row[1])) for row in rows for name in code(row[0])} == there


def test_the_fields_of_the_summary_are_all_there() -> None:
    fields = page("ci").partition("It has `exit_code`")[2].partition(". ")[0]
    assert ["exit_code", *code(fields)] == list(orjson.loads(summary_line(0, None, None)))
