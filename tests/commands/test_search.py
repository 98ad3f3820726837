"""A search over files: with the model that their vectors are of, or not at all.

The query is embedded by a stand-in that notes what it was asked; the rest is as in the product.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from llmscale import vector_files as exports
from llmscale.commands.search import SearchResult, search
from llmscale.config import Config
from llmscale.core.errors import CallFailed, ConfigError, JobError, StorageError
from llmscale.core.records import Failure
from tests.settings import config_of
from tests.vector_files import ENDINGS, MODEL, extensions_loadable, line, spread, write_jsonl

every_file = pytest.mark.parametrize("ending", [*ENDINGS, ".jsonl"])


@pytest.fixture(autouse=True)
def _sqlite_vec() -> Iterator[None]:
    with extensions_loadable():
        yield


class Embedding:
    """Gives every text one vector, of as many numbers as it is told or has."""

    def __init__(self) -> None:
        self.vector = spread(1)[0]
        self.asked: list[tuple[str | None, int | None, list[str]]] = []
        self.error: Exception | None = None

    def __call__(self, config: Config, texts: list[str]) -> list[bytes]:
        """Stand for `embed_texts`."""
        self.asked.append((config.embed.model, config.embed.dimensions, texts))
        if self.error:
            raise self.error
        return [self.vector[: config.embed.dimensions].tobytes() for _ in texts]


@pytest.fixture
def embedding(monkeypatch: pytest.MonkeyPatch) -> Embedding:
    module = ModuleType("llmscale.commands.embed")
    embedding = Embedding()
    module.embed_texts = embedding  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return embedding


def lines_of(vectors: Any, **fields: Any) -> list[Any]:
    return [line(at, vector.tolist(), **fields) for at, vector in enumerate(vectors)]


def written(folder: Path, ending: str, lines: list[Any], name: str = "a") -> str:
    """Write the lines as JSONL and beside it in another format; return the name of the file."""
    path = write_jsonl(folder / f"{name}.jsonl", lines).with_suffix(ending)
    if ending != ".jsonl":
        exports.export(lines, path)
    return str(path)


def indexes(found: SearchResult) -> list[tuple[str, int]]:
    return [(Path(hit.file).name, hit.chunk.index) for hit in found.chunks]


# ---- what is found -----------------------------------------------------------------------------


@every_file
def test_every_format_gives_the_same_chunks_with_the_same_scores(
    ending: str, tmp_path: Path, embedding: Embedding
) -> None:
    vectors = spread(3000)
    lines = lines_of(vectors)
    lines[0] |= {"vector": None, "error": {"type": "timeout", "message": "late"}}
    lines[2000]["vector"] = lines[7]["vector"] = lines[1000]["vector"]
    embedding.vector = vectors[1000]
    found = search(Config(), "what?", [written(tmp_path, ending, lines)], 4)
    assert found.model == MODEL
    assert embedding.asked == [(MODEL, None, ["what?"])]
    assert [hit.chunk.text for hit in found.chunks][:3] == ["text 7", "text 1000", "text 2000"]
    cosines = vectors @ vectors[1000] / np.linalg.norm(vectors, axis=1)
    cosines /= np.linalg.norm(vectors[1000])
    cosines[[0, 7, 2000]] = [-1, 1, 1]
    expected = np.sort(cosines)[::-1][:4]
    assert [hit.score for hit in found.chunks] == pytest.approx(expected, abs=1e-6)
    plain = search(Config(), "what?", [str(tmp_path / "a.jsonl")], 4)
    assert [hit[1:] for hit in plain.chunks] == [hit[1:] for hit in found.chunks]


def test_many_files_of_different_formats_are_searched_as_one(
    tmp_path: Path, embedding: Embedding
) -> None:
    vectors = spread(40)
    files = [
        written(tmp_path, ending, lines_of(vectors[at::4]), name=f"part{at}")
        for at, ending in enumerate((*ENDINGS, ".jsonl"))
    ]
    embedding.vector = vectors[21]
    found = search(Config(), "what?", files, 40)
    assert indexes(found)[0] == ("part1.parquet", 5)
    assert len(set(indexes(found))) == 40
    scores = [hit.score for hit in found.chunks]
    assert scores == sorted(scores, reverse=True)


def test_globs_stand_for_files(tmp_path: Path, embedding: Embedding) -> None:
    for name in ("a", "b"):
        written(tmp_path, ".jsonl", lines_of(spread(2)), name)
    found = search(Config(), "what?", [str(tmp_path / "*.jsonl")], 9)
    assert [name for name, _ in indexes(found)] == ["a.jsonl", "b.jsonl"] * 2


@every_file
@pytest.mark.parametrize("lines", [[], [line(0, None)]], ids=["no lines", "all failed"])
def test_where_there_is_no_vector_nothing_is_found_and_nothing_asked(
    ending: str, lines: list[Any], tmp_path: Path, embedding: Embedding
) -> None:
    found = search(Config(), "what?", [written(tmp_path, ending, lines)], 5)
    assert found == SearchResult(None, [])
    assert not embedding.asked


def test_a_file_without_vectors_does_not_keep_another_from_being_searched(
    tmp_path: Path, embedding: Embedding
) -> None:
    empty = written(tmp_path, ".jsonl", [line(0, None, model="sim/other")], "empty")
    full = written(tmp_path, ".jsonl", lines_of(spread(1)), "full")
    assert indexes(search(Config(), "what?", [empty, full], 5)) == [("full.jsonl", 0)]


# ---- which model -------------------------------------------------------------------------------


def test_the_model_of_the_vectors_goes_before_that_of_the_settings(
    tmp_path: Path, embedding: Embedding
) -> None:
    file = written(tmp_path, ".jsonl", lines_of(spread(1)))
    search(config_of(embed_model="sim/settings"), "what?", [file], 1)
    assert embedding.asked[0][0] == MODEL


def test_a_model_that_is_named_goes_before_all(tmp_path: Path, embedding: Embedding) -> None:
    one = written(tmp_path, ".jsonl", lines_of(spread(1)), "one")
    other = written(tmp_path, ".jsonl", lines_of(spread(1), model="sim/b"), "other")
    without = written(tmp_path, ".jsonl", lines_of(spread(1), model=None), "without")
    found = search(Config(), "what?", [one, other, without], 9, "openai/alias")
    assert found.model == "openai/alias"
    assert len(found.chunks) == 3
    assert embedding.asked[0][0] == "openai/alias"


def test_files_of_different_models_are_refused_before_anything_is_asked(
    tmp_path: Path, embedding: Embedding
) -> None:
    one = written(tmp_path, ".jsonl", lines_of(spread(1)), "one")
    other = written(tmp_path, ".db", lines_of(spread(1), model="sim/b"), "other")
    with pytest.raises(
        ConfigError, match=r"one\.jsonl has some of local/wordllama and .*other\.db of sim/b"
    ):
        search(Config(), "what?", [one, other], 5)
    assert not embedding.asked


@pytest.mark.parametrize("ending", [".jsonl", ".parquet", ".db"])
@pytest.mark.parametrize("at", [1, 9999])
def test_vectors_of_different_models_in_one_file_are_refused(
    ending: str, at: int, tmp_path: Path, embedding: Embedding
) -> None:
    lines = lines_of(spread(at + 1, 2))
    embedding.vector = spread(1, 2)[0]
    lines[at]["model"] = "sim/b"
    with pytest.raises(ConfigError, match="vectors of different models can't be compared"):
        search(Config(), "what?", [written(tmp_path, ending, lines)], 5)


@every_file
def test_vectors_that_do_not_say_of_which_model_they_are_need_it_named(
    ending: str, tmp_path: Path, embedding: Embedding
) -> None:
    file = written(tmp_path, ending, lines_of(spread(1), model=None))
    with pytest.raises(ConfigError, match=r"does not name the model .* name it with --model"):
        search(Config(), "what?", [file], 5)
    assert len(search(Config(), "what?", [file], 5, "sim/a").chunks) == 1


# ---- how many numbers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "asked"), [(None, [None, 4]), (4, [4]), (6, [None, 4])], ids=["not", "right", "wrong"]
)
def test_a_query_has_as_many_numbers_as_the_vectors_have(
    told: int | None, asked: list[int | None], tmp_path: Path, embedding: Embedding
) -> None:
    file = written(tmp_path, ".jsonl", lines_of(spread(3)[:, :4]))
    found = search(config_of(embed_dimensions=told), "what?", [file], 1)
    assert [dimensions for _, dimensions, _ in embedding.asked] == asked
    assert len(found.chunks) == 1


def test_a_model_that_can_not_give_as_many_is_refused(tmp_path: Path, embedding: Embedding) -> None:
    file = written(tmp_path, ".jsonl", lines_of(spread(3, 9)))
    with pytest.raises(ConfigError, match="has 8 numbers with sim/a, and the vectors have 9"):
        search(Config(), "what?", [file], 1, "sim/a")


def test_files_with_vectors_of_different_lengths_are_refused(
    tmp_path: Path, embedding: Embedding
) -> None:
    files = [written(tmp_path, ".npy", lines_of(spread(1, n)), f"{n}") for n in (8, 9)]
    with pytest.raises(ConfigError, match=r"of 8 numbers and .* of 9; search them separately"):
        search(Config(), "what?", files, 1)


# ---- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", " \n"])
def test_a_query_without_a_word_is_refused(query: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the query is empty"):
        search(Config(), query, [written(tmp_path, ".jsonl", [])], 1)


@pytest.mark.parametrize("name", ["-", "none.jsonl", "."])
def test_what_is_no_file_is_refused(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        search(Config(), "what?", [name], 1)


@pytest.mark.parametrize("name", ["answers.jsonl", "a.json", "report.txt"])
def test_a_file_of_something_else_is_a_sentence(name: str, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / name, [{"id": "a", "output": "text"}])
    with pytest.raises(StorageError, match="no field vector"):
        search(Config(), "what?", [str(path)], 1)


def test_a_query_that_can_not_be_embedded_is_a_sentence(
    tmp_path: Path, embedding: Embedding
) -> None:
    file = written(tmp_path, ".jsonl", lines_of(spread(1)))
    embedding.error = CallFailed(Failure(kind="timeout", message="too late", retryable=True))
    with pytest.raises(JobError, match="can't embed the query: too late"):
        search(Config(), "what?", [file], 1)


def test_a_query_without_direction_is_a_sentence(tmp_path: Path, embedding: Embedding) -> None:
    file = written(tmp_path, ".jsonl", lines_of(spread(1)))
    embedding.vector = np.zeros(8, "<f4")
    with pytest.raises(JobError, match="can't embed the query: a vector came that is zero"):
        search(Config(), "what?", [file], 1)
