"""`llmscale help`: Markdown when piped, rendered on a terminal, exit codes for what is missing."""

from pathlib import Path

import pytest

from llmscale.commands import help as manual
from tests.cli.tool import llmscale, on_a_terminal


def test_without_a_topic_all_are_listed_with_a_line_each(tmp_path: Path) -> None:
    shown = llmscale("help", cwd=tmp_path).stdout
    lines = [line for line in shown.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == list(manual.topics())
    assert all(line.endswith(manual.summary(line.split()[0])) for line in lines)


def test_a_page_is_raw_when_piped(tmp_path: Path) -> None:
    assert llmscale("help", "cost", cwd=tmp_path).stdout == manual.page("cost")


def test_a_page_is_rendered_on_a_terminal(tmp_path: Path) -> None:
    code, shown = on_a_terminal("help", "cost", cwd=tmp_path)
    assert code == 0
    assert "Cost control" in shown
    assert "```" not in shown
    assert "| field" not in shown


@pytest.mark.parametrize("command", ["run", "cache stats"])
def test_a_command_without_a_page_shows_its_flags(command: str, tmp_path: Path) -> None:
    words = command.split()
    assert (
        llmscale("help", *words, cwd=tmp_path).stdout
        == llmscale(*words, "--help", cwd=tmp_path).stdout
    )


def test_an_unknown_topic_is_exit_code_2(tmp_path: Path) -> None:
    ended = llmscale("help", "retrys", cwd=tmp_path)
    assert ended.returncode == 2
    assert "did you mean retries" in ended.stderr
    assert not ended.stdout


def test_a_search_tells_topic_and_line_or_exits_with_1(tmp_path: Path) -> None:
    found = llmscale("help", "--search", "cubic", cwd=tmp_path)
    assert found.stdout.startswith("limits:")
    none = llmscale("help", "--search", "no such word", cwd=tmp_path)
    assert (none.returncode, none.stdout) == (1, "")
