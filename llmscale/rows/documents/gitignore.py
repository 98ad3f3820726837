"""Patterns that exclude files: `.gitignore` files, and those of flags, in one syntax.

The syntax is that of gitignore: `*.log` and `drafts/` match at any depth, `/drafts/` and `a/*.md`
from the folder that the patterns belong to, `**` over folders, `!` takes back; the last match wins.
Global ignore files and `.git/info/exclude` are not read.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from llmscale.core.errors import ConfigError
from llmscale.rows.documents.file_errors import FileError

IGNORE_FILE = ".gitignore"
MAX_IGNORE_FILE_BYTES = 1024 * 1024
_INSIDE = re.compile(r"/\*\*/?$")


class _Pattern(NamedTuple):
    regex: re.Pattern[str]
    excludes: bool  # else takes back
    is_for_folders: bool  # ends in /
    is_for_inside: bool  # ends in /**

    def matches(self, path: str) -> bool:
        """Tell whether an entry matches itself, not because a folder above it does."""
        found = self.regex.search(path)
        if found is None or (self.is_for_folders and not path.endswith("/")):
            return False
        if not self.regex.pattern.startswith("^"):  # * and **, which match everything
            return True
        return (found.end() < len(path)) is self.is_for_inside


class Patterns:
    """Patterns of one folder, matched against each entry on the way down.

    As in git, an excluded folder is not walked, so nothing in it can be taken back. pathspec
    decides on whole paths, and differs from git: it goes by the folder above where a `!*/` takes
    that back. So it compiles the patterns, and the decision is made here.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        """Skip lines that are not a pattern, as git does."""
        patterns = [pattern for line in lines for pattern in _compiled(line)]
        self._last_first = patterns[::-1]

    def __bool__(self) -> bool:
        return bool(self._last_first)

    def excludes(self, path: str) -> bool | None:
        """Tell whether an entry is excluded, None where no pattern matches.

        `path` is relative to the folder of the patterns; that of a folder ends in `/`.
        """
        for pattern in self._last_first:
            if pattern.matches(path):
                return pattern.excludes
        return None


class IgnoreFile(NamedTuple):
    """The patterns of one `.gitignore`, and the folder below it that is being walked."""

    patterns: Patterns
    below: str  # "" in its own folder, else "guides/old/"


def is_ignored(files: Sequence[IgnoreFile], name: str) -> bool:
    """Tell whether an entry of the folder being walked is ignored; a folder's name ends in `/`.

    The innermost file that has a matching pattern decides, as in git.
    """
    for patterns, below in reversed(files):
        decision = patterns.excludes(below + name)
        if decision is not None:
            return decision
    return False


def step_into(files: Sequence[IgnoreFile], folder: str) -> tuple[IgnoreFile, ...]:
    """Return the same patterns as they apply one folder further down."""
    return tuple(IgnoreFile(patterns, f"{below}{folder}/") for patterns, below in files)


def ignore_files_of(folder: str) -> tuple[IgnoreFile, ...]:
    """Return the patterns of a folder's own `.gitignore`, if there is one.

    Raises `FileError` when it can't be read: without it, files that should be ignored would be
    embedded.
    """
    try:
        with Path(folder, IGNORE_FILE).open("rb") as file:
            raw = file.read(MAX_IGNORE_FILE_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError):
        return ()
    except OSError as error:
        what = f"is skipped because its {IGNORE_FILE} can't be read: {error.strerror}"
        raise FileError("unreadable", what) from None
    if len(raw) > MAX_IGNORE_FILE_BYTES:
        raise FileError("too_large", f"is skipped because its {IGNORE_FILE} is over 1 MB")
    lines = os.fsdecode(raw.removeprefix(b"\xef\xbb\xbf")).split("\n")
    patterns = Patterns([line.removesuffix("\r") for line in lines])
    return (IgnoreFile(patterns, ""),) if patterns else ()


def ignore_files_above(folder: str) -> tuple[IgnoreFile, ...]:
    """Return the patterns of the folders above one, up to the root of its repository.

    None outside of a repository. The folder itself may be ignored: it was named, so it is read.
    Raises `FileError`.
    """
    found: tuple[IgnoreFile, ...] = ()
    below = ""
    place = Path(os.path.realpath(folder))
    while not os.path.lexists(place / ".git"):
        if place == place.parent:
            return ()
        below = f"{place.name}/{below}"
        place = place.parent
        found = (*(IgnoreFile(own.patterns, below) for own in ignore_files_of(str(place))), *found)
    return found


def check_patterns(flag: str, patterns: Sequence[str]) -> None:
    """Raise `ConfigError` for an invalid pattern."""
    for pattern in patterns:
        if not _compiled(pattern):
            raise ConfigError(f"{flag}: invalid pattern {pattern!r}; write for example '*.md'")


def spec_of(patterns: Sequence[str]) -> GitIgnoreSpec | None:
    """Return a matcher of whole paths and of folders above them, None where all match."""
    return GitIgnoreSpec.from_lines(patterns, backend="simple") if patterns else None


def _compiled(line: str) -> list[_Pattern]:
    """Return the pattern of a line, none for a comment or an invalid pattern."""
    try:
        spec = GitIgnoreSpec.from_lines([line], backend="simple")
    except (ValueError, re.error):
        return []
    text = line.rstrip()
    return [
        _Pattern(pattern.regex, pattern.include, text.endswith("/"), bool(_INSIDE.search(text)))
        for pattern in spec.patterns
        if pattern.regex is not None and pattern.include is not None
    ]
