"""A secret that must not get anywhere, and the search for it in all that a run has left."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

SECRET = "sk-canary/0123+456789&abcdef"  # is written otherwise in a URL, and maybe in JSON


def forms(secret: str) -> dict[str, bytes]:
    """Return the ways in which a secret may be written, by their names.

    Of base64 the part that is the same whatever stands before and behind the secret.
    """
    raw = secret.encode()
    found = {
        "plain": raw,
        "URL": quote(secret, safe="").encode(),
        "JSON": json.dumps(secret)[1:-1].encode(),
        "JSON, slashes escaped": json.dumps(secret)[1:-1].replace("/", "\\/").encode(),
        "half": raw[: len(raw) // 2],  # as a cut leaves it
    }
    for before in range(3):
        for name, encode in (("", base64.b64encode), (", for URLs", base64.urlsafe_b64encode)):
            # four letters for three bytes: those of neighbours are cut off on both sides
            letters = encode(b"\0" * before + raw).rstrip(b"=")
            found[f"base64{name}, at {before}"] = letters[4 if before else 0 : len(letters) - 2]
    return found


def hits(folder: Path, streams: Mapping[str, str | bytes], secret: str = SECRET) -> list[str]:
    """Return where a secret is found: in files under a folder, in their names, and in streams."""
    texts = {
        name: text.encode(errors="surrogateescape") if isinstance(text, str) else text
        for name, text in streams.items()
    }
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        texts[f"the name of {name}"] = os.fsencode(name)
        if path.is_file():
            texts[name] = path.read_bytes()
    return [
        f"{name}: {form}"
        for name, text in texts.items()
        for form, written in forms(secret).items()
        if written in text
    ]


def looked_at(folder: Path, streams: Mapping[str, str | bytes]) -> int:
    """Return how many files and streams `hits` reads."""
    return len(streams) + sum(path.is_file() for path in folder.rglob("*"))
