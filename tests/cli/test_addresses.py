"""An address of the environment is used, gets the key of its provider, and is named in the log."""

from pathlib import Path

import pytest

from tests.cli.tool import arrived, llmscale, prompts, read_rows, write_rows
from tests.servers.chat import chat_process


def test_calls_and_key_go_to_the_address_of_the_environment_which_is_said(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(3))
    with chat_process("--ledger", tmp_path / "ledger") as url:
        env = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-1"}
        run = ("run", "in.jsonl", "-o", "out.jsonl", "-m", "openai/m")
        ended = llmscale(*run, cwd=tmp_path, **env)
        again = llmscale(*run, "--overwrite", "--quiet", cwd=tmp_path, **env)
    assert (ended.returncode, again.returncode) == (0, 0), ended.stderr
    assert len(arrived(tmp_path / "ledger")) == 6
    assert ended.stderr.count(f"calls go to {url} (OPENAI_BASE_URL)\n") == 1
    assert again.stderr == ""


def test_a_base_url_on_the_command_line_wins(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(3))
    with chat_process() as url:
        run = ("run", "in.jsonl", "-o", "out.jsonl", "-m", "openai/m", "--base-url", url)
        ended = llmscale(*run, cwd=tmp_path, OPENAI_BASE_URL="http://127.0.0.1:1/v1")
    assert ended.returncode == 0, ended.stderr
    assert "OPENAI_BASE_URL" not in ended.stderr
    assert all(row["output"] for row in read_rows(tmp_path / "out.jsonl"))


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("localhost:8000", "OPENAI_BASE_URL: 'localhost:8000' is no address; write http(s)://HOST"),
        ("http://a:b@host/v1", "OPENAI_BASE_URL: base_url must hold no name, password or query"),
    ],
)
def test_an_address_that_can_not_be_used_is_one_sentence(
    address: str, sentence: str, tmp_path: Path
) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(1))
    run = ("run", "in.jsonl", "-m", "openai/m")
    ended = llmscale(*run, cwd=tmp_path, OPENAI_BASE_URL=address)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert sentence in line
