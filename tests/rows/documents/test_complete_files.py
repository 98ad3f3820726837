"""A file is complete when the last of its rows has an outcome, in whatever order they come."""

import random

from llmscale.rows.documents import CompleteFiles


def files_of(*rows: int) -> CompleteFiles:
    files = CompleteFiles()
    for count in rows:
        files.add(count)
    return files


def test_a_file_is_complete_with_its_last_row() -> None:
    files = files_of(3, 2)
    assert (files.files, files.rows) == (2, 5)
    files.mark_done([0, 4, 2])
    assert files.count == 0
    files.mark_done([1])
    assert files.count == 1
    files.mark_done([3])
    assert files.count == 2


def test_a_file_without_rows_is_complete_at_once() -> None:
    files = files_of(0, 1, 0, 0, 2)
    assert files.count == 3
    files.mark_done([0, 1, 2])
    assert files.count == files.files == 5


def test_rows_after_those_of_files_are_of_none() -> None:
    files = files_of(1)
    files.mark_done([1, 7])
    assert files.count == 0
    none = files_of()
    none.mark_done([0])
    assert (none.count, none.files, none.rows) == (0, 0, 0)


def test_in_any_order_each_file_counts_once() -> None:
    rng = random.Random(1)
    sizes = [rng.choice([0, 1, 1, 2, 60]) for _ in range(200)]
    files = files_of(*sizes)
    left = [*enumerate(size for size in sizes)]
    rows = [(row, file) for file, size in left for row in range(size)]
    numbered = [(number, file) for number, (_, file) in enumerate(rows)]
    rng.shuffle(numbered)
    open_rows = dict(left)
    for number, file in numbered:
        files.mark_done([number])
        open_rows[file] -= 1
        assert files.count == sum(not count for count in open_rows.values())


def test_the_memory_of_a_file_is_sixteen_bytes_however_many_rows_it_has() -> None:
    files = files_of(*[1_000] * 100)
    assert sum(len(a) * a.itemsize for a in (files._ends, files._left)) == 1_600
