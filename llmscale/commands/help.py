"""`llmscale help`: the pages of the manual, by topic and by word.

A page is a Markdown file of `llmscale/manual`: a title, a sentence that says what it is about, and
the rest.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.resources import files
from typing import NamedTuple

from llmscale.core.errors import ConfigError

TOPICS: Mapping[str, tuple[str, ...]] = {
    "Basics": ("input", "output", "models", "config", "flags"),
    "Jobs": ("resume", "cost", "cache", "limits", "retries", "balancing", "routing"),
    "Embeddings": ("embed", "search"),
    "Before a run": ("estimate", "plan", "mock"),
    "During a run": ("status",),
    "After a run": ("report", "bottleneck", "troubleshooting"),
    "Automation": ("exit-codes", "alerts", "metrics", "ci", "completion"),
    "Guarantees": ("reliability", "security"),
    "Project": ("benchmarks", "development", "changelog", "glossary"),
}
"""The topics by heading; each is the name of a page."""

MAX_SUGGESTIONS = 3


class Match(NamedTuple):
    """A line of a page that has the word that was searched for."""

    topic: str
    line: int  # from 1
    text: str


def topics() -> tuple[str, ...]:
    """Return all topics in the order of the manual."""
    return tuple(topic for under in TOPICS.values() for topic in under)


def page(topic: str) -> str:
    """Return the Markdown of a topic; raises `ConfigError` with the nearest topics."""
    if topic not in topics():
        raise ConfigError(_unknown(topic))
    return (files("llmscale") / "manual" / f"{topic}.md").read_text(encoding="utf-8")


def summary(topic: str) -> str:
    """Return the sentence that says what a page is about."""
    _, _, first, *_ = page(topic).split("\n")
    return first


def search(word: str) -> Iterator[Match]:
    """Yield every line that has a word, whatever its case."""
    for topic in topics():
        for number, line in enumerate(page(topic).splitlines(), start=1):
            if word.casefold() in line.casefold():
                yield Match(topic, number, line)


def _unknown(topic: str) -> str:
    near = get_close_matches(topic, topics(), n=MAX_SUGGESTIONS) or _nearest_by_content(topic)
    if near:
        return f"unknown topic {topic}; did you mean {' or '.join(near)}?"
    return f"unknown topic {topic}; `llmscale help` lists all topics"


def _nearest_by_content(word: str) -> list[str]:
    """Return the topics that have a word most often."""
    found = [match.topic for match in search(word) if match.topic != "flags"]
    return sorted(set(found), key=lambda topic: (-found.count(topic), topic))[:MAX_SUGGESTIONS]
