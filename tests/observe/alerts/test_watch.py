"""A rule trips once, a stall again after rows have moved; the end decides. Time is virtual."""

import asyncio
import logging

import orjson
import pytest
from msgspec import to_builtins

from llmscale.accounting.stats import Stats
from llmscale.config import Config, parse_rules
from llmscale.observe.alerts import Alerts, Rules, Spent
from llmscale.observe.alerts.metrics import MIN_ROWS
from llmscale.observe.alerts.watch import BEAT_S
from tests.observe.alerts import add_rows, alerts, said

pytestmark = pytest.mark.looptime


@pytest.fixture(autouse=True)
def _hear_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


async def watch(watching: Alerts, seconds: float) -> None:
    """Watch for a while and be cancelled, as a run does it."""
    task = asyncio.create_task(watching.watch())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait((task,))


# ---- while the run goes on ---------------------------------------------------------------------


async def test_a_rule_that_trips_is_logged_and_delivered_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stats, told = Stats(), list[bytes]()
    watching = alerts(stats, alert_on="errors>5%", told=told)
    asyncio.get_running_loop().call_later(2.5, add_rows, stats, 90, 10)
    await watch(watching, 60)
    words = "10 % of the rows have failed, 10 of 100"
    assert said(caplog.records) == [f"WARNING: alert errors>5%: {words}"]
    (payload,) = map(orjson.loads, told)
    assert payload.pop("at").endswith("+00:00")
    assert payload == {
        "job": "out.jsonl",
        "rule": "errors>5%",
        "value": 0.1,
        "text": f"llmscale out.jsonl: {words} (errors>5%)",
    }
    (record,) = watching.summary()
    assert record.tripped_at_s == pytest.approx(3.0, abs=BEAT_S)


async def test_no_alert_has_a_text_of_a_row(caplog: pytest.LogCaptureFixture) -> None:
    stats, told = Stats(), list[bytes]()
    add_rows(stats, failed=30)
    everything = Config().observe.alert_on + ",errors>1,retries>=0,cost>=0,rows_per_s>=0"
    await watch(alerts(stats, alert_on=everything, told=told), 70)
    assert len(told) >= 4
    assert b"secret" not in b"".join(told)
    assert "secret" not in caplog.text


async def test_a_share_is_not_judged_before_there_are_rows_enough(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stats = Stats()
    add_rows(stats, failed=MIN_ROWS - 1)
    watching = alerts(stats, alert_on="errors>5%")
    await watch(watching, 10)
    assert caplog.records == []
    add_rows(stats, failed=1)
    await watch(watching, 10)
    assert len(caplog.records) == 1


async def test_a_minute_without_a_row_is_a_stall_and_the_next_one_is_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stats, told = Stats(), list[bytes]()
    watching = alerts(stats, alert_on=Config().observe.alert_on, told=told)
    asyncio.get_running_loop().call_later(200, add_rows, stats, 1)
    await watch(watching, 400)
    message = "WARNING: alert stalled>60s: no row has completed for 61 s"
    assert said(caplog.records) == [message, message]
    assert len(told) == 2
    (record,) = watching.summary()
    assert record.tripped_at_s == pytest.approx(61)


@pytest.mark.parametrize("add", [{"answered": 1}, {"failed": 1}])
async def test_rows_that_complete_in_whatever_way_are_no_stall(
    add: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    stats = Stats()
    for second in range(50, 400, 50):
        asyncio.get_running_loop().call_later(second, lambda: add_rows(stats, **add))
    await watch(alerts(stats, alert_on="stalled>60s"), 400)
    assert caplog.records == []


async def test_a_budget_is_said_at_80_and_at_100_percent(caplog: pytest.LogCaptureFixture) -> None:
    spent_usd = 7.0

    def spent() -> Spent:
        return Spent(spent_usd, 10.0)

    watching = Alerts(Stats(), spent, rules=Rules(alert_on=parse_rules("spend>=80%,spend>=100%")))
    for step_usd in (0.9, 0.1, 1.9, 0.1):
        spent_usd += step_usd
        await watch(watching, 2)
    assert said(caplog.records) == [
        "WARNING: alert spend>=80%: 80 % of the budget is used, $8.0000 of --max-cost 10",
        "WARNING: alert spend>=100%: 100 % of the budget is used, $10.0000 of --max-cost 10",
    ]


async def test_a_rule_without_a_number_does_not_trip(caplog: pytest.LogCaptureFixture) -> None:
    watching = alerts(Stats(), fail_on="hit_rate<20%,spend>=0%,p95>=0s,errors>=0%")
    await watch(watching, 5)
    assert not watching.judge_at_end(5.0)
    assert caplog.records == []
    assert watching.summary() == []
    assert {words for _, _, words in watching.verdicts()} == {""}


# ---- at the end --------------------------------------------------------------------------------


def test_the_end_is_judged_however_few_rows_there_are(caplog: pytest.LogCaptureFixture) -> None:
    stats, told = Stats(), list[bytes]()
    add_rows(stats, 1, 1)
    watching = alerts(stats, fail_on="errors>1%", alert_on=Config().observe.alert_on, told=told)
    assert watching.judge_at_end(1.0)
    words = "50 % of the rows have failed, 1 of 2"
    assert said(caplog.records) == [f"ERROR: --fail-on errors>1%: {words}"]
    assert [orjson.loads(payload)["rule"] for payload in told] == ["errors>1%"]
    assert watching.verdicts() == [("errors>1%", True, words)]
    assert to_builtins(watching.summary()) == [
        {
            "rule": "errors>1%",
            "decides": True,
            "fails": True,
            "value": 0.5,
            "tripped_at_s": 1.0,
            "value_at_end": 0.5,
        }
    ]


def test_what_only_warns_never_decides(caplog: pytest.LogCaptureFixture) -> None:
    stats = Stats()
    add_rows(stats, failed=100)
    watching = alerts(stats, alert_on="errors>5%")
    assert not watching.judge_at_end(1.0)
    assert len(caplog.records) == 1
    assert [record.fails for record in watching.summary()] == [False]


async def test_a_rule_that_has_recovered_by_the_end_has_warned_and_does_not_decide(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stats, told = Stats(), list[bytes]()
    add_rows(stats, 90, 10)
    watching = alerts(stats, fail_on="errors>5%", told=told)
    await watch(watching, 2)
    add_rows(stats, 1_000)
    assert not watching.judge_at_end(10.0)
    assert len(told) == len(caplog.records) == 1
    (record,) = watching.summary()
    assert (record.value, record.fails) == (0.1, False)
    assert record.value_at_end == pytest.approx(0.009, abs=0.001)


async def test_a_rule_that_has_warned_and_decides_is_delivered_once_and_logged_as_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stats, told = Stats(), list[bytes]()
    add_rows(stats, 90, 10)
    watching = alerts(stats, fail_on="errors>5%", alert_on="errors>5%", told=told)
    await watch(watching, 2)
    assert watching.judge_at_end(2.0)
    assert len(told) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert len(watching.summary()) == 1


async def test_the_longest_stall_decides_though_rows_have_moved_since() -> None:
    stats = Stats()
    told = list[bytes]()
    watching = alerts(stats, fail_on="stalled>60s,stalled>2m", told=told)
    asyncio.get_running_loop().call_later(90, add_rows, stats, 1)
    await watch(watching, 100)
    assert watching.judge_at_end(100.0)
    assert [(rule, fails) for rule, fails, _ in watching.verdicts()] == [
        ("stalled>60s", True),
        ("stalled>2m", False),
    ]
    assert len(told) == 1
