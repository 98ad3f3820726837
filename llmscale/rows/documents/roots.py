"""Resolves the given paths: files, folders and globs.

Never walks a folder. A glob goes down one folder for each of its parts; from a `**` on it is left
to the walk, which does not follow links as `glob` would.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from llmscale.core.errors import ConfigError
from llmscale.rows.documents.gitignore import check_patterns
from llmscale.rows.file_names import check_unicode

_ANY_DEPTH = "**"


class Root(NamedTuple):
    """Where a walk starts."""

    path: str
    is_named: bool  # else a glob has found it
    inner: str  # its path from the folder that include and exclude patterns belong to; "" is that
    pattern: str | None = None  # the part of a glob that the walk has to match, from this folder


def roots_of(paths: Sequence[str]) -> list[Root]:
    """Return where the walk starts, in the order given, each place once.

    Raises `ConfigError` for a path that does not exist.
    """
    roots: dict[str, Root] = {}
    for path in paths:
        check_unicode(path)
        found = [Root(_tidy(path), True, "")] if _exists(path) else list(_globbed(path))
        if not found:
            raise ConfigError(f"there is no file or folder {path}")
        for root in found:
            known = roots.get(_place(root))
            if known is None or root.is_named > known.is_named:
                roots[_place(root)] = root
    return list(roots.values())


def _globbed(path: str) -> Iterator[Root]:
    parts = path.split("/")
    if _ANY_DEPTH in parts:
        split = parts.index(_ANY_DEPTH)
        pattern = "/" + "/".join(parts[split:])
        check_patterns(path, [pattern])
        head = "/".join(parts[:split]) or ("/" if path.startswith("/") else ".")
        folders = [head] if _exists(head) else sorted(glob.glob(head))  # noqa: PTH207
        for folder in folders:
            if Path(folder).is_dir():
                yield Root(_tidy(folder), True, "", pattern)
        return
    fixed = _fixed_folder(parts)
    for found in sorted(glob.glob(path)):  # noqa: PTH207
        tidy = _tidy(found)
        yield Root(tidy, False, os.path.relpath(tidy, fixed))


def _fixed_folder(parts: Sequence[str]) -> str:
    """Return the leading part of a glob without wildcards."""
    first = next((i for i, part in enumerate(parts) if glob.has_magic(part)), 0)
    return "/".join(parts[:first]) or ("/" if parts[0] == "" else ".")


def _place(root: Root) -> str:
    return f"{Path(root.path).absolute()}\0{root.pattern or ''}"


def _tidy(path: str) -> str:
    """Write a path in one way: `docs//a/` is `docs/a`, `./a` is `a`.

    `..` is kept: behind a link, removing it would lead elsewhere.
    """
    return str(Path(path))


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path) if not path.endswith("/") else Path(path).exists()
    except (OSError, ValueError):  # longer than a name can be, or with a NUL in it
        return False
