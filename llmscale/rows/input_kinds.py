"""What an input is that is no JSONL: told from its first bytes, in one sentence with a way out."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import orjson

from llmscale.core.errors import ConfigError

HEAD_BYTES = 4096


class Kind(NamedTuple):
    """A kind of file, by how it begins."""

    begins: tuple[bytes, ...]
    sentence: str  # after the name of the file; `{name}` is that name


_KINDS = (
    Kind(
        (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff"),
        "is UTF-32; convert it: iconv -f UTF-32 -t UTF-8 {name} > rows.jsonl",
    ),
    Kind(
        (b"\xff\xfe", b"\xfe\xff"),
        "is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 {name} > rows.jsonl",
    ),
    Kind((b"\x1f\x8b",), "is compressed with gzip; give it a name that ends in .gz"),
    Kind((b"\x28\xb5\x2f\xfd",), "is compressed with zstd; unpack it: zstd -d {name}"),
    Kind((b"BZh",), "is compressed with bzip2; unpack it: bunzip2 {name}"),
    Kind((b"\xfd7zXZ",), "is compressed with xz; unpack it: unxz {name}"),
    Kind((b"PAR1",), "is a Parquet file; write its rows as JSONL, one object a line"),
    Kind((b"%PDF",), "is a PDF; llmscale embed reads documents, run takes JSONL"),
    Kind((b"SQLite format 3",), "is an SQLite database; write its rows as JSONL"),
    Kind((b"PK\x03\x04",), "is a zip archive or an Office document; write its rows as JSONL"),
    Kind(
        (b"version https://git-lfs",),
        "is a Git LFS pointer and not the file itself; run: git lfs pull",
    ),
    Kind((b"<!DOCTYPE", b"<!doctype", b"<html", b"<?xml"), "is HTML or XML; write rows as JSONL"),
)


def check_kind(path: str) -> None:
    """Raise `ConfigError` for a file that is known to be something else than JSONL.

    What can't be read is left for who reads it; a line that can't be used is a bad row.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return
    sentence = kind_of(head, is_gzip=path.endswith(".gz"))
    if sentence is not None:
        raise ConfigError(f"{path} {sentence.format(name=path)}")


def kind_of(head: bytes, *, is_gzip: bool = False) -> str | None:
    """Say what a file is by its first bytes; None: it may be JSONL."""
    if is_gzip:
        return None
    for kind in _KINDS:
        if head.startswith(kind.begins):
            return kind.sentence
    if head[:4:2] == b"\0\0" or head[1:4:2] == b"\0\0":
        return "is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 {name} > rows.jsonl"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    checks: tuple[Callable[[bytes], str | None], ...] = (_array, _one_document, _table)
    return next((found for check in checks if (found := check(text)) is not None), None)


def _array(text: bytes) -> str | None:
    if not text.startswith(b"["):
        return None
    return "is a JSON array; write one object a line: jq -c '.[]' {name} > rows.jsonl"


def _one_document(text: bytes) -> str | None:
    first = text.splitlines()[0].strip() if text else b""
    if first != b"{":
        return None
    return "is JSON over several lines; write one object a line: jq -c . {name} > rows.jsonl"


def _table(text: bytes) -> str | None:
    """CSV: a first line of names, and a second with as many values."""
    lines = text.splitlines()[:3]
    if len(lines) < 2 or lines[0][:1] in (b"{", b"[") or _is_json(lines[0]):
        return None
    for separator, name in ((b",", "CSV"), (b"\t", "TSV"), (b";", "CSV")):
        columns = lines[0].count(separator)
        if columns and lines[1].count(separator) >= columns:
            delimiter = "" if separator == b"," else f", delimiter={separator.decode()!r}"
            code = (
                "import csv, json; [print(json.dumps(row)) for row in "
                f"csv.DictReader(open('{{name}}', newline=''){delimiter})]"
            )
            names = lines[0].decode(errors="replace")[:80].replace("{", "{{").replace("}", "}}")
            return f'is {name} with the columns {names}; write it as JSONL: python3 -c "{code}"'
    return None


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True
