"""The pages of the manual: all there, short, found by topic, by word and by what is near."""

import re
from importlib.resources import files

import pytest

from llmscale.commands import help as manual
from llmscale.core.errors import ConfigError

MAX_LINES = 200


def test_every_page_is_a_topic_and_every_topic_has_a_page() -> None:
    names = [page.name for page in (files("llmscale") / "manual").iterdir()]
    assert sorted(names) == sorted(f"{topic}.md" for topic in manual.topics())
    assert len(set(manual.topics())) == len(manual.topics())


@pytest.mark.parametrize("topic", manual.topics())
def test_a_page_has_a_title_a_one_line_summary_and_at_most_200_lines(topic: str) -> None:
    lines = manual.page(topic).splitlines()
    assert re.fullmatch(r"# [A-Z].+", lines[0])
    assert [lines[1], lines[3]] == ["", ""]
    assert re.fullmatch(r"[A-Z`].+\.", manual.summary(topic))
    assert len(f"  {topic:<16} {manual.summary(topic)}") <= 80
    assert len(lines) <= MAX_LINES
    assert len([line for line in lines if line.startswith("# ")]) == 1 or "```" in "".join(lines)


@pytest.mark.parametrize(
    ("wrong", "right"), [("retrys", "retries"), ("exit-code", "exit-codes"), ("price", "cost")]
)
def test_an_unknown_topic_is_refused_with_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown topic {wrong}; did you mean .*\b{right}\b"):
        manual.page(wrong)


def test_an_unknown_topic_with_nothing_near_says_where_all_are() -> None:
    with pytest.raises(ConfigError, match="unknown topic zzzq; `llmscale help` lists all topics"):
        manual.page("zzzq")


def test_a_search_finds_lines_whatever_their_case() -> None:
    (found,) = manual.search("cubic")
    assert found.topic == "limits"
    assert "CUBIC" in found.text
    assert manual.page("limits").splitlines()[found.line - 1] == found.text
