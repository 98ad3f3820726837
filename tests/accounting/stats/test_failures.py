"""Messages of failed rows: alike but for numbers, counted, bounded, and each with a row."""

from llmscale.accounting.stats.failures import MAX_MESSAGES, Failures
from llmscale.core.records import Failure, FailureKind, Outcome, Row


def failed(
    index: int, message: str, kind: FailureKind = "timeout", row_id: str | None = None
) -> Outcome:
    failure = Failure(kind=kind, message=message)
    return Outcome(row=Row(index=index, id=row_id), failure=failure)


def test_messages_that_differ_in_numbers_alone_are_one_with_the_first_row_as_example() -> None:
    failures = Failures()
    for index in (3, 4, 5):
        failures.add(failed(index, f"no answer within {index} s", row_id=f"r{index}"))
    failures.add(failed(9, "cut"))
    first, second = failures.summary()
    assert (first.count, first.row, first.id) == (3, 3, "r3")
    assert first.message == "no answer within 3 s"
    assert (second.count, second.row, second.id) == (1, 9, None)


def test_kinds_are_told_apart() -> None:
    failures = Failures()
    failures.add(failed(0, "no"))
    failures.add(failed(1, "no", "bad_row"))
    assert {found.kind for found in failures.summary()} == {"timeout", "bad_row"}


def test_memory_is_bounded_and_no_row_is_lost() -> None:
    failures = Failures()
    for index in range(3 * MAX_MESSAGES):
        failures.add(failed(index, "x" * (index % 199) + "abcdefghij"[index % 10] * (index // 199)))
    other = Failures()
    other.merge(failures)
    assert len(other._known) <= MAX_MESSAGES + 1
    assert sum(found.count for found in other._known.values()) == 3 * MAX_MESSAGES
