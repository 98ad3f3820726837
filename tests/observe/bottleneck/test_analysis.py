"""Bottleneck analysis: seconds that add up, the largest share, the flag that helps."""

import re
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.accounting.stats import BOTTLENECK_OF, BOTTLENECKS, Bottleneck, Cause
from llmscale.config import SETTINGS as NAMES
from llmscale.config import EndpointConfig
from llmscale.observe.bottleneck import Settings, analyze
from llmscale.observe.bottleneck.analysis import _WORDING

HELD_S = st.dictionaries(st.sampled_from(BOTTLENECKS), st.floats(0, 1e5))
SETTINGS = Settings(64)


@given(HELD_S, st.floats(0, 1e6).map(lambda s: round(s, 3)))
def test_the_seconds_add_up_to_the_time_of_the_run_and_the_largest_is_named(
    held_s: dict[Bottleneck, float], wall_s: float
) -> None:
    held_s.pop("end", None)
    found = analyze(held_s, wall_s, SETTINGS)
    seconds = found.seconds
    assert list(seconds) == list(BOTTLENECKS)
    assert sum(seconds.values()) == pytest.approx(wall_s, rel=1e-12, abs=1e-9)
    assert min(seconds.values()) >= 0
    assert seconds[found.main] == max(seconds.values())
    if sum(held_s.values()) <= wall_s:
        for by in held_s:
            assert seconds[by] == pytest.approx(held_s[by], abs=2e-6)


def test_what_nobody_has_counted_went_into_the_end() -> None:
    found = analyze({"requests": 1.5, "start": 0.25}, 2.0, SETTINGS)
    assert found.seconds["end"] == 0.25
    assert (found.main, found.share) == ("requests", 0.75)
    assert found.says == "75 % of the time rows waited for the request limit"


def test_a_run_without_time_has_a_verdict_too() -> None:
    found = analyze({}, 0.0, Settings())
    assert (found.share, sum(found.seconds.values())) == (0.0, 0)


def told(cause: Cause, settings: Settings = SETTINGS) -> tuple[str, str | None]:
    """Return what is said of a run that one cause held back, and the advice."""
    held_s = {BOTTLENECK_OF[cause]: 1.0} if cause != "end" else {}
    found = analyze(held_s, 1.0, settings, {cause: 1.0})
    assert found.main == BOTTLENECK_OF[cause]
    return found.says, found.advice


@pytest.mark.parametrize("cause", BOTTLENECK_OF)
def test_every_cause_is_described_in_words(cause: Cause) -> None:
    says, advice = told(cause, Settings(64, 16))
    assert says.startswith("100 % of the time ")
    assert advice is None or ": " in advice or advice.startswith("[[endpoint]]")


def test_the_advice_is_against_the_cause_with_the_most_seconds() -> None:
    causes_s: dict[Cause, float] = {"rpm": 2.0, "provider_rpm": 3.0, "tpm": 9.0}
    advice = analyze({"requests": 5.0}, 5.0, SETTINGS, causes_s).advice
    assert advice == told("provider_rpm")[1] != told("rpm")[1]


def test_flags_and_settings_that_an_advice_names_are_there() -> None:
    texts = [t.advice for t in _WORDING.values() if t.advice]
    flags = set(chain.from_iterable(re.findall(r"--([a-z-]+)", text) for text in texts))
    settings = set(NAMES)
    names = {"no-adaptive": "adaptive"}
    assert {names.get(flag, flag).replace("-", "_") for flag in flags} <= settings
    tables = set(chain.from_iterable(re.findall(r"(?<!\[)\[([a-z.]+)\]", text) for text in texts))
    assert {table.replace(".", "_") for table in tables} <= settings
    of_endpoints = set(
        chain.from_iterable(re.findall(r"(\w+) of the \[\[endpoint\]\]", text) for text in texts)
    )
    assert of_endpoints == {"rpm", "tpm", "rpd", "tpd", "capacity"}
    assert of_endpoints <= set(EndpointConfig.__struct_fields__)


@pytest.mark.parametrize(
    ("cause", "settings", "flag"),
    [
        ("width", Settings(64), "--concurrency 128: 64 were"),
        ("width", Settings(8, 16), "--concurrency 16: 8 were"),
        ("width", Settings(32, 32), "capacity of the [[endpoint]]"),
        ("capacity", Settings(64, 16), "capacity of the [[endpoint]]"),
        ("capacity", Settings(32, 48), "capacity of the [[endpoint]]"),
        ("capacity", Settings(72), "capacity of the [[endpoint]]"),
        ("ramp", Settings(64), "--no-adaptive"),
    ],
)
def test_of_concurrency_the_flag_is_named_that_gives_more_places(
    cause: Cause, settings: Settings, flag: str
) -> None:
    assert (told(cause, settings)[1] or "").startswith(flag)


def test_where_nothing_was_opened_no_figure_is_made_up() -> None:
    assert told("width", Settings())[1] is None


@pytest.mark.parametrize("cause", ["start", "starved", "reading", "end"])
def test_where_no_flag_would_help_none_is_named(cause: Cause) -> None:
    assert told(cause)[1] is None
