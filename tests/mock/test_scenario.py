"""Scenarios: what happens when and to whom; a wrong one is a sentence that says what is right."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llmscale.core.errors import ConfigError
from llmscale.mock.behaviour import OPTIONS, Behaviour, word
from llmscale.mock.scenario import Scenario
from llmscale.mock.scenario_file import scenario_of
from tests.mock.client import HELLO, serving


def loaded(folder: Path, text: str, **options: object) -> Scenario:
    file = folder / "night.toml"
    file.write_text(text)
    return scenario_of(options, str(file))


def test_a_phase_lasts_from_its_first_second_to_just_before_its_last(tmp_path: Path) -> None:
    night = loaded(tmp_path, "[[phase]]\nfrom_s = 10\nuntil_s = 20\nerror_rate = 0.5\n")
    rates = [night.at(at_s, "m").error_rate for at_s in (0, 9.99, 10, 19.99, 20, 1e6)]
    assert rates == [0, 0, 0.5, 0.5, 0, 0]


def test_without_times_a_phase_is_always(tmp_path: Path) -> None:
    night = loaded(tmp_path, "[[phase]]\nlatency = 1\n", error_rate="0.5")
    assert night.at(0, "m") == night.at(1e6, None) == Behaviour(latency_s=1, error_rate=0.5)


def test_a_phase_may_be_for_one_model(tmp_path: Path) -> None:
    night = loaded(tmp_path, '[[phase]]\nmodel = "a"\nhang_rate = 1\n')
    assert [night.at(0, model).hang_rate for model in ("a", "b", None)] == [1, 0, 0]


def test_of_phases_that_overlap_the_later_in_the_file_wins_option_by_option(
    tmp_path: Path,
) -> None:
    night = loaded(
        tmp_path,
        "[[phase]]\nuntil_s = 20\nlatency = 1\nerror_rate = 0.1\n"
        '[[phase]]\nfrom_s = 10\nlatency = 2\n[[phase]]\nmodel = "a"\nerror_rate = 0\n',
    )
    seen = [(night.at(at_s, "b").latency_s, night.at(at_s, "b").error_rate) for at_s in (5, 15, 25)]
    assert seen == [(1, 0.1), (2, 0.1), (2, 0)]
    assert night.at(5, "a") == Behaviour(latency_s=1)


def test_an_outage_is_ended_by_a_later_phase(tmp_path: Path) -> None:
    text = "[[phase]]\nstatus = 503\n[[phase]]\nfrom_s = 5\nreset = true\n"
    night = loaded(tmp_path, text + "[[phase]]\nfrom_s = 9\nreset = false\n")
    assert [night.at(at_s, "m").outage for at_s in (0, 5, 9)] == [503, "reset", None]


def test_models_that_a_client_makes_up_take_no_memory(tmp_path: Path) -> None:
    night = loaded(tmp_path, '[[phase]]\nmodel = "a"\nfrom_s = 5\nlatency = 1\n')
    for number in range(1000):
        night.at(number % 10, f"m{number}")
    assert len(night._found) == 2


async def test_an_outage_comes_and_goes_over_the_wire(tmp_path: Path) -> None:
    file = tmp_path / "night.toml"
    file.write_text(
        "[[phase]]\nfrom_s = 10\nuntil_s = 20\nstatus = 503\n"
        '[[phase]]\nfrom_s = 30\nuntil_s = 40\nreset = true\nmodel = "m"\n'
    )
    async with serving(file=file) as served:
        client = await served.connect()
        statuses = []
        for _ in range(3):
            statuses.append((await client.ask()).status)
            served.clock.now_s += 10
        models = await client.ask(b"", "/v1/models", method="GET")
        assert [model["id"] for model in models.json["data"]] == ["m"]
        assert (await client.ask({**HELLO, "model": "other"})).status == 200
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await client.ask()
        served.clock.now_s += 10
        assert (await (await served.connect()).ask()).status == 200
        assert served.server.tally.faults == 2
    assert statuses == [200, 503, 200]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = ", "is not valid TOML"),
        ("", "one or more [[phase]] tables"),
        ("[phase]\nlatency = 1", "one or more [[phase]] tables"),
        ("phase = [1]", "one or more [[phase]] tables"),
        ("name = 1\n[[phase]]\nlatency = 1", "unknown name"),
        ("[[phase]]\n", "phase 1: it changes nothing"),
        ("[[phase]]\nfrom_s = 3", "phase 1: it changes nothing"),
        ("[[phase]]\nlatncy = 1", "phase 1: latncy: unknown; did you mean latency?"),
        ("[[phase]]\nport = 1", "phase 1: port: unknown"),
        ("[[phase]]\nlatency = -1", "phase 1: latency: invalid time -1; write seconds from 0"),
        ("[[phase]]\nlatency = true", "phase 1: latency: invalid time True"),
        ("[[phase]]\nlatency = nan", "phase 1: latency: invalid time nan"),
        ("[[phase]]\nlatency = [1]", "phase 1: latency: invalid time [1]"),
        ("[[phase]]\nerror_rate = 10", "invalid share 10; write a number from 0 to 1"),
        ("[[phase]]\nlatency = 1\n[[phase]]\nrpm = 0", "phase 2: rpm: a rate must be more than 0"),
        ("[[phase]]\nrpm = '1/h'", "phase 1: rpm: rate '1/h' is below 1 per minute"),
        ("[[phase]]\ntpm = true", "phase 1: tpm: invalid rate True"),
        ("[[phase]]\ncapacity = 1.5", "phase 1: capacity: invalid number 1.5; write an integer"),
        ("[[phase]]\nstatus = 200", "phase 1: status: invalid number 200; write an integer from"),
        ("[[phase]]\nreset = 1", "phase 1: reset: invalid value 1; write true or false"),
        ("[[phase]]\nstatus = 500\nreset = true", "status and reset are two outages; give one"),
        ("[[phase]]\nmodel = 1\nlatency = 1", "phase 1: model: invalid model 1"),
        ("[[phase]]\nfrom_s = 5\nuntil_s = 5\nrpm = 1", "until_s 5 must be more than from_s 5"),
        ("[[phase]]\nhang_rate = 0.6\ncut_body = 0.6", "exceed all calls"),
        ("[[phase]]\nslow_tail = 0.1", "slow_tail needs a latency or a jitter"),
    ],
)
def test_a_wrong_scenario_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, text)
    assert sentence in str(refused.value)
    assert "night.toml" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, (_, read) in OPTIONS.items()
        for value in ("x", "", "-1", "nan")
        if read is not word or not value
    ],
)
def test_a_wrong_option_is_one_sentence_that_names_it(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        scenario_of({name: value}, None)
    assert str(refused.value).startswith(f"--{name.replace('_', '-')}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "a_minute"), [("500", 500), ("10/s", 600), ("7/s", 420), ("90/h", 1), (30, 30)]
)
def test_a_rate_is_so_many_whole_calls_a_minute(value: Any, a_minute: int) -> None:
    assert scenario_of({"rpm": value}, None).at(0, None).rpm == a_minute


def test_a_scenario_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"can't read the scenario nowhere\.toml"):
        scenario_of({}, "nowhere.toml")
