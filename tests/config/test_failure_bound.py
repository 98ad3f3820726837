"""`--max-failures` takes a number of rows or a share of them, and nothing else."""

import pytest

from llmscale.config import load
from llmscale.config.failure_bound import MIN_ROWS, FailureBound
from llmscale.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "failed", "done", "reached"),
    [
        ("20", 19, 19, False),
        ("20", 20, 1000, True),
        ("5%", 1, MIN_ROWS - 1, False),
        ("5%", MIN_ROWS - 1, MIN_ROWS - 1, False),
        ("5%", 1, MIN_ROWS, False),
        ("5%", 2, MIN_ROWS, True),
        ("0.1%", 1, 1000, False),
        ("0.1%", 2, 1000, True),
        ("100%", 50, 50, False),
    ],
)
def test_a_count_is_reached_and_a_share_is_exceeded_once_there_are_rows_enough(
    text: str, failed: int, done: int, reached: bool
) -> None:
    assert FailureBound.parse(text).is_reached(failed, done) is reached


@pytest.mark.parametrize("text", ["0", "-1", "0%", "101%", "5 %", "1.5", "many", " ", "٣"])
def test_what_is_no_bound_is_refused_with_the_flag_and_what_it_takes(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--max-failures: invalid bound .* such as 5%$"):
        load({"max_failures": text}, {})


def test_the_environment_may_hold_it() -> None:
    config = load({}, {"LLMSCALE_MAX_FAILURES": "7"})
    assert config.retry.max_failures is not None
    assert FailureBound.parse(config.retry.max_failures).rows == 7
