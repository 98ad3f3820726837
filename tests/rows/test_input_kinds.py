"""An input that is no JSONL is named for what it is, with a way out; JSONL never is."""

import gzip
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from llmscale.core.errors import ConfigError
from llmscale.rows.input_kinds import check_kind

ROW = '{"prompt": "hello"}\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (ROW.encode("utf-16"), "is UTF-16"),
        (ROW.encode("utf-16-le"), "is UTF-16"),
        (ROW.encode("utf-32"), "is UTF-32"),
        (gzip.compress(ROW.encode(), mtime=0), "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd....", "compressed with zstd"),
        (b"PAR1....", "is a Parquet file"),
        (b"%PDF-1.7", "is a PDF"),
        (b"PK\x03\x04....", "zip archive or an Office document"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"[" + ROW.encode() + b"]", "is a JSON array"),
        (b'\xef\xbb\xbf[\n  {"prompt": "a"}\n]', "is a JSON array"),
        (b'{\n  "prompt": "a"\n}\n', "is JSON over several lines"),
        (b"id,text\n1,hello\n", "is CSV with the columns id,text"),
        (b"id;text\n1;hello\n", "is CSV with the columns id;text"),
        (b"id\ttext\n1\thello\n", "is TSV"),
        (b"<html><body></body></html>", "is HTML or XML"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "in.jsonl").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        check_kind(str(tmp_path / "in.jsonl"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        ROW.encode(),
        b"\xef\xbb\xbf" + ROW.encode(),
        b"not JSON\n" + ROW.encode(),
        b'"a, b"\n"c, d"\n',
        b'{"a": "\x00"}\n',
    ],
)
def test_what_may_be_jsonl_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.jsonl").write_bytes(content)
    check_kind(str(tmp_path / "in.jsonl"))


def test_the_command_that_is_told_for_csv_makes_rows(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('id,text\n1,"a, b"\n')
    with pytest.raises(ConfigError) as raised:
        check_kind(str(tmp_path / "in.csv"))
    code = str(raised.value).partition('-c "')[2].rstrip('"')
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert orjson.loads(ended.stdout) == {"id": "1", "text": "a, b"}
