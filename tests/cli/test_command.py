"""Options as typed values: what a command takes, and what of it is a setting."""

from typing import Any

import pytest

from llmscale.cli.command import COMMAND_ONLY, Options, parameters
from llmscale.cli.embed import EmbedOptions
from llmscale.cli.estimate import EstimateOptions
from llmscale.cli.options import JobOptions
from llmscale.cli.plan import PlanOptions
from llmscale.cli.run import RunOptions
from llmscale.config import SETTINGS
from llmscale.config.settings import FILE_ONLY
from tests.cli.help_pages import flags_of


def test_settings_are_the_options_that_were_given() -> None:
    given: dict[str, Any] = {"inputs": ["a"], "seed": 0, "temperature": 0.0, "stop": []}
    given |= {"model": None, "quiet": False, "no_adaptive": True, "config": "f.toml"}
    options = RunOptions(**given, dry_run=True)
    assert options.settings() == {"inputs": ["a"], "seed": 0, "temperature": 0.0, "adaptive": False}
    assert (options.config, options.dry_run, options.limit) == ("f.toml", True, None)


@pytest.mark.parametrize("options", [RunOptions, EmbedOptions, EstimateOptions, PlanOptions])
def test_every_option_is_a_setting_or_only_concerns_the_command(options: type[Options]) -> None:
    switches = {"no_adaptive", "no_chunk"}
    assert parameters(options).keys() <= SETTINGS.keys() | COMMAND_ONLY | switches
    assert not COMMAND_ONLY & SETTINGS.keys()


def test_every_setting_but_the_tables_of_the_file_is_an_option() -> None:
    taken = parameters(RunOptions).keys() | parameters(EmbedOptions).keys()
    rest = SETTINGS.keys() - taken - FILE_ONLY
    assert rest == {"adaptive", "embed_chunk", "fallback_after"}


@pytest.mark.parametrize("command", ["estimate", "plan"])
def test_a_command_that_predicts_a_run_takes_the_options_of_run(command: str) -> None:
    shared = {f"--{name.replace('_', '-')}" for name in parameters(JobOptions)} - {"--inputs"}
    shared = shared - {"--cache-mode"} | {"--cache"}
    assert shared <= flags_of(command)
    assert shared <= flags_of("run")
