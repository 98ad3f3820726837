"""An input that is not there, or that is no file of rows, is one sentence that says what to do."""

import os
from pathlib import Path

import pytest

from llmscale.core.errors import ConfigError
from llmscale.rows.sources import expand


def refused(name: str) -> str:
    with pytest.raises(ConfigError) as error:
        expand([name])
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "the name of an input is empty; name a file, or - for standard input"),
        ("What is the capital of France?", "a prompt is a row of a file or of standard input"),
        ('{"prompt": "a"}', 'echo \'{"prompt": "..."}\' | llmscale run - -o FILE'),
        ("x y" * 2000, "there is no input x yx yx yx"),
        ("https://host/in.jsonl", "https://host/in.jsonl is no file; download it first"),
        ("promps.jsonl", "there is no input promps.jsonl; did you mean prompts.jsonl?"),
        ("docs/a.jsonl", "there is no input docs/a.jsonl"),
    ],
)
def test_what_was_probably_meant_is_said(
    name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.jsonl").touch()
    said = refused(name)
    assert sentence in said
    assert len(said) < 200


def test_what_can_not_be_read_twice_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (str(tmp_path / "pipe"), "/dev/zero"):
        assert refused(name).endswith(
            "is a pipe or a device, which can't be read twice; redirect it to standard input and "
            "name - as the input"
        )


def test_a_folder_and_a_link_to_itself_are_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert refused(str(tmp_path)) == f"{tmp_path} is a folder; name its files: '{tmp_path}/*.jsonl'"
    assert "Too many levels of symbolic links" in refused(str(tmp_path / "loop"))
