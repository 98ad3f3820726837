"""The error tree: its drawing in the docstring is the truth, exit code for exit code."""

import re
import signal
from typing import TypeVar

import pytest

from llmscale.core import errors
from llmscale.core.errors import (
    BudgetReached,
    CallFailed,
    CallStopped,
    Interrupted,
    JobError,
    LlmscaleError,
    ProviderRefused,
    TooManyFailures,
)
from llmscale.core.records import Failure

DRAWN_LINE = re.compile(r"^(?P<indent>[ │├└─]*)(?P<name>[A-Z]\w+)(?P<words>.*)$")
E = TypeVar("E", bound=LlmscaleError)
SIGNALS = {
    signal.SIGINT: "Ctrl-C",
    signal.SIGTERM: "SIGTERM",
    signal.SIGHUP: "SIGHUP",
    signal.SIGPIPE: "stdout",
}


def drawn() -> list[tuple[int, str, str]]:
    """Return the lines of the tree: depth, name of the class, words behind it."""
    tree = (errors.__doc__ or "").split("\n\n")[1]
    found = [DRAWN_LINE.match(line.removeprefix("    ")) for line in tree.splitlines()]
    return [(len(m["indent"]) // 4, m["name"], m["words"]) for m in found if m is not None]


def subclasses(kind: type[E]) -> list[type[E]]:
    """Return all classes below `kind` that the package defines."""
    below = [c for c in kind.__subclasses__() if c.__module__.startswith("llmscale")]
    return below + [further for c in below for further in subclasses(c)]


JOB_ERRORS = sorted(subclasses(JobError), key=lambda kind: kind.__name__)


def test_every_class_is_drawn_once_and_every_drawn_class_is_there() -> None:
    kinds: list[type[LlmscaleError]] = [LlmscaleError, *subclasses(LlmscaleError)]
    names = [kind.__name__ for kind in kinds]
    assert len(names) > 6
    assert sorted(name for _, name, _ in drawn()) == sorted(names)


def test_the_tree_is_drawn_as_the_classes_inherit() -> None:
    above: list[str] = []
    for depth, name, _ in drawn():
        kind = getattr(errors, name)
        parents = [parent.__name__ for parent in kind.__mro__[1:]]
        assert parents[: parents.index("Exception")] == list(reversed(above[:depth]))
        above[depth:] = [name]


@pytest.mark.parametrize("kind", JOB_ERRORS)
def test_a_job_error_has_the_exit_code_that_is_drawn(kind: type[JobError]) -> None:
    words = {name: words for _, name, words in drawn()}[kind.__name__]
    codes = {int(code) for code in re.findall(r"\b\d+\b", words)}
    if kind is Interrupted:
        assert codes == {Interrupted(number).exit_code for number in SIGNALS}
    else:
        assert codes == {kind.exit_code}


def test_no_two_job_errors_share_an_exit_code_but_those_of_a_provider_that_is_of_no_use() -> None:
    shared = {Interrupted, TooManyFailures}
    codes = [kind.exit_code for kind in JOB_ERRORS if kind not in shared]
    assert len(set(codes)) == len(codes)
    assert TooManyFailures.exit_code == ProviderRefused.exit_code
    assert not set(codes) & {0, 1}


@pytest.mark.parametrize(("number", "words"), SIGNALS.items())
def test_an_interruption_says_what_interrupted(number: signal.Signals, words: str) -> None:
    error = Interrupted(number)
    assert words in str(error)
    assert error.exit_code == 128 + number
    assert error.signal_number == number


@pytest.mark.parametrize(("left", "words"), [(7, "; 7 rows are left, "), (None, "; rows are left")])
def test_a_reached_budget_says_how_far_it_went_what_is_left_and_how_to_go_on(
    left: int | None, words: str
) -> None:
    message = str(BudgetReached("$4 of --max-cost 5 is spent", left))
    assert message.startswith("$4 of --max-cost 5 is spent" + words)
    assert message.endswith("the same command with a higher --max-cost goes on")


def test_a_failed_call_says_what_its_failure_says() -> None:
    failure = Failure(kind="timeout", message="no answer within 3 s", retryable=True)
    assert str(CallFailed(failure)) == "no answer within 3 s"
    assert CallFailed(failure).attempts == 1
    assert CallFailed(failure, attempts=4).attempts == 4
    assert CallFailed(failure).failure is failure


def test_a_call_that_failed_or_was_stopped_never_ends_the_job() -> None:
    assert not issubclass(CallFailed, JobError)
    assert not issubclass(CallStopped, JobError)


def test_the_first_error_of_nested_groups_is_found() -> None:
    first, second = ValueError("first"), ValueError("second")
    group = ExceptionGroup("out", [ExceptionGroup("in", [first]), second])
    assert errors.first_error(group) is first
    assert errors.first_error(second) is second, "that of no group is itself"
