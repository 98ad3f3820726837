"""The text of --help: groups, order, width, defaults."""

import re
import subprocess
import sys
from typing import Any, get_args

import pytest

from llmscale.cli import COMMANDS
from llmscale.cli.help_format import EVERYDAY, GROUPS
from llmscale.config import SETTINGS, Config, value_of
from llmscale.core import choices
from tests.cli.help_pages import command_names, command_of, help_of, options_of

EVERY_COMMAND = ("", *command_names())
every_command = pytest.mark.parametrize("command", EVERY_COMMAND)


def headings(shown: str) -> list[str]:
    """Return the headings of a help text."""
    return re.findall(r"^([A-Z][a-z ]+):$", shown, re.MULTILINE)


@every_command
def test_help_fits_in_80_columns(command: str) -> None:
    assert max(len(line) for line in help_of(command).splitlines()) <= 80
    assert "\xa0" not in help_of(command)


def test_the_twelve_everyday_options_of_a_run_come_first() -> None:
    first = help_of("run").partition(f"{EVERYDAY}:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^  (?:-., )?(--[\w-]+)", first, re.MULTILINE) == [
        *("--output", "--model", "--base-url", "--system", "--template", "--json-schema"),
        *("--max-tokens", "--temperature", "--concurrency", "--max-cost", "--limit", "--dry-run"),
    ]


@every_command
def test_each_option_is_shown_once_under_a_heading_in_order(command: str) -> None:
    shown = help_of(command)
    for option in options_of(command):
        name = re.escape(", ".join(sorted(option.opts, key=len)))
        assert len(re.findall(rf"^  {name}(?![\w-])", shown, re.MULTILINE)) == 1, option.opts
    found = [heading for heading in headings(shown) if heading in GROUPS]
    assert found == [heading for heading in GROUPS if heading in found]


def test_the_options_of_run_are_in_groups() -> None:
    groups = {option.rich_help_panel for option in options_of("run")} - {None}
    assert groups <= set(GROUPS)
    assert len(groups) >= 8


def test_the_commands_are_in_groups_with_what_they_do() -> None:
    shown = help_of("")
    assert headings(shown) == ["Options", *COMMANDS]
    for names in COMMANDS.values():
        for name, summary in names.items():
            assert re.search(rf"^  {name} +{re.escape(summary)}$", shown, re.MULTILINE)
            assert command_of(name).help.startswith(summary.rstrip("."))


@every_command
def test_every_help_says_first_what_a_command_does(command: str) -> None:
    first = command_of(command).help.splitlines()[0]
    assert first[0].isupper()
    assert first.endswith(".")
    assert len(first) <= 80


def default_of(option: Any) -> str | None:
    """Return the default of an option as its help shows it."""
    return option.show_default if isinstance(option.show_default, str) else None


@pytest.mark.parametrize("command", ["run", "embed"])
def test_defaults_are_those_of_the_settings(command: str) -> None:
    names = {"cache_mode": "cache_mode"}
    checked = 0
    for option in options_of(command):
        name = names.get(option.name, option.name)
        value = value_of(Config(), name) if name in SETTINGS else None
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            said = default_of(option)
            expected = f"{value:g}" if isinstance(value, float) else f"{value}"
            if name == "alert_on":
                expected = expected.replace(",", ", ")
            assert said == expected, option.opts
            checked += 1
    assert checked >= 6
    assert "[default: 5]" in help_of("run")


@pytest.mark.parametrize(
    ("command", "flag", "words"),
    [
        ("run", "--cache", choices.CacheMode),
        ("run", "--strategy", choices.StrategyName),
        ("run", "--log-format", choices.LogFormat),
        ("run", "--output-format", choices.ChatFormatOrAuto),
        ("embed", "--vectors", choices.VectorFormat),
    ],
)
def test_an_option_of_few_words_names_them_all(command: str, flag: str, words: Any) -> None:
    (option,) = (option for option in options_of(command) if flag in option.opts)
    assert set(get_args(words)) <= set(re.findall(r"[\w-]+", option.help))


def test_short_names_are_the_same_in_every_command() -> None:
    found: dict[str, set[str]] = {}
    for command in EVERY_COMMAND:
        for option in options_of(command):
            for flag in option.opts:
                found.setdefault(max(option.opts, key=len), set()).add(flag)
    assert found["--model"] == {"-m", "--model"}
    assert found["--config"] == {"-c", "--config"}
    for command in EVERY_COMMAND:
        for option in options_of(command):
            assert set(option.opts) == found[max(option.opts, key=len)], (command, option.opts)


IMPORTED_BY = """
import sys
from llmscale.cli import main
try:
    main()
finally:
    print(*(name for name in sys.modules if name.startswith("llmscale.cli.")), file=sys.stderr)
"""


@pytest.mark.parametrize(("args", "imported"), [([], set()), (["run"], {"run"})])
def test_help_imports_no_command_but_its_own(args: list[str], imported: set[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTED_BY, *args, "--help"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    modules = {name.removeprefix("llmscale.cli.") for name in ended.stderr.split()}
    assert modules & set(command_names()) == imported


@pytest.mark.parametrize("command", ["run", "embed", "completion"])
def test_examples_end_the_help_as_they_are_typed(command: str) -> None:
    _, _, shown = help_of(command).partition("  Examples:\n\n")
    lines = shown.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith(f"    llmscale {command} ") for line in lines)
