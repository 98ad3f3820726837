"""What is said on stderr can't steer a terminal, is JSON when asked, and is little when quiet."""

import io
import json
import logging
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from llmscale.core.printable import escaped, printable, printable_json
from llmscale.observe.logs import set_up

log = logging.getLogger("llmscale.test")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Leave the package's logger as it was."""
    package, loop = logging.getLogger("llmscale"), logging.getLogger("asyncio")
    before = package.handlers[:], loop.handlers[:], package.propagate, package.level
    last_resort = logging.lastResort
    yield
    package.handlers[:], loop.handlers[:], package.propagate = before[:3]
    package.setLevel(before[3])
    logging.lastResort = last_resort


@pytest.mark.parametrize(
    "unprintable",
    [
        "\x1b]52;c;aGVsbG8=\x07",  # OSC 52 fills the clipboard
        "\x1b[2J",  # CSI clears the screen
        "\x9b2J",  # the same as one C1 character
        "\x90q\x9c",  # DCS
        "\x00",
        "\x08",
        "\t",
        "\r",
        "\n",
        "\x7f",
        "\x85",
        "\u061c",  # marks that reorder text
        "\u200e",
        "\u202a",
        "\u202e",
        "\u2066",
        "\u2069",
        "\u200b",  # marks that hide text
        "\u2060",
        "\ufeff",
        "\U000e0041",
        "\u2028",
        "\ud800",  # what no stream can encode
    ],
)
def test_what_could_steer_a_terminal_is_shown_as_a_mark(unprintable: str) -> None:
    shown = printable(f"before{unprintable}after")
    assert unprintable[0] not in shown
    assert shown.startswith("before\ufffd")
    assert shown.endswith("after")


@pytest.mark.parametrize("text", ["", "plain", "Grüße, 世界 🎉", "[/b] {x} %s \\n", "a\u00a0b"])
def test_what_is_text_stays(text: str) -> None:
    assert printable(text) == text


@given(st.text(st.characters(max_codepoint=0x30FF)))
def test_nothing_printable_has_a_control_character(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert not [c for c in shown if ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u202e"]


@given(st.text(st.characters(codec="utf-8", max_codepoint=0xE01FF)))
def test_json_says_the_same_with_nothing_in_it_that_could_steer_a_terminal(text: str) -> None:
    value = {"a": [text, 1.5]}
    for shown in (printable_json(value), escaped(json.dumps(value, ensure_ascii=False))):
        assert json.loads(shown) == value
        assert "".join(shown.split("\n")) == printable("".join(shown.split("\n")))


def test_json_on_lines_stays_on_its_lines() -> None:
    assert escaped('{"a":"\x7f\x9b\U000e0041 \\u001b"}\n{}\n') == (
        '{"a":"\\u007f\\u009b\\udb40\\udc41 \\u001b"}\n{}\n'
    )


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == "", "data goes to stdout, all else to stderr"
    return captured.err.splitlines()


def say_everything() -> None:
    log.debug("a detail")
    log.info("the news")
    log.warning("a warning")
    log.error("an error")


@pytest.mark.parametrize(
    ("settings_", "lines"),
    [
        ({}, ["the news", "warning: a warning", "error: an error"]),
        ({"quiet": True}, ["error: an error"]),
        (
            {"verbose": True},
            ["debug: a detail", "the news", "warning: a warning", "error: an error"],
        ),
        ({"quiet": True, "verbose": True}, ["error: an error"]),
    ],
)
def test_quiet_says_errors_only_and_verbose_says_all(
    settings_: dict[str, Any], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(**settings_)
    say_everything()
    clocks, texts = zip(*(line.split(" ", 1) for line in said(capsys)), strict=True)
    assert list(texts) == lines
    assert all(datetime.fromisoformat(clock).tzinfo is not None for clock in clocks)


def test_a_terminal_gets_the_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    set_up()
    log.info("the news")
    clock, _, text = terminal.getvalue().partition(" ")
    assert time.strptime(clock, "%H:%M:%S")
    assert text == "the news\n"


def test_a_line_of_text_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    log.warning("model says %s", "x\n12:00:00 error: forged\x1b[2J")
    (line,) = said(capsys)
    assert line.endswith("warning: model says x\ufffd12:00:00 error: forged\ufffd[2J")


def entries(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said(capsys)]


def test_a_json_line_has_time_level_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(log_format="json")
    before_s = time.time()
    log.warning('a "quoted" %s', "wörd\x1b\ud800")
    (entry,) = entries(capsys)
    assert set(entry) == {"time", "level", "message"}
    assert (entry["level"], entry["message"]) == ("warning", 'a "quoted" wörd\ufffd\ufffd')
    assert before_s - 1 <= entry["time"] <= time.time() + 1


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_is_logged_without_its_control_characters(
    log_format: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(verbose=True, log_format=log_format)
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        log.debug("it failed", exc_info=True)
    lines = said(capsys)
    assert "\x1b" not in "".join(lines)
    if log_format == "json":
        assert len(lines) == 1
        assert "ValueError: \ufffd[2J" in json.loads(lines[0])["traceback"]
    else:
        assert lines[-1] == "ValueError: \ufffd[2J"


def test_other_packages_are_not_heard_and_hear_nothing(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    set_up(verbose=True)
    logging.getLogger("aiohttp").info("not ours")
    log.info("ours")
    assert [line.split(" ", 1)[1] for line in said(capsys)] == ["ours"]
    assert "ours" not in [record.message for record in caplog.records if record.name == log.name]


def test_what_python_would_print_of_others_is_not_heard(
    capfd: pytest.CaptureFixture[str],
) -> None:
    set_up()
    other = logging.getLogger("aiohttp.client")
    other.propagate = False  # as it is without pytest: nobody else listens
    other.error("Illegal cookie \x9b2J")
    other.propagate = True
    assert capfd.readouterr() == ("", "")


def test_what_nobody_waited_for_is_said_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up()
    logging.getLogger("asyncio").error("Task exception was never retrieved: \x1b[2J")
    (line,) = said(capsys)
    assert line.endswith("error: Task exception was never retrieved: \ufffd[2J")


def test_setting_up_again_replaces_what_was_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(verbose=True)
    set_up(log_format="json")
    log.info("once")
    assert [entry["message"] for entry in entries(capsys)] == ["once"]


def test_stderr_is_looked_up_when_something_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    set_up()
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    log.info("here")
    assert stream.getvalue().endswith("here\n")


def test_a_line_is_written_above_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    set_up()
    with tqdm(total=10, file=stream, mininterval=0):
        log.warning("in between")
    shown = stream.getvalue()
    before = shown[: shown.index("warning: in between")]
    assert "0/10" in before
    assert before.rstrip("0123456789T:+- ").endswith("\r"), "the bar was taken away first"
    assert "0/10" in shown[len(before) :], "and drawn again below"
