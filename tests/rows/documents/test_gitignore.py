"""What `.gitignore` files say is done as git does it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.rows.documents import FileFailure, FoundFile, Walk
from llmscale.rows.documents.gitignore import MAX_IGNORE_FILE_BYTES
from tests.rows.documents.tree import failures, sources, write


def test_gitignore_files_count_in_their_folder_and_below_even_outside_a_repository(
    folder: Path,
) -> None:
    write(folder, ".gitignore", text="*.md\n")
    write(folder, "docs/.gitignore", text="build/\n*.txt\r\n[z-a]\n!keep.txt\n")
    write(folder, "docs/sub/.gitignore", text="\ufeff/own.md\n!b.txt\n")
    write(folder, "docs/a.md", "docs/a.txt", "docs/keep.txt", "docs/build/x.md", "docs/build/y.md")
    write(folder, "docs/sub/b.txt", "docs/sub/c.txt", "docs/sub/own.md", "docs/sub/s/own.md")
    walk = Walk(["docs"])
    assert sources(walk) == ["docs/a.md", "docs/keep.txt", "docs/sub/b.txt", "docs/sub/s/own.md"]
    assert walk.skipped == {"ignored": 4, "hidden": 2}


def test_gitignore_files_above_count_up_to_the_root_of_the_repository(folder: Path) -> None:
    write(folder, ".gitignore", text="*\n")
    write(folder, "repo/.git/HEAD")
    write(folder, "repo/.gitignore", text="*.txt\n/docs/sub/secret.md\n")
    write(folder, "repo/docs/.gitignore", text="!keep.txt\n")
    write(folder, "repo/docs/sub/a.md", "repo/docs/sub/a.txt", "repo/docs/sub/keep.txt")
    write(folder, "repo/docs/sub/secret.md")
    assert sources(Walk(["repo/docs/sub"])) == ["repo/docs/sub/a.md", "repo/docs/sub/keep.txt"]


def test_an_ignored_folder_that_is_named_is_walked_under_the_other_patterns(folder: Path) -> None:
    (folder / ".git").mkdir()
    write(folder, ".gitignore", text="build/\n*.txt\n")
    write(folder, "build/a.md", "build/b.txt", "build/sub/c.md")
    assert sources(Walk(["build"])) == ["build/a.md", "build/sub/c.md"]
    assert sources(Walk(["build/sub"])) == ["build/sub/c.md"]
    assert sources(Walk(["."])) == []


def test_a_list_of_exceptions_holds_in_the_folders_below_it(folder: Path) -> None:
    (folder / ".git").mkdir()
    write(folder, ".gitignore", text="*\n!*/\n!*.md\n")
    write(folder, "docs/a.md", "docs/a.txt", "docs/sub/b.md", "docs/sub/b.txt")
    assert sources(Walk(["docs"])) == ["docs/a.md", "docs/sub/b.md"]


NAMES = st.sampled_from(["a", "b", "build", "doc"])
PARTS = st.sampled_from(["a", "b", "build", "doc", "*", "**", "d*", "*.md", "?.txt", "[ab]*"])
PATTERN = st.builds(
    lambda before, parts, after: f"{before}{'/'.join(parts)}{after}",
    st.sampled_from(["", "/", "!", "!/"]),
    st.lists(PARTS, min_size=1, max_size=3),
    st.sampled_from(["", "", "/", ".md"]),
)
TREE = st.lists(
    st.tuples(st.lists(NAMES, max_size=3), NAMES, st.sampled_from([".md", ".txt"])),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty one, for trees elsewhere."""
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", "--template=", str(folder)], check=True)
    return folder / ".git"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the judge")
@given(TREE, st.lists(PATTERN, max_size=5), st.lists(PATTERN, max_size=3))
def test_what_git_would_add_is_what_is_walked(
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
    tree: list[tuple[list[str], str, str]],
    outer: list[str],
    inner: list[str],
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    of_tree = ["--git-dir", str(repository), "--work-tree", str(folder)]
    git = ["git", "-c", "core.excludesFile=/dev/null", "-C", str(folder), *of_tree]
    for folders, name, extension in tree:
        write(folder, "/".join([*folders, name + extension]))
    write(folder, ".gitignore", text="\n".join(outer))
    if (folder / "doc").is_dir():
        write(folder, "doc/.gitignore", text="\n".join(inner))
    listing = [*git, "ls-files", "-z", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split("\0")
    expected = {name for name in listed if name and not Path(name).name.startswith(".")}
    assert {os.path.relpath(source, folder) for source in sources(Walk([str(folder)]))} == expected


def test_a_folder_whose_gitignore_cannot_be_used_is_left_out_as_a_failure(folder: Path) -> None:
    write(folder, "docs/a.md", "docs/sub/b.md", "docs/sub/c/d.md")
    write(folder, "docs/sub/.gitignore", text="#" * (MAX_IGNORE_FILE_BYTES + 1))
    walk = Walk(["docs"])
    found, failure = list(walk)
    assert isinstance(failure, FileFailure)
    assert (failure.source, failure.reason) == ("docs/sub", "too_large")
    assert failure.message == "docs/sub is skipped because its .gitignore is over 1 MB"
    assert isinstance(found, FoundFile)
    assert failures(Walk(["docs/sub"])) == {"docs/sub": "too_large"}
    assert failures(Walk(["docs/sub/*"])) == {
        "docs/sub/b.md": "too_large",
        "docs/sub/c": "too_large",
    }
