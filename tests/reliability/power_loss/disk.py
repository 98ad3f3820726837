"""The states that a disk may be left in at a moment of a run.

What was synced is there. Of what came after, a file system may have written any part, in any order:
all of it, nothing, the names without the data, the data without the names, some of either, and the
first part of a write. A file whose name was lost is lost.
"""

import random
from collections.abc import Callable, Sequence

from tests.reliability.power_loss.operations import (
    Link,
    OfFile,
    OfNames,
    Operation,
    Rename,
    Sync,
    SyncFolder,
    Truncate,
    Unlink,
    Write,
)

State = dict[str, bytes]
"""The content of each name."""

Keep = Callable[[OfFile | OfNames], OfFile | OfNames | None]
"""What is left of an operation that was not synced; None: nothing."""


def nothing(_: OfFile | OfNames) -> None:
    """Lose all that was not synced."""


def everything(operation: OfFile | OfNames) -> OfFile | OfNames:
    """Keep all of it: the death of the process alone."""
    return operation


def names(operation: OfFile | OfNames) -> OfFile | OfNames | None:
    """Keep the names and lose the data."""
    return None if isinstance(operation, Write | Truncate) else operation


def data(operation: OfFile | OfNames) -> OfFile | OfNames | None:
    """Keep the data and lose the names."""
    return operation if isinstance(operation, Write | Truncate) else None


def some(seed: int) -> Keep:
    """Keep each with probability one half, and the first part of some writes."""
    rng = random.Random(seed)

    def keep(operation: OfFile | OfNames) -> OfFile | OfNames | None:
        drawn = rng.random()
        if drawn < 0.45:
            return None
        if isinstance(operation, Write) and drawn < 0.6:
            part = operation.data[: rng.randrange(len(operation.data) + 1)]
            return Write(operation.file, operation.offset, part)
        return operation

    return keep


def state_after(done: Sequence[Operation], keep: Keep) -> State:
    """Return what is on the disk after these operations and a power loss."""
    synced = _synced(done)
    files: dict[int, bytearray] = {}
    found: dict[str, int] = {}
    for number, operation in enumerate(done):
        if isinstance(operation, Sync | SyncFolder):
            continue
        left = operation if number in synced else keep(operation)
        if isinstance(left, Write | Truncate):
            _apply(files.setdefault(left.file, bytearray()), left)
        elif left is not None:
            _name(found, left)
    return {name: bytes(files.get(file, b"")) for name, file in found.items()}


def _synced(done: Sequence[Operation]) -> set[int]:
    """Return the numbers of the operations that are on the disk for sure."""
    files, folders, found = set[int](), set[str](), set[int]()
    for number in range(len(done) - 1, -1, -1):
        match done[number]:
            case Sync(file):
                files.add(file)
            case SyncFolder(folder):
                folders.add(folder)
            case Write(file) | Truncate(file):
                if file in files:
                    found.add(number)
            case Link(folder) | Rename(folder) | Unlink(folder):
                if folder in folders:
                    found.add(number)
    return found


def _apply(content: bytearray, operation: OfFile) -> None:
    if isinstance(operation, Truncate):
        del content[operation.size :]
        content.extend(bytes(operation.size - len(content)))
        return
    if not operation.data:
        return
    end = operation.offset + len(operation.data)
    content.extend(bytes(max(0, operation.offset - len(content))))  # a hole is zeros
    content[operation.offset : end] = operation.data


def _name(found: dict[str, int], operation: OfNames) -> None:
    match operation:
        case Link(_, name, file):
            found[name] = file
        case Rename(_, name, to) if name in found:
            found[to] = found.pop(name)
        case Unlink(_, name):
            found.pop(name, None)
