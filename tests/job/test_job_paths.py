"""What the files of a job are called, and the sentences for those that can't be used."""

import os
from pathlib import Path

import pytest

from llmscale.core.errors import ConfigError
from llmscale.job.job_paths import (
    FlagPath,
    JobPaths,
    OutputKind,
    check_paths,
    default_output,
    page_of,
    report_of,
)


def test_all_files_of_a_job_lie_beside_its_output() -> None:
    files = JobPaths(Path("a/out.x.jsonl"))
    assert (files.partial, files.manifest, files.lock) == (
        Path("a/out.x.jsonl.partial"),
        Path("a/out.x.jsonl.job.json"),
        Path("a/out.x.jsonl.lock"),
    )


@pytest.mark.parametrize(
    ("output", "report"),
    [
        ("x.results.jsonl", "x.report.json"),
        ("x.vectors.jsonl", "x.vectors.report.json"),
        ("x.jsonl", "x.report.json"),
        ("x.json", "x.report.json"),
        ("x.out", "x.out.report.json"),
        ("x", "x.report.json"),
        ("a.jsonl/x.y.results.jsonl", "a.jsonl/x.y.report.json"),
        ("x.jsonl.results.jsonl", "x.jsonl.report.json"),
        ("/abs/x.jsonl", "/abs/x.report.json"),
    ],
)
def test_report_and_page_lie_beside_the_output_under_its_name(output: str, report: str) -> None:
    job = JobPaths(Path(output))
    assert job.report == Path(report)
    assert job.page == page_of(job.report) == Path(report).with_suffix(".html")


def test_a_report_is_found_by_its_output_and_by_its_own_name(tmp_path: Path) -> None:
    report, named = tmp_path / "x.report.json", tmp_path / "named.json"
    for path in (report, named):
        path.touch()
    for output in ("x.results.jsonl", "x.jsonl", "x.report.json"):
        assert report_of(tmp_path / output) == report
    assert report_of(named) == named


@pytest.mark.parametrize(
    ("name", "kind", "output"),
    [
        ("a/x.jsonl.gz", "results", "x.results.jsonl"),
        ("x.ndjson", "results", "x.results.jsonl"),
        ("x.json", "results", "x.results.jsonl"),
        ("stdin", "results", "stdin.results.jsonl"),
        ("docs", "vectors", "docs.vectors.jsonl"),
        ("x.jsonl.gz", "vectors", "x.vectors.jsonl"),
        ("x.json", "vectors", "x.json.vectors.jsonl"),
    ],
)
def test_an_output_without_a_name_is_named_after_the_input(
    name: str, kind: OutputKind, output: str
) -> None:
    assert default_output([name], kind) == Path(output)


@pytest.mark.parametrize(
    ("there", "starts", "starts_with_overwrite"),
    [
        ([], True, True),
        (["out.jsonl"], False, True),
        (["out.jsonl.job.json"], False, True),
        (["out.jsonl.partial"], False, True),
        (["out.jsonl", "out.jsonl.lock"], False, False),
    ],
)
def test_a_run_starts_a_job_where_nothing_is_in_the_way(
    there: list[str], starts: bool, starts_with_overwrite: bool, tmp_path: Path
) -> None:
    for name in there:
        (tmp_path / name).touch()
    job = JobPaths(tmp_path / "out.jsonl")
    assert job.will_start(overwrite=False) is starts
    assert job.will_start(overwrite=True) is starts_with_overwrite


def test_several_inputs_need_a_name_for_their_output() -> None:
    with pytest.raises(ConfigError, match="2 inputs need one output: name it with -o FILE"):
        default_output(["a", "b"], "results")


def test_an_output_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, sentence in {
        "": "is a folder; name a file with -o",
        "pipe": "is a device or a pipe",
        "no/x": "there is no folder .*no for the output",
        "x" * 250: "the output can't be .*File name too long",
    }.items():
        with pytest.raises(ConfigError, match=sentence):
            check_paths(JobPaths(tmp_path / name), [])


def test_a_file_that_is_something_else_already_is_refused(tmp_path: Path) -> None:
    job, read = JobPaths(tmp_path / "out.jsonl"), [str(tmp_path / "in.jsonl")]
    for name, what in {
        "in.jsonl": "an input",
        "out.jsonl": "the output",
        "out.jsonl.lock": "the output",
        "out.jsonl.partial": "the output",
        "out.jsonl.job.json": "the output",
        "v.npy": "--export",
    }.items():
        flagged = [FlagPath("--junit", tmp_path / name)]
        with pytest.raises(ConfigError, match=f"--junit .*{name} is also {what}; name another"):
            check_paths(job, read, [str(tmp_path / "v.npy")], flagged)
    same = [FlagPath(flag, tmp_path / "x") for flag in ("--report", "--metrics")]
    with pytest.raises(ConfigError, match=r"--metrics .*x is also --report"):
        check_paths(None, read, flagged=same)
    with pytest.raises(ConfigError, match="is both input and output"):
        check_paths(job, [str(tmp_path / "sub" / ".." / "out.jsonl")])


@pytest.mark.parametrize(
    ("flag", "name", "content", "is_replaced"),
    [
        ("--report", "r.json", b'{\n  "schema": 1', True),
        ("--report", "r.json", b'{"mine": 1}', False),
        ("--report", "notes.md", b"# Notes", False),
        ("--report", "other.jsonl", b'{\n  "schema": 1', False),
        ("--junit", "j.xml", b"<?xml version", True),
        ("--junit", "j.xml", b"<html>", False),
        ("--metrics", "m.prom", b"# HELP llmscale_rows", True),
        ("--metrics", "m.prom", b"# HELP node_cpu", False),
        ("--metrics", "m.prom", b"", True),
    ],
)
def test_a_flag_replaces_only_what_it_has_written(
    flag: str, name: str, content: bytes, is_replaced: bool, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    flagged = [FlagPath(flag, tmp_path / name)]
    if is_replaced:
        check_paths(None, [], flagged=flagged)
    else:
        with pytest.raises(ConfigError, match=f"exists and was not written by {flag}; name"):
            check_paths(None, [], flagged=flagged)


def test_the_output_of_another_job_is_not_replaced_by_a_report(tmp_path: Path) -> None:
    other = JobPaths(tmp_path / "other")
    for path in (other.output, other.manifest):
        path.write_bytes(b"")
    with pytest.raises(ConfigError, match="was not written by --report"):
        check_paths(None, [], flagged=[FlagPath("--report", other.output)])


def test_a_link_to_itself_is_no_bug(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    check_paths(JobPaths(tmp_path / "out.jsonl"), [str(tmp_path / "loop")])
