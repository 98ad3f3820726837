"""Limits in words."""

from typing import get_args

from llmscale.commands.limit_bounds import LIMIT_NAMES, Binding, LimitName


def test_every_limit_has_a_name_in_words() -> None:
    assert set(LIMIT_NAMES) == set(get_args(LimitName))


def test_a_binding_says_whose_limit_it_is() -> None:
    assert str(Binding("endpoint", "openai/m", "rpm")) == "requests/min of openai/m"
    assert str(Binding("user", "anna", "tpm")) == "tokens/min of user anna"
    assert str(Binding("run", "this process", "process")) == "throughput of this process"
