"""The files of a job: counted as their rows come to an outcome, and none where rows are rows."""

from collections.abc import Sequence

from msgspec import to_builtins

from llmscale.core.records import Failure, Outcome, Row
from llmscale.rows.documents import CompleteFiles
from llmscale.runtime.document_rows import Found
from llmscale.runtime.file_counts import FileCounts


class Sink:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.in_flight = 0

    def take_up(self, rows: int) -> None:
        self.in_flight += rows

    def put(self, outcomes: Sequence[Outcome]) -> None:
        self.seen += [outcome.row.index for outcome in outcomes]
        self.in_flight -= len(outcomes)

    def put_back(self) -> None:
        self.in_flight -= 1


def found(*rows: int) -> Found:
    complete = CompleteFiles()
    for count in rows:
        complete.add(count)
    return Found(complete, failed=1, chunks=sum(rows) - 1, skipped={"hidden": 2})


def outcomes(*indexes: int) -> list[Outcome]:
    failure = Failure(kind="timeout", message="")
    return [Outcome(row=Row(index=index), failure=failure) for index in indexes]


def test_a_file_is_complete_when_all_its_rows_have_come_through() -> None:
    files, sink = FileCounts(found(2, 1, 1)), Sink()
    counting = files.counting(sink)
    for rows in (1, 3):
        counting.take_up(rows)
    assert files.figures() == {"files": "0/3"}
    counting.put(outcomes(0, 2))
    assert files.figures() == {"files": "1/3"}
    counting.put_back()
    counting.put(outcomes(1))
    assert files.figures() == {"files": "2/3"}
    assert (sink.seen, sink.in_flight) == ([0, 2, 1], 0)


def test_what_an_earlier_run_has_answered_is_complete_from_the_start() -> None:
    files = FileCounts(found(2, 1))
    files.resume(lambda row: row != 1)
    assert files.figures() == {"files": "1/2"}
    files.counting(Sink()).put(outcomes(1))
    assert files.figures() == {"files": "2/2"}


def test_the_report_has_what_was_found() -> None:
    files = FileCounts(found(2, 1))
    files.counting(Sink()).put(outcomes(2))
    assert to_builtins(files.summary()) == {
        "files": 2,
        "failed": 1,
        "complete": 1,
        "chunks": 2,
        "skipped": {"hidden": 2},
    }


def test_a_row_is_called_a_chunk_where_all_rows_are() -> None:
    files = FileCounts(found(2, 1))
    assert [files.unit(rows) for rows in (3, 4, None)] == ["chunk", "row", "row"]


def test_rows_alone_have_no_file_counts() -> None:
    files, sink = FileCounts(), Sink()
    files.resume(lambda _: True)
    assert files.counting(sink) is sink
    assert (files.unit(0), files.figures(), files.summary()) == ("row", {}, None)


def test_the_log_line_says_what_was_found() -> None:
    one = CompleteFiles()
    one.add(1)
    assert str(Found(one, 0, 1)) == "1 file, 1 chunk"
    assert str(found(2_000, 1)) == "2 files, 2,000 chunks; 1 can't be read; skipped 2 hidden"
