"""What strace prints is read as operations on the right files."""

from pathlib import Path

from tests.reliability.power_loss.operations import Link, Rename, Sync, SyncFolder, Write
from tests.reliability.power_loss.trace import Reader


def hexed(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def test_descriptors_are_followed_to_files_and_files_to_names(tmp_path: Path) -> None:
    lines = [
        f'7 openat(AT_FDCWD, "{hexed("a")}", O_RDWR|O_CREAT|O_APPEND, 0600) = 3',
        f'7 write(3, "{hexed("one")}", 3 <unfinished ...>',
        f'8 openat(AT_FDCWD, "{hexed("/elsewhere")}", O_RDWR|O_CREAT, 0600) = 4',
        "7 <... write resumed>) = 3",
        f'7 write(4, "{hexed("no")}", 2) = 2',
        f'7 write(3, "{hexed("two")}", 3) = 3',
        "7 fsync(3) = 0",
        "7 close(3) = 0",
        f'7 rename("{hexed("a")}", "{hexed("b")}") = 0',
        f'7 openat(AT_FDCWD, "{hexed(".")}", O_RDONLY|O_DIRECTORY) = 3',
        "7 fsync(3) = 0",
        f'7 rename("{hexed("c")}", "{hexed("d")}") = -1 ENOENT (No such file or directory)',
    ]
    folder, a, b = str(tmp_path), str(tmp_path / "a"), str(tmp_path / "b")
    assert list(Reader(tmp_path).operations(lines)) == [
        Link(folder, a, 0),
        Write(0, 0, b"one"),
        Write(0, 3, b"two"),
        Sync(0),
        Rename(folder, a, b),
        SyncFolder(folder),
    ]
