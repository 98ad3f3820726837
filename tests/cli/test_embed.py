"""`llmscale embed` as a user has it: folders, files and rows in, vectors out, and nothing twice."""

import base64
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest

from tests.cli.tool import (
    Run,
    llmscale,
    read_rows,
    report_of,
    start,
    stop,
    wait_until,
    write_rows,
)
from tests.servers.embeddings import embedding_process, expected_vector

SIM = ("--model", "sim/fast")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three documents of more than one chunk, and what is no document."""
    docs = tmp_path / "docs"
    (docs / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.md", "b.txt", "deep/c.rst")):
        paragraphs = [f"Paragraph {p} of {name}. " + "word " * 120 for p in range(4 + number)]
        (docs / name).write_text("\n\n".join(paragraphs))
    (docs / ".hidden.md").write_text("hidden")
    (docs / "picture.txt").write_bytes(b"\x89PNG\0\0")
    (docs / "ignored.txt").write_text("ignored")
    (docs / ".gitignore").write_text("ignored.txt\n")
    return tmp_path


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with embedding_process() as base_url:
        yield base_url


def embed(folder: Path, *args: object, code: int = 0, env: dict[str, str] | None = None) -> Run:
    run = llmscale("embed", *args, cwd=folder, **(env or {}))
    assert run.returncode == code, run.stderr
    return run


def test_a_folder_becomes_a_line_for_each_chunk_with_its_place_and_its_vector(folder: Path) -> None:
    embed(folder, "docs", *SIM, "-o", "v.jsonl")
    found = read_rows(folder / "v.jsonl")
    assert [line["index"] for line in found] == list(range(len(found)))
    assert [*dict.fromkeys(line["source"] for line in found)] == [
        "docs/a.md",
        "docs/b.txt",
        "docs/deep/c.rst",
    ]
    for line in found:
        text = (folder / line["source"]).read_text()
        assert text[line["start"] : line["end"]] == line["text"]
        assert len(line["vector"]) == 64
        assert line["error"] is None
    assert len({line["id"] for line in found}) == len(found) > 6


def test_files_that_are_read_and_skipped_are_counted(folder: Path) -> None:
    (folder / "docs/broken.pdf").write_bytes(b"no pdf")
    said = embed(folder, "docs", *SIM, "-o", "v.jsonl", code=1).stderr
    for part in ("4 files", "2 hidden", "1 ignored", "1 binary"):
        assert part in said
    assert report_of(folder / "v.jsonl")["documents"] == {
        "files": 4,
        "failed": 1,
        "complete": 4,
        "chunks": len(read_rows(folder / "v.jsonl")) - 1,
        "skipped": {"hidden": 2, "ignored": 1, "binary": 1},
    }


def test_rows_are_no_documents_and_stay_rows_beside_some(folder: Path) -> None:
    rows = [{"text": f"text {n}", "fault": "no fault of ours", "place": {}} for n in range(3)]
    write_rows(folder / "rows.jsonl", rows)
    embed(folder, "rows.jsonl", *SIM, "-o", "v.jsonl")
    assert report_of(folder / "v.jsonl")["documents"] is None
    embed(folder, "docs", "rows.jsonl", *SIM, "-o", "w.jsonl")
    assert report_of(folder / "w.jsonl")["documents"]["files"] == 3
    assert [line["text"] for line in read_rows(folder / "w.jsonl")[-3:]] == [
        "text 0",
        "text 1",
        "text 2",
    ]


def test_a_resumed_run_counts_the_files_of_the_run_before(folder: Path) -> None:
    slow = ("docs", "--model", "sim/latency=0.2", "--batch-size", 2, "--concurrency", 1)
    process = start("embed", *slow, "-o", "v.jsonl", cwd=folder)
    partial = folder / "v.jsonl.partial"
    wait_until(lambda: partial.exists() and partial.stat().st_size > 0)
    assert stop(process, signal.SIGINT).returncode == 130
    stopped = report_of(folder / "v.jsonl")
    assert stopped["documents"]["complete"] < 3
    assert stopped["rows"]["answered"] > 0
    embed(folder, *slow, "-o", "v.jsonl")
    resumed = report_of(folder / "v.jsonl")
    assert resumed["rows"]["kept"] == stopped["rows"]["answered"]
    assert resumed["documents"]["complete"] == resumed["documents"]["files"] == 3


def test_include_exclude_and_chunk_sizes_are_obeyed(folder: Path) -> None:
    options = ("--include", "*.md", "--include", "*.txt", "--exclude", "b.*", "--no-chunk")
    embed(folder, "docs", *SIM, "-o", "v.jsonl", *options)
    (only,) = read_rows(folder / "v.jsonl")
    assert only["source"] == "docs/a.md"
    embed(folder, "docs", *SIM, "-o", "w.jsonl", "--chunk-tokens", 50)
    assert all(len(line["text"]) <= 50 * 4 for line in read_rows(folder / "w.jsonl"))


def test_an_unchanged_folder_makes_no_call_and_changes_nothing(folder: Path, server: str) -> None:
    to = ("--model", "openai/v", "--base-url", server, "-o", "v.jsonl")
    embed(folder, "docs", *to)
    before = (folder / "v.jsonl").read_bytes()
    said = embed(folder, "docs", *to).stderr
    assert "finished and unchanged" in said
    assert (folder / "v.jsonl").read_bytes() == before


def test_a_changed_file_pays_for_its_changed_chunks_and_a_deleted_one_drops_out(
    folder: Path,
) -> None:
    cache = {"LLMSCALE_CACHE_MODE": "on", "XDG_CACHE_HOME": str(folder / "cache")}
    embed(folder, "docs", *SIM, "-o", "v.jsonl", env=cache)
    chunks = len(read_rows(folder / "v.jsonl"))
    gone = sum(line["source"] == "docs/b.txt" for line in read_rows(folder / "v.jsonl"))
    with (folder / "docs/a.md").open("a") as file:
        file.write("\n\nA new paragraph. " + "more " * 200)
    (folder / "docs/b.txt").unlink()
    embed(folder, "docs", *SIM, "-o", "v.jsonl", env=cache)
    found = read_rows(folder / "v.jsonl")
    assert {line["source"] for line in found} == {"docs/a.md", "docs/deep/c.rst"}
    asked = [line for line in found if not line["cached"]]
    assert 1 <= len(asked) <= 2
    assert all("more" in line["text"] for line in asked)
    assert len(found) >= chunks - gone
    assert all(line["vector"] for line in found)


def test_other_settings_are_refused_and_named(folder: Path) -> None:
    embed(folder, "docs", *SIM, "-o", "v.jsonl")
    said = embed(folder, "docs", *SIM, "-o", "v.jsonl", "--chunk-tokens", 99, code=2).stderr
    assert "embed_chunk_tokens" in said
    embed(folder, "docs", *SIM, "-o", "v.jsonl", "--chunk-tokens", 99, "--overwrite")


def test_rows_with_a_text_keep_their_id_and_their_metadata(tmp_path: Path, server: str) -> None:
    rows = [{"id": f"r{n}", "text": f"text {n}", "metadata": {"n": n}} for n in range(120)]
    rows[7] = {"id": "r7"}
    write_rows(tmp_path / "rows.jsonl", rows)
    to = ("--model", "openai/v", "--base-url", server)
    embed(tmp_path, "rows.jsonl", *to, code=1)
    found = read_rows(tmp_path / "rows.vectors.jsonl")
    assert [line["id"] for line in found] == [f"r{n}" for n in range(120)]
    assert found[7]["vector"] is None
    assert 'no "text"' in found[7]["error"]["message"]
    for n, line in enumerate(found):
        if n != 7:
            assert np.array(line["vector"], "<f4").tobytes() == expected_vector(f"text {n}")
            assert line["metadata"] == {"n": n}
    assert report_of(tmp_path / "rows.vectors.jsonl")["batches"]["rows"] == 119


def test_rows_from_standard_input_go_to_standard_output(tmp_path: Path) -> None:
    rows = "".join(f'{{"text": "row {n}"}}\n' for n in range(3))
    run = llmscale("embed", "-", *SIM, "-o", "-", cwd=tmp_path, stdin=rows)
    assert run.returncode == 0, run.stderr
    assert sorted(orjson.loads(line)["text"] for line in run.stdout.splitlines()) == [
        "row 0",
        "row 1",
        "row 2",
    ]


def test_vectors_in_base64_are_the_same_vectors(folder: Path) -> None:
    embed(folder, "docs", *SIM, "-o", "n.jsonl")
    embed(folder, "docs", *SIM, "-o", "b.jsonl", "--vectors", "base64")
    for numbers, encoded in zip(
        read_rows(folder / "n.jsonl"), read_rows(folder / "b.jsonl"), strict=True
    ):
        decoded = np.frombuffer(base64.b64decode(encoded["vector"]), "<f4")
        assert decoded.tolist() == np.array(numbers["vector"], "<f4").tolist()


def test_normalized_vectors_have_the_length_one(tmp_path: Path, server: str) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"text": f"text {n}"} for n in range(5)])
    to = ("--model", "openai/v", "--base-url", server, "--dimensions", 16, "--normalize")
    embed(tmp_path, "rows.jsonl", *to, "-o", "v.jsonl")
    for n, line in enumerate(read_rows(tmp_path / "v.jsonl")):
        right = np.frombuffer(expected_vector(f"text {n}", 16), "<f4")
        assert np.linalg.norm(line["vector"]) == pytest.approx(1, abs=1e-6)
        assert line["vector"] == pytest.approx(right / np.linalg.norm(right), abs=1e-6)


def test_the_same_text_twice_is_embedded_once(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"text": f"text {n % 3}"} for n in range(30)])
    cache = {"LLMSCALE_CACHE_MODE": "on", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    embed(tmp_path, "rows.jsonl", *SIM, "-o", "v.jsonl", env=cache)
    found = report_of(tmp_path / "v.jsonl")
    assert found["rows"]["answered"] == 30
    assert found["batches"]["rows"] == 3


def test_exports_are_made_from_the_finished_lines(folder: Path) -> None:
    embed(folder, "docs", *SIM, "-o", "v.jsonl", "--export", "v.npy")
    found = read_rows(folder / "v.jsonl")
    matrix = np.load(folder / "v.npy")
    assert matrix.shape == (len(found), 64)
    assert np.allclose(matrix, [line["vector"] for line in found])
    assert "use .npy" in embed(folder, "docs", *SIM, "--export", "x.csv", code=2).stderr


def test_an_export_does_not_replace_what_is_not_of_the_job(folder: Path) -> None:
    (folder / "v.npy").write_text("mine")
    options = ("docs", *SIM, "-o", "v.jsonl", "--export", "v.npy")
    assert "v.npy exists" in embed(folder, *options, code=2).stderr
    assert (folder / "v.npy").read_text() == "mine"
    embed(folder, *options, "--overwrite")
    embed(folder, *options)
    assert np.load(folder / "v.npy").shape[1] == 64


@pytest.mark.parametrize("name", ["rows.jsonl", "*.jsonl", "sub/../rows.jsonl"])
def test_what_is_read_is_never_written_over(folder: Path, name: str) -> None:
    (folder / "sub").mkdir()
    write_rows(folder / "rows.jsonl", [{"text": "mine"}])
    run = embed(folder, name, *SIM, "-o", "rows.jsonl", "--overwrite", code=2)
    assert "rows.jsonl is both input and output" in run.stderr
    assert read_rows(folder / "rows.jsonl") == [{"text": "mine"}]


def test_an_unreadable_file_is_a_failed_row_with_the_reason(folder: Path) -> None:
    (folder / "binary.bin").write_bytes(b"\0\1\2")
    embed(folder, "docs/a.md", "binary.bin", *SIM, "-o", "v.jsonl", code=1)
    *good, bad = read_rows(folder / "v.jsonl")
    assert all(line["vector"] for line in good)
    assert bad["vector"] is None
    assert bad["source"] == "binary.bin"
    assert "binary.bin is binary" in bad["error"]["message"]


def test_a_resumed_run_requests_no_vector_twice(
    tmp_path: Path,
) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"text": f"text {n}"} for n in range(2_000)])
    options = ("rows.jsonl", "--model", "sim/latency=0.1", "-o", "v.jsonl", "--concurrency", 2)
    process = start("embed", *options, cwd=tmp_path)
    partial = tmp_path / "v.jsonl.partial"
    wait_until(lambda: partial.exists() and partial.stat().st_size > 0)
    assert stop(process, signal.SIGINT).returncode == 130
    kept = len(partial.read_bytes().splitlines())
    assert 0 < kept < 2_000
    embed(tmp_path, *options)
    assert [line["text"] for line in read_rows(tmp_path / "v.jsonl")] == [
        f"text {n}" for n in range(2_000)
    ]
    assert report_of(tmp_path / "v.jsonl")["batches"]["rows"] == 2_000 - kept


def test_a_fallback_of_models_that_answer_is_no_matter_of_vectors(folder: Path) -> None:
    (folder / "llmscale.toml").write_text('[fallback]\n"sim/fast" = ["sim/slow"]\n')
    embed(folder, "docs", *SIM, "-o", "v.jsonl")


def test_patterns_may_come_from_the_environment(folder: Path) -> None:
    embed(folder, "docs", *SIM, "-o", "v.jsonl", env={"LLMSCALE_EMBED_INCLUDE": '["*.md"]'})
    assert {line["source"] for line in read_rows(folder / "v.jsonl")} == {"docs/a.md"}


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("nowhere",), "nowhere"),
        (("docs", "--overlap", 300), "overlap"),
        (("docs", "--dimensions", 0), "dimensions"),
        (("docs", "--model", "anthropic/x"), "no embeddings"),
        (("docs", "--model", "local/other"), "local/wordllama"),
        (("docs", "--batch-bytes", "much"), "--batch-bytes: invalid size"),
        (("-", "docs"), "standard input"),
    ],
)
def test_a_wrong_use_is_one_sentence_and_exit_code_two(
    folder: Path, args: tuple[object, ...], complaint: str
) -> None:
    run = embed(folder, *args, "-o", "v.jsonl", code=2)
    assert complaint in run.stderr
    assert "Traceback" not in run.stderr
    assert not (folder / "v.jsonl").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_large_output_that_is_made_while_the_job_runs_survives_the_end_of_its_process(
    number: signal.Signals, tmp_path: Path
) -> None:
    write_rows(tmp_path / "in.jsonl", [{"text": f"text {index}"} for index in range(800)])
    job = ("in.jsonl", *SIM, "--dimensions", 2_000, "--cache", "off")
    process = start("embed", *job, "--rpm", 300, "-o", "v.jsonl", cwd=tmp_path)
    staged = tmp_path / "v.jsonl.tmp"
    wait_until(lambda: staged.exists() and staged.stat().st_size > 0)
    stop(process, number)
    assert staged.exists() is (number == signal.SIGKILL)
    embed(tmp_path, *job, "-o", "v.jsonl")
    embed(tmp_path, *job, "-o", "whole.jsonl")
    found, whole = read_rows(tmp_path / "v.jsonl"), read_rows(tmp_path / "whole.jsonl")
    for line in (*found, *whole):
        line["latency_s"] = None
    assert found == whole
    assert not staged.exists()
