"""Charts: what is drawn is what is there, axes are round numbers, and text is escaped."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from llmscale.report.charts import (
    HEIGHT,
    WIDTH,
    ChartLine,
    Mark,
    Part,
    bars,
    histogram,
    nice_ticks,
    over_time,
    stacked,
)

HOSTILE = "<script>alert(1)</script>\"'&"


def elements(picture: Markup, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(str(picture)).iter(tag))


def numbers(picture: Markup, tag: str, attribute: str) -> list[float]:
    return [float(element.get(attribute, "nan")) for element in elements(picture, tag)]


def texts(picture: Markup) -> list[str]:
    return [element.text or "" for element in elements(picture, "text")]


@given(st.floats(1e-6, 1e12), st.integers(2, 8), st.sampled_from([10, 60]))
def test_ticks_are_few_round_and_reach_over_the_most(most: float, count: int, base: int) -> None:
    ticks = nice_ticks(most, count, base=base if most > 120 else 10)
    assert ticks[0] == 0
    assert ticks[-1] >= most * 0.999999
    assert len(ticks) <= 2.5 * count + 2
    step = ticks[1]
    assert all(tick == pytest.approx(n * step) for n, tick in enumerate(ticks))


@pytest.mark.parametrize(
    ("most", "base", "ticks"),
    [
        (0, 10, [0, 1]),
        (3, 10, [0, 1, 2, 3]),
        (95, 10, [0, 50, 100]),
        (600, 60, [0, 300, 600]),
        (14_400, 60, [0, 3600, 7200, 10_800, 14_400]),
    ],
)
def test_seconds_become_whole_minutes_and_hours(most: float, base: int, ticks: list[float]) -> None:
    assert nice_ticks(most, base=base) == ticks


def test_a_line_is_as_high_as_its_values() -> None:
    picture = over_time([ChartLine("rows/s", "c0", [0, 5, 10])], 1.0)
    (line,) = elements(picture, "polyline")
    heights = [float(point.split(",")[1]) for point in line.get("points", "").split()]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)
    assert heights[2] < heights[0]
    assert "rows/s" in texts_of_titles(picture)


def texts_of_titles(picture: Markup) -> list[str]:
    return [element.text or "" for element in elements(picture, "title")]


def test_a_run_without_a_step_has_an_empty_chart() -> None:
    picture = over_time([ChartLine("rows/s", "c0", [])], 0.1)
    assert not elements(picture, "polyline")


def test_the_bars_of_a_histogram_are_as_high_as_their_counts() -> None:
    picture = histogram([0.1, 0.2, 0.4], [1, 2, 4], [Mark("p50", 0.2), Mark("p99", 9)])
    heights = numbers(picture, "rect", "height")
    assert [height / heights[0] for height in heights] == pytest.approx([1, 2, 4], abs=0.01)
    assert texts_of_titles(picture)[0] == "up to 100 ms: 1"
    assert {"p50", "p99"} <= set(texts(picture)), "a mark beyond the last bin is in the last"


def test_marks_in_one_bin_share_their_line() -> None:
    picture = histogram([0.1, 0.2], [1, 2], [Mark("p95", 0.15), Mark("p99", 0.16)])
    assert "p95, p99" in texts(picture)


def test_a_stacked_bar_is_cut_in_the_ratio_of_its_parts() -> None:
    picture = stacked([Part("a", "f0", 3.0, "3 s"), Part("b", "f1", 1.0, "1 s")])
    assert numbers(picture, "rect", "width") == pytest.approx([WIDTH * 0.75, WIDTH * 0.25])
    assert texts_of_titles(picture) == ["a: 3 s", "b: 1 s"]


def test_nothing_at_all_is_drawn_as_nothing() -> None:
    assert not elements(stacked([]), "rect")
    assert not elements(bars([]), "rect")
    assert not elements(histogram([], [], []), "rect")


def test_no_text_is_ever_markup() -> None:
    part = Part(HOSTILE, "f0", 1.0, HOSTILE)
    pictures = [
        bars([part]),
        stacked([part]),
        over_time([ChartLine(HOSTILE, "c0", [1.0])], 1),
        histogram([1.0], [1], [Mark(HOSTILE, 1)]),
    ]
    for picture in pictures:
        assert "<script" not in picture
        ElementTree.fromstring(str(picture))  # well-formed


@given(
    st.lists(st.floats(0, 1e9), max_size=30),
    st.floats(0.1, 1e4),
)
def test_everything_drawn_is_inside_of_the_picture(values: list[float], step_s: float) -> None:
    picture = over_time([ChartLine("x", "c0", values)], step_s)
    for line in elements(picture, "polyline"):
        for point in line.get("points", "").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT
    assert not re.search(r"nan|inf", str(picture))
