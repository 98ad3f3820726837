"""What a dry run says of prompts and of documents, and that it leaves nothing behind."""

from pathlib import Path

import pytest

from tests.cli.tool import Run, llmscale, prompts, write_rows
from tests.servers.embeddings import embedding_process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# One\n\nSome text.\n")
    (tmp_path / "docs" / "b.md").write_bytes(b"caf\xe9 in another encoding")
    write_rows(tmp_path / "rows.jsonl", [{"text": "a row"}, {"no": "text"}])
    return tmp_path


def embed(folder: Path, *args: object) -> Run:
    return llmscale("embed", *args, "-o", "v.jsonl", "-m", "sim/a", cwd=folder)


def test_documents_are_read_counted_and_not_sent(folder: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())
    with embedding_process("--ledger", folder / "ledger") as url:
        to_server = ("-m", "openai/e", "--base-url", url, "-o", "v.jsonl")
        seen = llmscale(
            "embed", "docs/a.md", "docs/b.md", "rows.jsonl", *to_server, "--dry-run", cwd=folder
        )
    assert seen.returncode == 1, "a file and a row can't be used"
    facts = dict(line.split(maxsplit=1) for line in seen.stdout.splitlines() if "row  " not in line)
    assert facts["files"] == "2"
    assert facts["rows"] == "4, of which 2 can't be used"
    assert facts["output"] == "v.jsonl (new)"
    assert "docs/b.md" in seen.stdout
    assert seen.stdout.endswith("nothing was sent\n")
    (folder / "ledger").unlink(missing_ok=True)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_state_of_an_output_of_vectors_is_said(folder: Path) -> None:
    (folder / "docs" / "b.md").unlink()
    embed(folder, "docs")
    assert "finished, 1 rows answered" in embed(folder, "docs", "--dry-run").stdout
    (folder / "docs" / "a.md").write_text("Another text.\n")
    changed = embed(folder, "docs", "--dry-run").stdout
    assert "its input has changed; only new text would be embedded" in changed
    other = llmscale("embed", "docs", "-o", "v.jsonl", "-m", "sim/b", "--dry-run", cwd=folder)
    assert "another job's, replaced only with --overwrite: " in other.stdout


@pytest.mark.parametrize("command", ["run", "embed"])
def test_standard_input_is_refused_since_nobody_could_read_it_again(
    command: str, tmp_path: Path
) -> None:
    ended = llmscale(command, "-", "-o", "o.jsonl", "--dry-run", cwd=tmp_path, stdin="")
    assert ended.returncode == 2
    assert "name a file instead of -" in ended.stderr


def test_prompts_are_counted_by_model(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", [*prompts(2), {"prompt": "x", "model": "sim/b"}])
    seen = llmscale("run", "in.jsonl", "-m", "sim/a", "--dry-run", cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr
    assert "sim/a: 2 rows" in seen.stdout
    assert "sim/b: 1 rows" in seen.stdout
