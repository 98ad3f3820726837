"""Links, pipes and folders of somebody else's in the way of files, and names that look like paths.

What lies outside of the folder of a run is looked at before and after it, to the byte.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.tool import read_rows, write_rows
from tests.reliability.figures import Figure, Shows
from tests.security.tool import Place
from tests.servers.chat import ChatServer

PRECIOUS = b"in_flight=somebody's only copy\n" * 20


def content_of(folder: Path) -> dict[str, bytes | str]:
    """Return what is in a folder: files by their bytes, links by where they lead."""
    return {
        str(path.relative_to(folder)): (
            f"-> {path.readlink()}" if path.is_symlink() else path.read_bytes()
        )
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return the folder of a run, deep enough that it can be left."""
    for folder in ("outside", "a", "a/b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "outside" / "precious").write_bytes(PRECIOUS)
    return Place(tmp_path / "a" / "b" / "c")


def changed(place: Place, before: dict[str, bytes | str]) -> list[str]:
    """Return the files outside of the folder of the runs that are not as they were."""
    top = place.folder.parents[2]
    after = content_of(top)
    within = str(place.folder.relative_to(top)) + "/"
    names = before.keys() | after.keys()
    return [n for n in names if not n.startswith(within) and before.get(n) != after.get(n)]


SIM = ("--model", "sim/m", "-o", "o.jsonl")


async def test_a_link_in_the_way_is_never_written_through(place: Place, shows: Shows) -> None:
    top, here = place.folder.parents[2], place.folder
    precious = top / "outside" / "precious"
    new = top / "outside" / "new"
    place.rows(2)
    before = content_of(top)

    def linked(target: Path, *names: str) -> None:
        for name in names:
            (here / name).unlink(missing_ok=True)
            (here / name).symlink_to(target)

    async def run(*options: object) -> int:
        ended = await place.run("run", "in.jsonl", *SIM, *options, LLMSCALE_CACHE_DIR="cache")
        return ended.returncode

    staged = ("o.jsonl.tmp", "o.jsonl.job.json.tmp", "o.report.json.tmp", "o.report.json")
    linked(precious, *staged)
    linked(new, "o.jsonl", "o.jsonl.partial")
    assert await run() == 0
    links = [path.name for path in here.iterdir() if path.is_symlink()]
    assert links == []
    assert len(read_rows(here / "o.jsonl")) == 2

    linked(precious, "o.jsonl.lock")
    assert await run("--limit", 3) == 5
    (here / "o.jsonl.lock").unlink()

    linked(precious, "o.jsonl")
    (here / "o.jsonl.job.json").unlink()
    assert await run() == 2
    assert await run("--overwrite") == 0
    assert not (here / "o.jsonl").is_symlink()

    linked(precious, "cache/cache.db", "cache/runs.jsonl")
    assert await run("--overwrite") == 0
    assert "can't open the cache" in place.streams[f"stderr {len(place.streams) // 2}"]
    found = changed(place, before)
    assert found == []
    value = f"{len(found)} written through"
    shows(Figure("security", "links in place of files", 10, len(found), value, "0", not found))


async def test_a_cache_that_everybody_may_fill_is_not_believed(
    tmp_path: Path, shows: Shows
) -> None:
    place = Place(tmp_path)
    place.rows(20)
    await place.run("run", "in.jsonl", *SIM, LLMSCALE_CACHE_DIR="cache")
    (tmp_path / "cache").chmod(0o777)
    ended = await place.run("run", "in.jsonl", *SIM, "--overwrite", LLMSCALE_CACHE_DIR="cache")
    assert ended.returncode == 0
    assert "(everybody may write in the folder; chmod o-w makes it yours)" in ended.stderr
    believed = sum(row["cached"] for row in read_rows(tmp_path / "o.jsonl"))
    stats = await place.run("cache", "stats", LLMSCALE_CACHE_DIR="cache")
    assert (stats.returncode, len(stats.stderr.splitlines())) == (5, 1)
    value = f"{believed} answers from it"
    figure = Figure("security", "a cache open to all", 20, believed, value, "0", believed == 0)
    shows(figure)


PATHS = [
    "../../outside/precious",
    "/etc/passwd",
    "../../../../../../../../tmp/llmscale-was-here",
    "~/llmscale-was-here",
    "a/b\0c",
    "o.jsonl",
    ".",
    "..",
    "",
    "x" * 5000,
    "file:///etc/passwd",
    "$(touch was-here)",
    "`touch was-here`",
    "; touch was-here",
    "-o",
    "%2e%2e%2fx",
    "..\\..\\x",
    "\ud7ff\uffff",
    "con:",
]


async def test_ids_and_models_of_rows_never_become_paths(place: Place, shows: Shows) -> None:
    rows: list[dict[str, Any]] = [{"id": name, "prompt": f"id {name!r}"} for name in PATHS]
    rows += [{"id": f"m{n}", "prompt": "p", "model": f"openai/{p}"} for n, p in enumerate(PATHS)]
    rows += [{"id": f"l{n}", "prompt": "p", "model": f"local/{p}"} for n, p in enumerate(PATHS)]
    rows += [{"id": f"u{n}", "prompt": "p", "user": path} for n, path in enumerate(PATHS)]
    write_rows(place.folder / "in.jsonl", rows)
    texts = [{"id": f"t {name}", "text": name or "empty"} for name in PATHS]
    write_rows(place.folder / "texts.jsonl", texts)
    top = place.folder.parents[2]
    before = content_of(top)
    async with ChatServer() as server:
        ended = await place.run(
            *("run", "in.jsonl", "-o", "o.jsonl", "--model", "openai/m"),
            *("--base-url", server.base_url),
        )
        asked = {str(request.body["model"]) for request in server.requests}
        assert {request.path for request in server.requests} == {"/v1/chat/completions"}
    assert asked >= {"../../outside/precious", "/etc/passwd", "-o"}
    answers = read_rows(place.folder / "o.jsonl")
    assert [row["id"] for row in answers[: len(PATHS)]] == PATHS
    assert ended.returncode == 1  # of the local models none is there
    named = {f"l{n}" for n, path in enumerate(PATHS) if path}
    local = [row["error"]["type"] for row in answers if row["id"] in named]
    assert local == ["bad_row"] * len(named)
    await place.run("embed", "texts.jsonl", "-o", "v.jsonl", "--model", "sim/m")
    await place.run("cache", "clear", "--model", "../*", "--yes")
    found = changed(place, before)
    left = sorted(path.name for path in place.folder.iterdir() if path.is_file())
    expected = ["in.jsonl", "o.jsonl", "o.jsonl.job.json", "o.report.json", "texts.jsonl"]
    assert left == [*expected, "v.jsonl", "v.jsonl.job.json", "v.report.json"]
    assert found == []
    value = f"{len(found)} files outside"
    shows(
        Figure("security", "ids, users, models as paths", len(rows), len(found), value, "0", True)
    )


MODELS = ["local/../../etc/passwd", "../x", "local/../x.gguf"]


async def test_a_model_that_is_a_path_is_one_sentence(place: Place) -> None:
    place.rows(1)
    before = content_of(place.folder.parents[2])
    for model in MODELS:
        ended = await place.run("run", "in.jsonl", "--model", model)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
        assert [path.name for path in place.folder.iterdir()] == ["in.jsonl"]
    ended = await place.run("run", "in.jsonl", "--model", "sim/../../x", "--cache", "off")
    assert ended.returncode == 0  # any name is one of a simulation
    assert changed(place, before) == []


async def test_a_name_of_a_file_is_only_a_name(place: Place) -> None:
    """A file of a cloned repository may have any name; the output is in the current folder."""
    hostile = place.folder / "repo" / "-o;$(touch was-here)\x1b]0;x\x07"
    hostile.parent.mkdir()
    hostile.with_name(hostile.name + ".jsonl").write_bytes(b'{"prompt": "hello"}\n')
    name = f"repo/{hostile.name}.jsonl"
    ended = await place.run("run", name, "--model", "sim/m")
    assert ended.returncode == 0, ended.stderr
    assert (place.folder / f"{hostile.name}.results.jsonl").is_file()
    assert not list(place.folder.rglob("was-here"))
