"""A few failed rows of each type are kept, and all outcomes go on as they came."""

from collections.abc import Sequence

from llmscale.core.records import Failure, FailureKind, Outcome, Reply, Row, Usage
from llmscale.observe.junit import Examples
from llmscale.observe.junit.examples import MAX_EXAMPLES, Example


class Sink:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def take_up(self, rows: int) -> None:
        self.seen.append(rows)

    def put(self, outcomes: Sequence[Outcome]) -> None:
        self.seen.append(outcomes)

    def put_back(self) -> None:
        self.seen.append("back")


def failed(index: int, kind: FailureKind = "timeout") -> Outcome:
    failure = Failure(kind=kind, message=f"message {index}")
    return Outcome(row=Row(index=index, id=f"r{index}"), failure=failure)


def answered(index: int) -> Outcome:
    reply = Reply(text="x", finish_reason="stop", model="a", usage=Usage())
    return Outcome(row=Row(index=index), reply=reply)


def test_everything_is_passed_on_as_it_came() -> None:
    sink = Sink()
    examples = Examples(sink)
    outcomes = [failed(0), answered(1)]
    examples.take_up(2)
    examples.put(outcomes)
    examples.put_back()
    assert sink.seen == [2, outcomes, "back"]


def test_the_first_few_of_each_type_are_kept() -> None:
    examples = Examples(Sink())
    for index in range(100):
        examples.put([answered(index), failed(index), failed(index, "bad_row")])
    assert set(examples.kept) == {"timeout", "bad_row"}
    assert examples.kept["timeout"] == [
        Example(index, f"r{index}", f"message {index}") for index in range(MAX_EXAMPLES)
    ]
