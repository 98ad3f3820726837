"""`llmscale search` as a user has it: what is shown, where, and with which exit code."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from typer.testing import Result

from tests.cli.tool import in_process, llmscale
from tests.vector_files import MODEL, line, write_jsonl

HOSTILE = "[bold]no markup[/bold] :boom: [/]\x1b[31m red \u202e\x07 end"


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Embed every query as (1, 0); return the settings that it was embedded with."""
    seen: list[Any] = []
    module = ModuleType("llmscale.commands.embed")

    def embed_texts(config: Any, texts: list[str]) -> list[bytes]:
        seen.append(config)
        return [b"\0\0\x80?\0\0\0\0" for _ in texts]

    module.embed_texts = embed_texts  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("COLUMNS", "60")
    return seen


def search(*arguments: object) -> Result:
    return in_process("search", *arguments)


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    long = "one\ttwo\n\nthree  " * 100
    return write_jsonl(
        tmp_path / "vectors.jsonl",
        [
            line(0, [0.0, 1.0], text=long),
            line(1, [1.0, 0.0], source=HOSTILE, text=HOSTILE),
            line(2, None),
            line(3, [1.0, 1.0], source=None, start=None, end=None),
            line(4, [-1.0, 0.0], id=None, source=None, start=None, text=None),
        ],
    )


# ---- what is shown -----------------------------------------------------------------------------


def test_each_chunk_is_one_line_with_rank_score_place_and_text(vectors: Path) -> None:
    shown = search("what?", vectors)
    assert shown.exit_code == 0
    assert shown.stderr == ""
    first, *rest = shown.stdout.splitlines()
    assert first.startswith(" 1  1.0000  [bold]no markup")
    assert rest[0] == " 2  0.7071  id 3  text 3"
    excerpt = rest[1].removeprefix(" 3  0.0000  docs/a.md:0-9  ")
    assert excerpt == ("one two three " * 20)[:200].rstrip() + "..."
    assert rest[2:] == [" 4  -1.0000  row 4  "]


def test_text_of_a_file_neither_steers_the_terminal_nor_is_markup(vectors: Path) -> None:
    shown = search("what?", vectors, "-k", 1)
    safe = "[bold]no markup[/bold] :boom: [/]\ufffd[31m red \ufffd\ufffd end"
    assert shown.stdout == f" 1  1.0000  {safe}:10-19  {safe}\n"


def test_json_has_all_of_it_on_standard_output(vectors: Path) -> None:
    shown = search("what?", vectors, "--json", "-k", "2")
    assert shown.exit_code == 0
    found = orjson.loads(shown.stdout)
    assert list(found) == ["query", "model", "hits"]
    assert (found["query"], found["model"]) == ("what?", MODEL)
    assert found["hits"] == [
        {
            "rank": 1,
            "score": 1.0,
            "file": str(vectors),
            "id": "id 1",
            "index": 1,
            "source": HOSTILE,
            "start": 10,
            "end": 19,
            "text": HOSTILE,
        },
        {
            "rank": 2,
            "score": 0.707107,
            "file": str(vectors),
            "id": "id 3",
            "index": 3,
            "source": None,
            "start": None,
            "end": None,
            "text": "text 3",
        },
    ]


# ---- flags -------------------------------------------------------------------------------------


def test_the_flags_reach_the_settings(vectors: Path, tmp_path: Path, settings: list[Any]) -> None:
    file = tmp_path / "c.toml"
    file.write_text("timeout = 7.0\n")
    shown = search(
        *("what?", vectors, "--config", file, "--model", "openai/e"),
        *("--base-url", "http://127.0.0.1:1/v1", "--api-key-env", "KEY", "--allow-host", "h"),
        *("--cache", "off", "--cache-dir", tmp_path / "cache"),
    )
    assert shown.exit_code == 0, shown.stderr
    (config,) = settings
    assert (config.embed.model, config.retry.timeout, config.models.api_key_env) == (
        "openai/e",
        7.0,
        "KEY",
    )
    assert config.models.base_url == "http://127.0.0.1:1/v1"
    assert config.models.allow_host == ("h", "127.0.0.1")
    assert (config.cache.mode, config.cache.dir) == ("off", str(tmp_path / "cache"))


@pytest.mark.parametrize("k", ["0", "-1", "x", "10001"])
def test_an_invalid_number_of_results_is_refused(k: str, vectors: Path) -> None:
    assert search("what?", vectors, "-k", k).exit_code == 2


# ---- exit codes --------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_nothing_to_search_in_is_1(flags: tuple[str, ...], tmp_path: Path) -> None:
    shown = search("what?", write_jsonl(tmp_path / "a.jsonl", [line(0, None)]), *flags)
    assert shown.exit_code == 1
    assert shown.stderr == "no vectors to search\n"
    assert shown.stdout == "" if not flags else orjson.loads(shown.stdout)["hits"] == []


def test_a_search_that_can_not_run_is_one_sentence(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [line(0, [1.0]), line(1, [1.0], model="sim/b")])
    (tmp_path / "b.jsonl").write_text("no JSON\n")
    for arguments, exit_code, said in (
        (["what?", "none.jsonl"], 2, "there is no input none.jsonl"),
        (["what?", "a.jsonl"], 2, "vectors of different models can't be compared"),
        ([" ", "a.jsonl"], 2, "the query is empty"),
        (["what?", "b.jsonl"], 5, "can't read b.jsonl: line 1 is not a JSON object"),
        (["what?"], 2, "missing argument"),
    ):
        ended = llmscale("search", *arguments, cwd=tmp_path)
        assert ended.returncode == exit_code
        assert said in ended.stderr
        assert ended.stdout == ""
        assert "Traceback" not in ended.stderr


# ---- with what embed writes --------------------------------------------------------------------


def test_what_embed_writes_is_found_by_its_own_text(tmp_path: Path) -> None:
    texts = [f"text number {number}" for number in range(20)]
    write_jsonl(tmp_path / "rows.jsonl", [{"id": text, "text": text} for text in texts])
    exported = ("--export", "v.npy", "--export", "v.parquet")
    ended = llmscale(
        "embed", "rows.jsonl", "-o", "v.jsonl", "--model", "sim/a", *exported, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    for name in ("v.jsonl", "v.npy", "v.parquet"):
        ended = llmscale("search", texts[7], name, "-k", 1, "--json", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        found = orjson.loads(ended.stdout)
        assert found["model"] == "sim/a"
        (hit,) = found["hits"]
        assert (hit["index"], hit["score"], hit["text"]) == (7, 1.0, texts[7])
