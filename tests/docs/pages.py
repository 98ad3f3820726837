"""README and manual as text, and the parts that tests hold against the code."""

import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from llmscale.commands import help as manual
from tests.servers.chat import ROOT

README = "README"

SET_UP = "python3 -m venv .venv && "

_FENCE = r"^```{}\n(.*?)^```$"


class Command(NamedTuple):
    """A command of a page, and what the page shows of its output; None: nothing."""

    page: str
    line: str
    output: str | None = None


@cache
def texts() -> Mapping[str, str]:
    """Return the README and the pages by topic, in the order of a reader."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return {README: readme} | {topic: manual.page(topic) for topic in manual.topics()}


def everything() -> str:
    """Return all pages as one text."""
    return "\n".join(texts().values())


def fences(page: str, language: str) -> list[str]:
    """Return the blocks of a page in a language."""
    return re.findall(_FENCE.format(language), texts()[page], flags=re.MULTILINE | re.DOTALL)


def lines(page: str) -> list[str]:
    """Return the lines of a page's `sh` blocks."""
    return [line for fence in fences(page, "sh") for line in fence.splitlines()]


def shown(page: str) -> Iterator[Command]:
    """Yield the commands that a page shows with their output."""
    for fence in fences(page, "console"):
        for part in re.split(r"^\$ ", fence, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            yield Command(page, line, output)


def commands() -> list[Command]:
    """Return all commands of llmscale, one by one; a page may repeat one of an earlier page."""
    found: dict[tuple[str, ...], Command] = {}
    for page in texts():
        told = [*shown(page), *(Command(page, line) for line in lines(page))]
        for number, command in enumerate(told):
            if command.line.startswith("llmscale "):
                key = (command.line, str(number)) if command.output else (command.line,)
                found.setdefault(key, command)
    return list(found.values())


def modules() -> list[list[str]]:
    """Return the modules that pages start with `python -m`, with their arguments."""
    starts = "python -m "
    told = [line for page in texts() for line in lines(page) if line.startswith(starts)]
    return [shlex.split(line.removeprefix(starts)) for line in dict.fromkeys(told)]


def section(page: str, title: str) -> str:
    """Return the text below a heading, up to the next one of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(title)}\n", texts()[page], flags=re.MULTILINE)
    assert found, f"{page} has no section {title!r}"
    rest = texts()[page][found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, flags=re.MULTILINE)
    return rest[: end.start()] if end else rest


def flat(text: str) -> str:
    """Return a text as one line."""
    return " ".join(text.split())


def table(text: str, number: int = 0) -> list[list[str]]:
    """Return the cells of a table in a text, without its head."""
    rows = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)[number].splitlines()
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


def code(text: str) -> list[str]:
    """Return what stands in backquotes."""
    return re.findall(r"`([^`\n]+)`", text)
