"""From given paths to files, in a stable order, one folder in memory at a time.

Skipped and counted in folders: hidden entries, links, pipes and devices, files ignored by
`.gitignore` or excluded by a pattern, files of an unknown kind, binary files. A named file is
always taken. Never reads more of a file than its first 8 KB, and never follows a link: it may lead
in a circle, or out of the folder.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from pathspec import GitIgnoreSpec

from llmscale.rows.documents.file_errors import FileError, FileFailure, system_failure
from llmscale.rows.documents.file_kinds import PACKED_KINDS, FileKind, extension_of, kind_of
from llmscale.rows.documents.gitignore import (
    IgnoreFile,
    Patterns,
    check_patterns,
    ignore_files_above,
    ignore_files_of,
    is_ignored,
    spec_of,
    step_into,
)
from llmscale.rows.documents.roots import Root, roots_of
from llmscale.rows.file_names import is_unicode

HEAD_BYTES = 8192

SkipReason = Literal[
    "hidden",  # files and folders; a folder counts as one
    "ignored",  # by a .gitignore; a folder counts as one
    "excluded",  # by --include or --exclude; a folder counts as one
    "link",
    "special",  # a pipe, a socket, a device
    "unknown_kind",
    "binary",
]


class FoundFile(msgspec.Struct, frozen=True, gc=False):
    """A file to read; `source` is its path, relative as the given path is."""

    source: str
    kind: FileKind
    is_named: bool  # then it is reported when it can't be read


class _Folder(NamedTuple):
    path: str
    inner: str  # from the folder that the patterns belong to: "" or "guides/old/"
    ignores: tuple[IgnoreFile, ...]  # of the folders above it


_Step = FoundFile | FileFailure | _Folder | SkipReason


class Walk:
    """The files below some paths. Can be iterated again; `skipped` counts the last iteration.

    `include` and `exclude` are patterns as in a `.gitignore` at the folder that was given: a file
    is taken when `include` is empty or matches it, and `exclude` does not. `*.csv` in `include`
    makes files of that unknown kind plain text. Raises `ConfigError` for a path that does not exist
    and for an invalid pattern.
    """

    def __init__(
        self, paths: Sequence[str], *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> None:
        check_patterns("--include", include)
        check_patterns("--exclude", exclude)
        self._include = spec_of(include)
        self._exclude = Patterns(exclude)
        self._plain_extensions = {extension_of(pattern) for pattern in include} - {""}
        self._roots = roots_of(paths)
        self._listed = {_absolute(root.path) for root in self._roots if not _is_folder(root)}
        self.skipped: Counter[SkipReason] = Counter()

    def __iter__(self) -> Iterator[FoundFile | FileFailure]:
        self.skipped.clear()
        walked: set[str] = set()  # folders, so that docs and docs/guides give each file once
        for root in self._roots:
            only = spec_of([root.pattern] if root.pattern else [])
            for step in self._below(self._first_step(root), only, walked if not only else set()):
                if isinstance(step, str):
                    self.skipped[step] += 1
                else:
                    yield step

    def _first_step(self, root: Root) -> _Step:
        try:
            if root.is_named:
                if not _is_folder(root):
                    return FoundFile(root.path, kind_of(Path(root.path).name) or "plain", True)
                return _Folder(root.path, "", ignore_files_above(root.path))
            parent = str(Path(root.path).parent)
            ignores = (*ignore_files_above(parent), *ignore_files_of(parent))
            name = Path(root.path).name
            if any(self._exclude.excludes(folder) for folder in _folders_of(root.inner)):
                return "excluded"
            return self._step(root.path, name, root.inner, ignores, None)
        except FileError as error:
            return error.of(root.path)

    def _below(
        self, first: _Step, only: GitIgnoreSpec | None, walked: set[str]
    ) -> Iterator[FoundFile | FileFailure | SkipReason]:
        """Yield the files of a step, depth first; a loop, as folders may be deeply nested."""
        pending: list[Iterator[_Step]] = [iter([first])]
        while pending:
            step = next(pending[-1], None)
            if step is None:
                pending.pop()
            elif not isinstance(step, _Folder):
                yield step
            elif (place := _absolute(step.path)) not in walked:
                walked.add(place)
                pending.append(self._entries(step, only))

    def _entries(self, folder: _Folder, only: GitIgnoreSpec | None) -> Iterator[_Step]:
        try:
            names = sorted(os.listdir(folder.path))  # noqa: PTH208
            ignores = (*folder.ignores, *ignore_files_of(folder.path))
        except OSError as error:
            yield system_failure(folder.path, error)
            return
        except FileError as error:
            yield error.of(folder.path)
            return
        for name in names:
            path = name if folder.path == "." else str(Path(folder.path, name))
            if not self._listed or _absolute(path) not in self._listed:
                if name.startswith("."):
                    yield "hidden"
                else:
                    yield self._step(path, name, folder.inner + name, ignores, only)

    def _step(
        self,
        path: str,
        name: str,
        inner: str,
        ignores: tuple[IgnoreFile, ...],
        only: GitIgnoreSpec | None,
    ) -> _Step:
        try:
            mode = os.lstat(path).st_mode
        except OSError as error:
            return system_failure(path, error)
        slash = "/" if stat.S_ISDIR(mode) else ""
        if is_ignored(ignores, name + slash):
            return "ignored"
        if self._exclude.excludes(inner + slash):
            return "excluded"
        if stat.S_ISLNK(mode):
            return "link"
        if not slash and not stat.S_ISREG(mode):
            return "special"
        if not slash and not all(s is None or s.match_file(inner) for s in (self._include, only)):
            return "excluded"
        if not is_unicode(name):
            return FileError("bad_name", "has a name that is not UTF-8; rename it").of(path)
        if slash:
            return _Folder(path, inner + slash, step_into(ignores, name))
        return self._file(path, name)

    def _file(self, path: str, name: str) -> _Step:
        kind = kind_of(name)
        if kind is None:
            if extension_of(name) not in self._plain_extensions:
                return "unknown_kind"
            kind = "plain"
        if kind not in PACKED_KINDS:
            try:
                with Path(path).open("rb") as file:
                    if is_binary(file.read(HEAD_BYTES)):
                        return "binary"
            except OSError as error:
                return system_failure(path, error)
        return FoundFile(path, kind, False)


def is_binary(head: bytes) -> bool:
    """Tell whether the first bytes of a file show that it is not UTF-8 text."""
    if b"\0" in head:
        return True
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # a character that is cut by the end of the head is fine
        is_cut = error.reason == "unexpected end of data" and len(head) == HEAD_BYTES
        return not is_cut
    return False


def _folders_of(inner: str) -> list[str]:
    """Return the folders above a path, from the outermost on: `a/`, `a/b/`."""
    return [inner[: i + 1] for i, character in enumerate(inner) if character == "/"]


def _is_folder(root: Root) -> bool:
    return Path(root.path).is_dir()


def _absolute(path: str) -> str:
    return str(Path(path).absolute())
