"""The file operations of a run, as strace saw them."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.cli.tool import environment
from tests.reliability.power_loss.operations import (
    Link,
    Operation,
    Rename,
    Sync,
    SyncFolder,
    Truncate,
    Unlink,
    Write,
)
from tests.servers.chat import ROOT

TRACED = (
    "openat,close,write,pwrite64,writev,lseek,ftruncate,fsync,fdatasync,rename,renameat,renameat2,"
    "unlink,unlinkat,mkdir,mkdirat"
)
_LINE = re.compile(r"^(\d+) +(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_NEVER_THERE = ("-shm", ".lock")  # mapped: what is in them after a power loss is nobody's promise


def traced(command: Iterable[str], folder: Path) -> list[Operation]:
    """Run the tool under strace in a folder; return what it did to files there."""
    trace = folder.parent / f"{folder.name}.trace"
    strace = ["strace", "-f", "-xx", "-s", "10000000", "-o", str(trace), "-e", f"trace={TRACED}"]
    subprocess.run(
        [*strace, sys.executable, "-m", "llmscale", *command],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    with trace.open(encoding="ascii") as lines:
        return list(Reader(folder).operations(lines))


class Reader:
    """Follows descriptors to files, and files to names."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._open: dict[int, tuple[int, bool]] = {}  # descriptor: file, and whether it appends
        self._places: dict[int, int] = {}  # of descriptors that do not append
        self._folders: dict[int, str] = {}
        self._files: dict[str, int] = {}  # by name
        self._sizes: dict[int, int] = {}
        self._next = 0

    def operations(self, lines: Iterable[str]) -> Iterator[Operation]:
        """Yield operations on files of the folder, in the order in which they ended."""
        for name, arguments, result in calls_in(lines):
            if result >= 0:
                yield from self._read(name, arguments, result)

    def _read(self, name: str, arguments: str, result: int) -> Iterator[Operation]:
        texts = [bytes.fromhex(t.replace("\\x", "")) for t in _TEXT.findall(arguments)]
        first = arguments.partition(",")[0]
        if name == "openat":
            yield from self._opened(texts[0], arguments, result)
        elif name.startswith("rename"):
            source, target = (self._path(text) for text in texts[:2])
            if source in self._files:
                self._files[target] = self._files.pop(source)
                yield Rename(str(Path(target).parent), source, target)
        elif name.startswith("unlink"):
            path = self._path(texts[0])
            if self._files.pop(path, None) is not None:
                yield Unlink(str(Path(path).parent), path)
        elif first.isdecimal():
            yield from self._on_descriptor(name, int(first), arguments, texts, result)

    def _on_descriptor(
        self, name: str, descriptor: int, arguments: str, texts: list[bytes], result: int
    ) -> Iterator[Operation]:
        if name in ("fsync", "fdatasync") and descriptor in self._folders:
            yield SyncFolder(self._folders[descriptor])
        if descriptor not in self._open:
            if name == "close":
                self._folders.pop(descriptor, None)
            return
        file, appends = self._open[descriptor]
        if name == "close":
            del self._open[descriptor]
        elif name in ("fsync", "fdatasync"):
            yield Sync(file)
        elif name == "ftruncate":
            size = int(arguments.rpartition(",")[2])
            self._sizes[file] = size
            yield Truncate(file, size)
        elif name == "lseek":
            self._places[descriptor] = result
        elif name in ("write", "writev", "pwrite64"):
            data = b"".join(texts)[:result]
            if name == "pwrite64":
                offset = int(arguments.rpartition(",")[2])
            else:
                offset = self._sizes[file] if appends else self._places.get(descriptor, 0)
                self._places[descriptor] = offset + len(data)
            self._sizes[file] = max(self._sizes[file], offset + len(data))
            yield Write(file, offset, data)

    def _opened(self, text: bytes, arguments: str, descriptor: int) -> Iterator[Operation]:
        path = self._path(text)
        self._open.pop(descriptor, None)
        self._folders.pop(descriptor, None)
        self._places[descriptor] = 0
        if not path.startswith(self._folder) or path.endswith(_NEVER_THERE):
            return
        if "O_DIRECTORY" in arguments or Path(path).is_dir():
            self._folders[descriptor] = path
            return
        if path not in self._files:
            if "O_CREAT" not in arguments:
                return
            self._files[path] = self._next
            self._sizes[self._next] = 0
            yield Link(str(Path(path).parent), path, self._next)
            self._next += 1
        file = self._files[path]
        self._open[descriptor] = (file, "O_APPEND" in arguments)
        if "O_TRUNC" in arguments and self._sizes[file]:
            self._sizes[file] = 0
            yield Truncate(file, 0)

    def _path(self, text: bytes) -> str:
        return str(Path(self._folder, text.decode()))


def calls_in(lines: Iterable[str]) -> Iterator[tuple[str, str, int]]:
    """Yield name, arguments and result of each call, joined where another came in between."""
    begun: dict[str, str] = {}
    for line in lines:
        found = _LINE.match(line.rstrip("\n"))
        if found is None:
            continue
        process, rest = found.groups()
        if rest.endswith("<unfinished ...>"):
            begun[process] = rest.removesuffix("<unfinished ...>").rstrip()
            continue
        if rest.startswith("<... "):
            rest = begun.pop(process, "") + rest.partition(" resumed>")[2]
        call = _CALL.match(rest)
        if call is not None:
            yield call[1], call[2], int(call[3])
