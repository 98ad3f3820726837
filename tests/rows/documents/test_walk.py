"""Which files some paths stand for, in a stable order, each once; what is left out is counted."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.core.errors import ConfigError
from llmscale.rows.documents import FileFailure, FoundFile, Walk
from llmscale.rows.documents.walk import HEAD_BYTES, is_binary
from tests.platforms import needs_raw_names
from tests.rows.documents.tree import failures, sources, write


def test_a_folder_is_walked_to_its_end_in_the_order_of_names(folder: Path) -> None:
    write(folder, "docs/b.md", "docs/a/z.txt", "docs/a/a/x.py", "docs/c.rst", "docs/B.md")
    walk = Walk(["docs/"])
    expected = ["docs/B.md", "docs/a/a/x.py", "docs/a/z.txt", "docs/b.md", "docs/c.rst"]
    assert sources(walk) == expected
    assert sources(walk) == expected, "a walk can be gone through again"
    assert walk.skipped == {}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("docs", "docs/a.md"),
        ("docs/", "docs/a.md"),
        ("./docs//", "docs/a.md"),
        ("docs/a.md", "docs/a.md"),
        ("docs/sub/..", "docs/sub/../a.md"),
        ("*/a.md", "docs/a.md"),
    ],
)
def test_a_source_is_the_path_as_it_was_given(folder: Path, path: str, expected: str) -> None:
    write(folder, "docs/a.md")
    (folder / "docs" / "sub").mkdir()
    assert sources(Walk([path])) == [expected]


def test_the_working_folder_and_an_absolute_one_can_be_given(folder: Path) -> None:
    write(folder, "a.md", "sub/b.md")
    assert sources(Walk(["."])) == ["a.md", "sub/b.md"]
    assert sources(Walk([str(folder)])) == [f"{folder}/a.md", f"{folder}/sub/b.md"]


def test_what_is_not_there_ends_the_job(folder: Path) -> None:
    for path in ("nowhere", "nowhere/", "*.md", "x/**/y", "a" * 5000, "a\0b", ""):
        with pytest.raises(ConfigError, match="there is no file or folder"):
            Walk([path])
    with pytest.raises(ConfigError, match="not UTF-8; rename it"):
        Walk(["\udce9.txt"])


def test_each_file_comes_once_however_often_it_is_given(folder: Path) -> None:
    write(folder, "docs/a.md", "docs/sub/b.md", "docs/sub/c.md")
    assert sources(Walk(["docs/sub", "docs", "docs/sub/c.md", "./docs"])) == [
        "docs/sub/b.md",
        "docs/a.md",
        "docs/sub/c.md",
    ]
    assert sources(Walk(["docs/a.md", "docs/*.md", str(folder / "docs/a.md")])) == ["docs/a.md"]


def test_hidden_entries_are_skipped_and_counted_one_each(folder: Path) -> None:
    write(folder, "docs/a.md", "docs/.b.md", "docs/.hidden/c.md", "docs/.hidden/d.md")
    walk = Walk(["docs"])
    assert sources(walk) == ["docs/a.md"]
    assert walk.skipped == {"hidden": 2}


def test_a_hidden_folder_that_is_named_is_walked(folder: Path) -> None:
    write(folder, ".notes/a.md", ".notes/.b.md")
    assert sources(Walk([".notes"])) == [".notes/a.md"]


def test_a_named_file_is_taken_even_if_hidden_ignored_excluded_or_of_unknown_kind(
    folder: Path,
) -> None:
    write(folder, "docs/.a.md", "docs/b.log", "docs/c.unknown", "docs/d.md")
    write(folder, "docs/.gitignore", text="*.log\n")
    names = ["docs/.a.md", "docs/b.log", "docs/c.unknown", "docs/d.md"]
    walk = Walk(names, exclude=["*"])
    assert list(walk) == [
        FoundFile("docs/.a.md", "markdown", True),
        FoundFile("docs/b.log", "plain", True),
        FoundFile("docs/c.unknown", "plain", True),
        FoundFile("docs/d.md", "markdown", True),
    ]
    assert walk.skipped == {}


def test_a_file_that_a_glob_finds_is_filtered_like_one_in_a_folder(folder: Path) -> None:
    write(folder, "docs/a.md", "docs/b.bin", "docs/c.md", "docs/sub/d.md", "docs/sub/e.md")
    write(folder, "docs/.gitignore", text="c.md\n/sub/e.md\n")
    walk = Walk(["docs/*"])
    assert sources(walk) == ["docs/a.md", "docs/sub/d.md"]
    assert walk.skipped == {"ignored": 2, "unknown_kind": 1}
    walk = Walk(["docs/*"], exclude=["sub/"])
    assert sources(walk) == ["docs/a.md"]
    assert walk.skipped == {"ignored": 1, "unknown_kind": 1, "excluded": 1}


def test_two_stars_in_a_glob_reach_any_depth(folder: Path) -> None:
    write(folder, "docs/a.md", "docs/x/b.md", "docs/x/y/c.md", "docs/x/y/d.txt", "other/e.md")
    assert sources(Walk(["docs/**/*.md"])) == ["docs/a.md", "docs/x/b.md", "docs/x/y/c.md"]
    assert sources(Walk(["docs/**/y/*"])) == ["docs/x/y/c.md", "docs/x/y/d.txt"]
    assert sources(Walk(["d*/**"])) == sources(Walk(["docs"]))
    assert sources(Walk(["**/e.md"])) == ["other/e.md"]


def test_a_name_that_looks_like_a_glob_is_a_name_where_it_is_there(folder: Path) -> None:
    write(folder, "[a].md", "a.md")
    assert sources(Walk(["[a].md"])) == ["[a].md"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["*.md"], [], ["a.md", "guides/b.md", "guides/old/c.md"]),
        (["/*.md"], [], ["a.md"]),
        (["guides/"], [], ["guides/b.md", "guides/old/c.md", "guides/old/d.txt"]),
        (["guides/*.md"], [], ["guides/b.md"]),
        (["guides/**/*.md"], [], ["guides/b.md", "guides/old/c.md"]),
        (["*.md", "*.txt"], ["old/"], ["a.md", "guides/b.md"]),
        ([], ["/guides/"], ["a.md"]),
        ([], ["*.md", "!a.md"], ["a.md", "guides/old/d.txt"]),
        (["*.md"], ["*.md"], []),
    ],
)
def test_patterns_mean_what_they_mean_in_a_gitignore_at_the_given_folder(
    folder: Path, include: list[str], exclude: list[str], expected: list[str]
) -> None:
    write(folder, "docs/a.md", "docs/guides/b.md", "docs/guides/old/c.md", "docs/guides/old/d.txt")
    walk = Walk(["docs"], include=include, exclude=exclude)
    assert sources(walk) == [f"docs/{name}" for name in expected]
    assert walk.skipped["excluded"] > 0


def test_an_included_extension_makes_an_unknown_kind_plain_text(folder: Path) -> None:
    write(folder, "docs/a.csv", "docs/b.CSV", "docs/c.json")
    walk = Walk(["docs"], include=["*.csv", "*.CSV"])
    assert list(walk) == [
        FoundFile("docs/a.csv", "plain", False),
        FoundFile("docs/b.CSV", "plain", False),
    ]
    assert walk.skipped == {"excluded": 1}


@pytest.mark.parametrize("pattern", ["", "!", "[z-a]", "# a", "a\\"])
def test_a_pattern_that_is_none_is_refused_with_its_flag(folder: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"--include: invalid pattern"):
        Walk(["."], include=[pattern])
    with pytest.raises(ConfigError, match=r"--exclude: invalid pattern"):
        Walk(["."], exclude=[pattern])


def test_links_are_never_followed_inside_of_a_folder(folder: Path) -> None:
    write(folder, "secret/key.txt", "docs/a.md")
    (folder / "docs" / "round").symlink_to(".")
    (folder / "docs" / "out").symlink_to(folder / "secret")
    (folder / "docs" / "key.txt").symlink_to(folder / "secret" / "key.txt")
    (folder / "docs" / "broken.md").symlink_to("nowhere")
    for path in ("docs", "docs/*", "docs/**"):
        walk = Walk([path])
        assert sources(walk) == ["docs/a.md"]
        assert walk.skipped == {"link": 4}


def test_a_link_that_is_named_is_followed(folder: Path) -> None:
    write(folder, "real/a.md")
    (folder / "docs").symlink_to("real")
    (folder / "b.md").symlink_to("real/a.md")
    assert sources(Walk(["docs", "b.md"])) == ["docs/a.md", "b.md"]


def test_pipes_are_skipped_and_never_opened(folder: Path) -> None:
    write(folder, "docs/a.md")
    os.mkfifo(folder / "docs" / "pipe.md")
    walk = Walk(["docs"])
    assert sources(walk) == ["docs/a.md"]
    assert walk.skipped == {"special": 1}


def test_binary_files_and_those_of_unknown_kind_are_skipped_and_counted(folder: Path) -> None:
    write(folder, "docs/a.md", "docs/b.xyz", "docs/c.json", "docs/noextension")
    (folder / "docs" / "nul.txt").write_bytes(b"a\0b")
    (folder / "docs" / "latin1.txt").write_bytes("café".encode("latin-1"))
    (folder / "docs" / "packed.pdf").write_bytes(b"%PDF\0\xff")
    walk = Walk(["docs"])
    assert sources(walk) == ["docs/a.md", "docs/packed.pdf"]
    assert walk.skipped == {"unknown_kind": 3, "binary": 2}


@given(st.text(alphabet="aé€👩", min_size=1, max_size=9))
def test_a_character_cut_by_the_end_of_the_head_does_not_make_a_file_binary(text: str) -> None:
    assert not is_binary((text * HEAD_BYTES).encode()[:HEAD_BYTES])


@pytest.mark.parametrize("head", [b"\0", b"a\xff", b"caf\xc3", b"\xed\xa0\x80", b"\xff\xfea\0"])
def test_a_head_that_is_not_utf8_is_binary(head: bytes) -> None:
    assert is_binary(head)


@needs_raw_names
def test_a_name_that_is_not_utf8_is_a_failure_that_can_be_printed(folder: Path) -> None:
    write(folder, "docs/a.md")
    Path(os.fsdecode(b"docs/caf\xe9.md")).write_text("x")
    Path(os.fsdecode(b"docs/d\xe9")).mkdir()
    Path(os.fsdecode(b"docs/d\xe9/b.md")).write_text("x")
    found = list(Walk(["docs"]))
    assert [step.source for step in found] == ["docs/a.md", r"docs/caf\xe9.md", r"docs/d\xe9"]
    told = [step.message for step in found if isinstance(step, FileFailure)]
    assert told[0] == r"docs/caf\xe9.md has a name that is not UTF-8; rename it"
    assert all(message.encode() for message in told)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_what_cannot_be_read_is_a_failure_with_its_reason(folder: Path) -> None:
    write(folder, "docs/a.md", "docs/b.md", "docs/sub/c.md")
    (folder / "docs" / "a.md").chmod(0)
    (folder / "docs" / "sub").chmod(0)
    try:
        walk = Walk(["docs"])
        assert failures(walk) == {"docs/a.md": "unreadable", "docs/sub": "unreadable"}
    finally:
        (folder / "docs" / "sub").chmod(0o700)


def test_a_folder_that_goes_away_is_a_failure(folder: Path) -> None:
    write(folder, "docs/a/x.md", "docs/b/y.md", "docs/c.md")
    walk = iter(Walk(["docs"]))
    first = next(walk)
    shutil.rmtree(folder / "docs" / "b")
    rest = list(walk)
    assert isinstance(first, FoundFile)
    told = [step.message for step in rest if isinstance(step, FileFailure)]
    assert told == ["docs/b can't be read: No such file or directory"]
    assert rest[-1] == FoundFile("docs/c.md", "markdown", False)


def test_folders_nested_deeper_than_the_stack_are_walked(folder: Path) -> None:
    depth = 400
    (folder / "/".join(["d"] * depth)).mkdir(parents=True)
    write(folder, "/".join(["d"] * depth) + "/a.md")
    assert len(sources(Walk(["d"]))) == 1


def test_the_count_is_of_the_last_time(folder: Path) -> None:
    write(folder, "docs/.a.md", "docs/b.md")
    walk = Walk(["docs"])
    for _ in range(2):
        list(walk)
        assert walk.skipped == Counter(hidden=1)
