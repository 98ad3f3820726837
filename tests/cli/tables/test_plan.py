"""The plan for a person: every line with its answer, and the commands below."""

from typing import Any

import pytest

from llmscale.cli.tables.plan import print_plan


def line(name: str, answer: str, *, required: bool = True, command: str | None = None) -> Any:
    return {
        "name": name,
        "question": f"Is {name} so?",
        "answer": answer,
        "evidence": f"because of {name}",
        "command": command,
        "required": required,
    }


def shown(capsys: pytest.CaptureFixture[str], *lines: Any) -> str:
    print_plan({"lines": list(lines)})
    return capsys.readouterr().out


def test_lines_stand_under_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, line("load", "yes"), line("alerts", "unknown", required=False))
    before, _, way = text.partition("On the way")
    assert before.startswith("Before scaling")
    assert "Is load so?" in before
    assert "unknown" in way
    assert "because of alerts" in way


def test_commands_stand_below_with_the_line_that_they_are_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(capsys, line("load", "no", command="llmscale run in.jsonl --rpm 5"))
    assert "\nWhat to do\n  load: llmscale run in.jsonl --rpm 5\n" in text
    assert "What to do" not in shown(capsys, line("load", "yes"))


def test_the_end_says_what_is_lacking(capsys: pytest.CaptureFixture[str]) -> None:
    lines = (line("load", "no"), line("cost", "unknown"), line("cap", "no", required=False))
    assert shown(capsys, *lines).endswith("not ready: load\n")
    assert shown(capsys, *lines[1:]).endswith("nothing that is required is a no\n")


def test_names_steer_no_terminal_and_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, line("[/b]\x1b[31m", "no", command="\x1b[0m"))
    assert "[/b]\ufffd[31m" in text
    assert "\x1b" not in text
