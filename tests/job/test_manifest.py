"""The identity of a job: kept whole, compared by content, refused when it can't be read."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llmscale.accounting.stats import Spend
from llmscale.core.errors import ConfigError, StorageError
from llmscale.job.manifest import VERSION, InputFile, Manifest, differences, load, save
from tests.job import content_of

INPUTS = [InputFile("a.jsonl", "digest a"), InputFile("b.jsonl", "digest b")]

MANIFEST = Manifest(
    inputs=INPUTS,
    settings={"model": "sim/a", "temperature": 0.7, "stop": ["x"], "param": {"a": None}},
    output_format="openai-batch",
    limit=5,
    rows=3,
    state="finished",
    answered=2,
    failed=1,
    spend=Spend(4, 5, 6, 0.1, 1),
    runs=7,
    max_repeated_calls=8,
    output_sha256="one",
    next_output_sha256="two",
    replaced_sha256="three",
)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "out.job.json"
    save(path, MANIFEST)
    assert load(path) == MANIFEST
    assert content_of(tmp_path).keys() == {"out.job.json"}
    assert json.loads(path.read_bytes())["version"] == VERSION == 1


def test_where_there_is_none_none_is_loaded(tmp_path: Path) -> None:
    assert load(tmp_path / "out.job.json") is None


def test_one_that_can_not_be_opened_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"can't read {tmp_path}: it is not a regular file"):
        load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b'{"settings": {"model": "\xff"}}',
        b"[" * 100_000,
        json.dumps({"inputs": 5, "settings": {}, "output_format": "llmscale", "rows": 1}).encode(),
        json.dumps({"inputs": [], "settings": {}, "output_format": "csv", "rows": 1}).encode(),
        json.dumps({"inputs": [], "settings": {}, "output_format": "llmscale"}).encode(),
    ],
)
def test_a_damaged_one_is_refused_by_name_with_the_way_out(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "out.job.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"job\.json is damaged \(.*\); start over with --ov"):
        load(path)


@given(place=st.floats(0, 1), garbage=st.binary(max_size=4))
def test_any_damage_is_harmless_or_refused(
    place: float, garbage: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.job.json"
    save(path, MANIFEST)
    whole = path.read_bytes()
    at = int(place * len(whole))
    path.write_bytes(whole[:at] + garbage + whole[at + len(garbage) :])
    try:
        found = load(path)
    except ConfigError:
        return
    assert isinstance(found, Manifest)


def changes(inputs: list[InputFile] = INPUTS, settings: dict[str, Any] | None = None) -> list[str]:
    return differences(MANIFEST, inputs, MANIFEST.settings if settings is None else settings)


def test_the_same_job_has_no_differences_wherever_its_inputs_lie() -> None:
    assert changes() == []
    assert changes([InputFile(f"elsewhere/{f.path}", f.sha256) for f in INPUTS]) == []


@pytest.mark.parametrize(
    ("inputs", "difference"),
    [
        (INPUTS[:1], "it had 2 input files and has 1"),
        ([*INPUTS, InputFile("c", "c")], "it had 2 input files and has 3"),
        ([INPUTS[0], InputFile("b.jsonl", "new")], "the content of b.jsonl has changed"),
        (INPUTS[::-1], "the content of b.jsonl, a.jsonl has changed"),
    ],
)
def test_other_inputs_are_reported_by_name(inputs: list[InputFile], difference: str) -> None:
    assert changes(inputs) == [difference]


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"model": "sim/b"}, 'model was "sim/a" and is "sim/b"'),
        ({"temperature": 0.0}, "temperature was 0.7 and is 0.0"),
        ({"temperature": None}, "temperature was 0.7 and is not set"),
        ({"seed": 0}, "seed was not set and is 0"),
        ({"stop": ["x", "y"]}, 'stop was ["x"] and is ["x","y"]'),
        ({"param": {}}, 'param was {"a":null} and is {}'),
        ({"system": "s" * 100}, f'system was not set and is "{"s" * 56}...'),
    ],
)
def test_a_changed_setting_is_reported_with_both_values(
    settings: dict[str, Any], difference: str
) -> None:
    assert changes(settings=MANIFEST.settings | settings) == [difference]


def test_all_changes_are_reported_at_once() -> None:
    assert len(changes(INPUTS[:1], {"model": "sim/b"})) == 5


def test_a_manifest_of_another_version_is_refused_and_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "out.job.json"
    save(path, replace(MANIFEST, version=VERSION + 1))
    with pytest.raises(ConfigError, match="another version"):
        load(path)
