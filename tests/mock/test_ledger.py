"""The ledger: what arrived and what became of it, a line each; never a key and never a text."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from llmscale.core.errors import StorageError
from llmscale.mock.ledger import Ledger, Started, Tally
from llmscale.mock.scenario_file import scenario_of
from llmscale.mock.server import MockServer
from tests.cli.tool import read_rows
from tests.mock.client import HELLO, request, serving
from tests.platforms import FULL_DEVICE, needs_full_device
from tests.servers.chat import expected_answer

KEY = expected_answer("m", HELLO["messages"]).removeprefix("A:")  # type: ignore[arg-type]
CANARY = "sk-canary-0123456789abcdef"


def without_times(file: Path) -> list[dict[str, Any]]:
    rows = read_rows(file)
    times = [row.pop("time_s") for row in rows]
    assert times == sorted(times)
    return rows


async def test_a_call_has_a_line_when_it_arrives_and_one_when_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    async with serving(ledger=file) as served:
        response = await (await served.connect()).ask()
    whose = {"call": 1, "connection": 1, "kind": "chat"}
    size_bytes = len(request(HELLO).partition(b"\r\n\r\n")[2])
    assert without_times(file) == [
        {"event": "started"},
        {
            "event": "arrived",
            **whose,
            "model": "m",
            "key": KEY,
            "bytes": size_bytes,
            "authorization": False,
        },
        {
            "event": "ended",
            **whose,
            "key": KEY,
            "status": 200,
            "bytes": len(response.raw),
            "fault": None,
            "answered": True,
            "client_gone": False,
        },
    ]


async def test_times_are_those_of_the_servers_clock(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    async with serving(ledger=file) as served:
        client = await served.connect()
        served.clock.now_s += 1000
        await client.ask()
    started, arrived, ended = (row["time_s"] for row in read_rows(file))
    assert arrived - started == pytest.approx(1000)
    assert ended == arrived


@pytest.mark.parametrize(
    ("options", "ending"),
    [
        ({"error_rate": 1}, {"status": 500, "fault": "error"}),
        ({"cut_body": 1}, {"status": 200, "fault": "cut"}),
        ({"tpm": 1}, {"status": 429, "fault": None}),
    ],
)
async def test_a_call_that_got_no_answer_is_not_answered(
    tmp_path: Path, options: dict[str, Any], ending: dict[str, object]
) -> None:
    file = tmp_path / "ledger"
    async with serving(ledger=file, **options) as served:
        client = await served.connect()
        client.send()
        assert await client.reader.read(10)
    last = read_rows(file)[-1]
    assert ending.items() <= last.items()
    assert not last["answered"]
    assert not last["client_gone"]


async def test_a_client_that_went_away_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    async with serving(ledger=file, latency=60) as served:
        client = await served.connect()
        client.send()
        await served.until(lambda tally: tally.calls)
        client.writer.close()
        await served.until(lambda tally: tally.left)
    last = read_rows(file)[-1]
    assert (last["status"], last["answered"], last["client_gone"]) == (None, False, True)


async def test_a_server_that_ends_leaves_no_call_without_an_end(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    async with serving(ledger=file, latency=60) as served:
        client = await served.connect()
        client.send()
        await served.until(lambda tally: tally.calls)
    last = read_rows(file)[-1]
    assert (last["event"], last["answered"], last["client_gone"]) == ("ended", False, False)
    assert str(served.server.tally).endswith("0 faults, 1 unanswered at the end")


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "api-key"])
async def test_that_a_key_was_sent_is_noted_and_the_key_is_not(tmp_path: Path, name: str) -> None:
    file = tmp_path / "ledger"
    async with serving(ledger=file) as served:
        client = await served.connect()
        key = {name: f"Bearer {CANARY}"}
        shown = [
            await client.ask(headers=key),
            await client.ask(b"{", headers=key),
            await client.ask(path=f"/v1/{CANARY[:5]}?key={CANARY}", headers=key),
        ]
    assert CANARY.encode() not in file.read_bytes()
    assert CANARY[:5].encode() not in file.read_bytes()
    assert CANARY.encode() not in b"".join(response.raw for response in shown)
    arrived = [row for row in read_rows(file) if row["event"] == "arrived"]
    assert [row["authorization"] for row in arrived] == [True] * 3


def test_lines_are_appended_and_for_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    for second in (1.0, 2.0):
        ledger = Ledger(str(file))
        ledger.write(Started(second))
        ledger.close()
    assert [orjson.loads(line)["time_s"] for line in file.read_bytes().splitlines()] == [1, 2]
    assert file.stat().st_mode & 0o777 == 0o600


@needs_full_device
async def test_a_full_disk_is_reported_and_calls_are_still_answered() -> None:
    told: list[StorageError] = []
    ledger = Ledger(FULL_DEVICE)
    scenario = scenario_of({}, None)
    async with MockServer(scenario, ledger=ledger, on_failure=told.append):
        assert "No space left" in str(told[0])
    ledger.close()


def test_a_ledger_that_can_not_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"can't write the ledger .*: Is a directory"):
        Ledger(str(tmp_path))


def test_the_summary_adds_up() -> None:
    tally = Tally(calls=10, answered=5, refused=2, faults=1, left=1)
    assert str(tally) == (
        "10 calls: 5 answered, 2 refused, 1 faults, 1 left by the client, 1 unanswered at the end"
    )
