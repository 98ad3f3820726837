"""The table of retired words finds what it is for, and leaves ordinary English alone."""

import pytest

from tests.docs.retired_words import findings, in_name, in_text


def test_no_retired_word_is_used() -> None:
    assert not [str(one) for one in findings()]


@pytest.mark.parametrize(
    "name",
    ["lots_sent", "RehearsalServer", "MOST_ROWS", "_HAIR_S", "reported_rpm", "settle", "AlarmOn"],
)
def test_a_retired_word_in_a_name_is_found(name: str) -> None:
    assert list(in_name(name))


@pytest.mark.parametrize(
    "name",
    ["slots", "allotted", "LeastLoadedStrategy", "at_most", "strategy", "almost_done", "chair"],
)
def test_a_word_within_a_word_is_none(name: str) -> None:
    assert not list(in_name(name))


@pytest.mark.parametrize(
    "text",
    [
        "the lot is halved",
        "the endpoint rests for 30 s",
        "models that stand in for others",
        "rows are asked again",
        "the limit is told by the provider",
        "no room for another call",
        "an alarm is raised",
        "begin\n    anew",
    ],
)
def test_a_retired_phrase_in_a_text_is_found(text: str) -> None:
    assert list(in_text(text))


@pytest.mark.parametrize(
    "text",
    [
        "the rest of the file",
        "a lot of rows",
        "as long as it holds",
        "before the run",
        "works well, as well as before",
        "most rows, at least one",
        "the width of a column",
        "placeholders, in place of the answer",
        "a still image that will be billed",
    ],
)
def test_ordinary_english_is_none(text: str) -> None:
    assert not list(in_text(text))
