"""The search for the secret finds it, or its zeros would mean nothing."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.security.canary import SECRET, hits


def in_base64(before: str) -> Callable[[str], str]:
    return lambda secret: base64.b64encode(f"{before}{secret}\n".encode()).decode()


WRITTEN: dict[str, Callable[[str], str]] = {
    "plain": str,
    "URL": lambda secret: quote(secret, safe=""),
    "JSON": json.dumps,
    "JSON, slashes escaped": lambda secret: json.dumps(secret).replace("/", "\\/"),
    "half": lambda secret: secret[: len(secret) // 2],
    **{f"base64 behind {len(text)}": in_base64(text) for text in ("", ":", "u:", "Bearer ")},
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_the_secret_is_found_in_every_form_and_place(
    written: Callable[[str], str], tmp_path: Path
) -> None:
    text = f"before {written(SECRET)} after"
    assert hits(tmp_path, {"stderr": text})[0].startswith("stderr: ")
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"\xff\x00" + text.encode())
    assert any(hit.startswith("a/b/file: ") for hit in hits(tmp_path, {}))


def test_the_secret_is_found_in_the_name_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "sk-canary").touch()
    assert hits(tmp_path, {}, "sk-canary")[0] == "the name of sk-canary: plain"


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"sk-other")
    assert hits(tmp_path, {"stdout": "", "stderr": b"\xff"}) == []
