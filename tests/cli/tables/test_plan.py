"""The checklist of a plan on a terminal."""

import pytest

from llmscale.cli.tables.plan import print_plan
from llmscale.commands.plan.checks import Answer, Check
from llmscale.commands.plan.plan import PlanResult


def check(name: str, answer: Answer, command: str | None = None, *, required: bool = True) -> Check:
    return Check(name, f"Is {name} so?", answer, f"because of {name}", command, required)


def shown(capsys: pytest.CaptureFixture[str], *checks: Check) -> str:
    print_plan(PlanResult([], "-", 10, 8, ready=True, lines=list(checks)))
    return capsys.readouterr().out


def test_required_checks_are_listed_before_advice(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, check("load", "yes"), check("alerts", "unknown", required=False))
    required, _, advice = text.partition("Advice")
    assert required.startswith("Required")
    assert "Is load so?" in required
    assert "unknown" in advice
    assert "because of alerts" in advice


def test_next_steps_have_the_names_of_their_checks(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, check("load", "no", "llmscale run in.jsonl --rpm 5"))
    assert "\nNext steps\n  load: llmscale run in.jsonl --rpm 5\n" in text
    assert "Next steps" not in shown(capsys, check("load", "yes"))


def test_the_last_line_is_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    checks = (check("load", "no"), check("cost", "unknown"), check("cap", "no", required=False))
    assert shown(capsys, *checks).endswith("not ready: load\n")
    assert shown(capsys, *checks[1:]).endswith("ready: all required checks pass\n")


def test_names_steer_no_terminal_and_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, check("[/b]\x1b[31m", "no", "\x1b[0m"))
    assert "[/b]\ufffd[31m" in text
    assert "\x1b" not in text
