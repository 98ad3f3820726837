"""Which rows have an answer, read from a job's files without a change to any of them."""

from pathlib import Path

import pytest

from llmscale.core.errors import ConfigError
from llmscale.job.finished_rows import Answered, answered, job_there
from llmscale.job.job_paths import JobPaths
from tests.job import ROWS, Run, content_of, identity


def seen(folder: Path) -> Answered:
    files = JobPaths(folder / "out.jsonl")
    before = content_of(folder)
    found = answered(files, job_there(files, identity()))
    assert content_of(folder) == before
    return found


def rows_of(folder: Path) -> list[int]:
    return [index for index, state in enumerate(seen(folder).rows) if state]


def test_without_a_job_no_row_has_an_answer(tmp_path: Path) -> None:
    assert rows_of(tmp_path) == []


def test_of_a_finished_job_all_rows_but_those_that_failed(tmp_path: Path) -> None:
    Run(tmp_path, failing=(1,)).to_the_end()
    assert rows_of(tmp_path) == [0, 2, 3, 4]


@pytest.mark.parametrize("output_format", ["llmscale", "openai-batch"])
def test_of_a_running_job_those_of_the_output_and_of_the_journal(
    tmp_path: Path, output_format: str
) -> None:
    Run(tmp_path, failing=(1, 3), output_format=output_format).to_the_end()  # type: ignore[arg-type]
    with Run(tmp_path).up_to_the_end(most=1):
        assert rows_of(tmp_path) == [0, 2, 3, 4]


def test_a_torn_or_damaged_line_has_no_answer(tmp_path: Path) -> None:
    with Run(tmp_path).up_to_the_end(most=3) as job:
        partial = job.files.partial
    lines = partial.read_bytes().splitlines(keepends=True)
    partial.write_bytes(lines[0] + b"{]\n[1]\n" + lines[1] + lines[2][:-9])
    assert rows_of(tmp_path) == [3, 4]


def test_of_a_finished_job_without_its_output_none(tmp_path: Path) -> None:
    Run(tmp_path).to_the_end()
    (tmp_path / "out.jsonl").unlink()
    assert rows_of(tmp_path) == []


def test_another_job_is_none_but_for_settings_that_are_not_compared(tmp_path: Path) -> None:
    Run(tmp_path, is_same=identity(system="x", output_format="llmscale")).to_the_end()
    files = JobPaths(tmp_path / "out.jsonl")
    assert job_there(files, identity(system="x")) is None
    assert job_there(files, identity("other", system="x"), {"output_format"}) is None
    found = job_there(files, identity(system="x"), {"output_format"})
    assert found is not None
    assert found.rows == ROWS


def test_a_damaged_manifest_is_refused_as_a_run_would(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.job.json").write_text("{")
    with pytest.raises(ConfigError):
        seen(tmp_path)


def test_the_cost_is_that_of_all_runs_finished_or_not(tmp_path: Path) -> None:
    assert seen(tmp_path).spent_usd == 0
    Run(tmp_path, failing=(1, 3)).to_the_end()
    assert seen(tmp_path).spent_usd == 3 * 0.5
    with Run(tmp_path).up_to_the_end(most=1):
        assert seen(tmp_path).spent_usd == 4 * 0.5
