"""Every input row is in the output exactly once, or the difference is found, in both formats."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.commands.verify import MAX_EXAMPLES, VerifyResult, verify
from llmscale.core.choices import OutputFormat
from llmscale.core.errors import ConfigError, StorageError
from llmscale.core.output_line import encode
from llmscale.rows.sources import Source

IDS = ["a", None, 7, "c", "c"]  # the last two rows are the same: one id, one content
FORMATS: list[OutputFormat] = ["llmscale", "openai-batch"]

both_formats = pytest.mark.parametrize("output_format", FORMATS)


def output_line(
    index: int, row_id: Any, output_format: OutputFormat, *, failed: bool = False
) -> bytes:
    error = {"type": "timeout", "message": "late", "retryable": True}
    line = {
        "id": row_id,
        "index": index,
        "output": None if failed else "answer",
        "model": "sim/a",
        "finish_reason": None if failed else "stop",
        "usage": None,
        "error": error if failed else None,
    }
    return encode(line, output_format)


def lines_for(
    output_format: OutputFormat, ids: list[Any] = IDS, failed: tuple[int, ...] = ()
) -> list[bytes]:
    return [
        output_line(index, row_id, output_format, failed=index in failed)
        for index, row_id in enumerate(ids)
    ]


def verified(folder: Path, output: list[bytes], ids: list[Any] = IDS) -> VerifyResult:
    rows = [orjson.dumps({"id": row_id, "prompt": str(row_id)}) for row_id in ids]
    source, target = folder / "in.jsonl", folder / "out.jsonl"
    source.write_bytes(b"\n".join(rows))
    target.write_bytes(b"".join(output))
    return verify([Source(str(source), source.name)], target)


def complete(*, failed: int = 0) -> VerifyResult:
    return VerifyResult(5, 5 - failed, failed, 0, 0, 0, 0, [])


@both_formats
def test_an_output_with_every_row_once_is_complete(
    output_format: OutputFormat, tmp_path: Path
) -> None:
    found = verified(tmp_path, lines_for(output_format))
    assert found == complete()
    assert found.is_complete


@both_formats
def test_a_failed_row_is_counted_as_failed(output_format: OutputFormat, tmp_path: Path) -> None:
    found = verified(tmp_path, lines_for(output_format, failed=(1, 4)))
    assert found == complete(failed=2)
    assert found.is_complete


@both_formats
def test_lines_in_any_order_are_complete(output_format: OutputFormat, tmp_path: Path) -> None:
    lines = lines_for(output_format)
    for order in ([4, 3, 2, 1, 0], [1, 2, 3, 4, 0], [2, 3, 1, 4, 0]):
        assert verified(tmp_path, [lines[i] for i in order]) == complete()


@both_formats
def test_a_missing_row_is_named(output_format: OutputFormat, tmp_path: Path) -> None:
    lines = lines_for(output_format)
    del lines[2]
    found = verified(tmp_path, lines)
    assert not found.is_complete
    assert (found.answered, found.missing, found.duplicated, found.unknown) == (4, 1, 0, 0)
    assert found.examples == ["row 2 is missing"]


@both_formats
def test_a_duplicated_row_is_named_by_its_line(output_format: OutputFormat, tmp_path: Path) -> None:
    lines = lines_for(output_format)
    found = verified(tmp_path, [*lines, lines[2]])
    assert not found.is_complete
    assert (found.answered, found.missing, found.duplicated) == (5, 0, 1)
    assert found.examples == [f"{tmp_path / 'out.jsonl'} line 6 repeats row 2"]


@both_formats
def test_a_line_that_matches_no_row_is_named_by_its_id(
    output_format: OutputFormat, tmp_path: Path
) -> None:
    strange = output_line(9, "zzz", output_format)
    found = verified(tmp_path, [*lines_for(output_format), strange])
    assert not found.is_complete
    assert (found.answered, found.missing, found.unknown) == (5, 0, 1)
    (example,) = found.examples
    assert example.endswith("line 6 matches no row of the input (id 'zzz')")


@pytest.mark.parametrize("index", [-1, 5, None, "0", 1.0])
def test_an_index_out_of_range_matches_no_row(index: Any, tmp_path: Path) -> None:
    lines = lines_for("llmscale")
    lines[0] = orjson.dumps({"id": "a", "index": index, "error": None}) + b"\n"
    found = verified(tmp_path, lines)
    assert (found.unknown, found.missing) == (1, 1)


def test_the_right_index_with_the_wrong_id_matches_no_row(tmp_path: Path) -> None:
    lines = lines_for("llmscale")
    lines[0] = output_line(0, "c", "llmscale")
    found = verified(tmp_path, lines)
    assert (found.answered, found.missing, found.unknown) == (4, 1, 1)


@both_formats
@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_torn_last_line_is_unreadable(
    cut: int, output_format: OutputFormat, tmp_path: Path
) -> None:
    lines = lines_for(output_format)
    found = verified(tmp_path, [*lines[:-1], lines[-1][:-cut]])
    assert not found.is_complete
    assert (found.answered, found.missing, found.unreadable) == (4, 1, 1)
    assert found.examples[0].endswith("line 5 is not a valid row")


@pytest.mark.parametrize("line", [b"\n", b"null\n", b"[]\n", b"{}\n", b'{"id": "a"}\n', b"\xff\n"])
def test_an_invalid_line_is_unreadable(line: bytes, tmp_path: Path) -> None:
    found = verified(tmp_path, [*lines_for("llmscale"), line])
    assert (found.answered, found.unreadable, found.is_complete) == (5, 1, False)


def test_two_rows_with_equal_ids_may_be_swapped_in_a_batch_output(tmp_path: Path) -> None:
    ids = ["b", "a", "a", "c"]
    lines = dict(zip("bac", lines_for("openai-batch", ["b", "a", "c"]), strict=True))
    found = verified(tmp_path, [lines[i] for i in "aabc"], ids)
    assert found == VerifyResult(4, 4, 0, 0, 0, 0, 0, [])


def test_one_row_too_many_of_a_shared_id_is_a_duplicate(tmp_path: Path) -> None:
    lines = lines_for("openai-batch")
    found = verified(tmp_path, [*lines, lines[3]])
    assert (found.answered, found.duplicated, found.missing) == (5, 1, 0)
    found = verified(tmp_path, lines[:4])
    assert (found.answered, found.duplicated, found.missing) == (4, 0, 1)


@given(ids=st.lists(st.sampled_from("abc"), max_size=8), data=st.data())
def test_any_order_of_a_batch_output_is_complete_and_one_line_less_is_not(
    ids: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    lines = data.draw(st.permutations(lines_for("openai-batch", list(ids))))
    assert verified(folder, lines, list(ids)).is_complete
    if lines:
        found = verified(folder, lines[1:], list(ids))
        assert (found.missing, found.duplicated, found.unknown) == (1, 0, 0)


def test_an_invalid_row_of_the_input_is_expected_in_the_output(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b'no json\n\n{"prompt": "a"}\n')
    target.write_bytes(b"".join(lines_for("llmscale", [None, None], failed=(0,))))
    found = verify([Source(str(source), "in")], target)
    assert found == VerifyResult(2, 1, 1, 0, 0, 0, 0, [])


def test_an_empty_output_of_an_empty_input_is_complete(tmp_path: Path) -> None:
    assert verified(tmp_path, [], []) == VerifyResult(0, 0, 0, 0, 0, 0, 0, [])
    assert verified(tmp_path, []).missing == 5


def test_examples_are_bounded_and_counts_are_not(tmp_path: Path) -> None:
    found = verified(tmp_path, [b"torn\n"] * 3, list(range(50)))
    assert (found.unreadable, found.missing) == (3, 50)
    assert len(found.examples) == MAX_EXAMPLES
    assert found.examples[3] == "row 0 is missing"
    found = verified(tmp_path, [b"torn\n"] * 30)
    assert (found.unreadable, len(found.examples)) == (30, MAX_EXAMPLES)


def test_a_missing_output_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.jsonl", tmp_path / ("x" * 300)):
        with pytest.raises(ConfigError, match="does not exist"):
            verify([], path)


def test_a_missing_input_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").touch()
    with pytest.raises(StorageError, match=r"can't read gone\.jsonl"):
        verify([Source(str(tmp_path / "gone.jsonl"), "gone.jsonl")], tmp_path / "out.jsonl")
