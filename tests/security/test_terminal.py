"""What a model, a server, a row or a file says can't steer the terminal on which it is shown.

Everything is hostile here, and every command that shows some of it runs on a terminal of its own.
"""

import asyncio
import re
from pathlib import Path

import orjson
import pytest

from tests.cli.tool import on_a_terminal, write_rows
from tests.reliability.figures import Figure, Shows
from tests.security.tool import CACHED, Place, to
from tests.servers.chat import ChatServer, Step

HOSTILE = (
    "SEEN\x1b]52;c;aGVsbG8=\x07"  # fills the clipboard
    "\x1b]0;title\x1b\\\x1b[2J\x1b[8m\x1b[6n"  # clears, hides, asks for an answer
    "\x9b2J\x90q\x9c\x9d0;x\x9c\x85"  # the same in one character each
    "\x08\x08\r\n12:00:00 error: forged\x7f\x00"
    "\u202egnp.exe\u2066\u2069\u200b\u200e\ufeff\u2028\U000e0041"  # reorders, hides
    "[/b][bold red][link=file:///etc/passwd]x[/link] :boom: [/]%s {x} \\"
)
NAME = "name\x1b]0;x\x07\x9b2J\u202e[red]"  # of a file: no slash, no NUL

OURS = re.compile(r"\x1b\[(?:[01]|3\d|1;3\d)?(?:;\d+)?m|\x1b\[A|\r|\n")
"""What rich and tqdm steer with: colours, bold, a line up, a new line."""

STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0041]"
)


def hostile_answer(text: str) -> Step:
    message = {"role": "assistant", "content": text}
    return Step(body={"model": HOSTILE, "choices": [{"message": message}]})


STEPS = [
    hostile_answer(HOSTILE),
    Step(status=400, body={"error": {"message": HOSTILE, "type": HOSTILE, "code": HOSTILE}}),
    Step(status=500, body=HOSTILE.encode()),
    Step(body={"error": {"message": HOSTILE}}),
    Step(headers={"SEEN \x9b2J": "x"}),
    hostile_answer(HOSTILE),
]
FAILING = 3  # of the steps, with the text in their message
ROWS = [
    *({"id": f"{n} {HOSTILE}", "prompt": f"{n}", "user": HOSTILE} for n in range(len(STEPS) - 1)),
    {"id": "bare model", "prompt": "p", "model": HOSTILE},
    {"id": "no model", "prompt": "p", "model": f"local/{HOSTILE}"},
    {"id": "no prompt", "prompt": 5, HOSTILE: 1},
]
RUN = ("run", f"{NAME}.jsonl", "--model", "sim/m")

COMMANDS: dict[str, tuple[object, ...]] = {
    "dry run": (*RUN, "--dry-run"),
    "run": (*RUN, "--verbose"),
    "run to the terminal": (*RUN, "-o", "-"),
    "verify": ("verify", f"{NAME}.jsonl", "other.jsonl"),
    "limits": ("limits", f"{NAME}.jsonl", "--config", "hostile.toml"),
    "limits as JSON": ("limits", f"{NAME}.jsonl", "--config", "hostile.toml", "--json"),
    "search": ("search", "query", "v.jsonl", "--model", "sim/m"),
    "search as JSON": ("search", "query", "v.jsonl", "--model", "sim/m", "--json"),
    "explain": ("cache", "explain", orjson.dumps({"prompt": "p"}).decode(), "--model", "sim/SEEN"),
    "stats": ("cache", "stats"),
    "stats as JSON": ("cache", "stats", "--json"),
    "no such file": ("run", f"SEEN{NAME}"),
}
"""Each shows `SEEN` and what comes behind it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with rows, vectors and settings that are hostile throughout."""
    folder = tmp_path_factory.mktemp("terminal")
    write_rows(folder / f"{NAME}.jsonl", ROWS)
    write_rows(folder / "other.jsonl", [{"id": HOSTILE, "index": 7, "output": HOSTILE}])
    chunk = {"text": HOSTILE, "vector": [1.0, 0.5], "model": "sim/m"}
    chunks = [chunk | {"index": n, "source": s} for n, s in enumerate((HOSTILE, None))]
    write_rows(folder / "v.jsonl", [chunk | {"id": HOSTILE} for chunk in chunks])
    model = orjson.dumps(f"sim/{HOSTILE}").replace(b"\x7f", b"\\u007f").decode()
    settings = f"[[endpoint]]\nmodel = {model}\nrpm = 600\n[limits.user]\nrpm = 60\n"
    (folder / "hostile.toml").write_text(settings, encoding="utf-8")
    return folder


async def test_nothing_that_is_shown_steers_the_terminal(folder: Path, shows: Shows) -> None:
    async def shown(*args: object) -> str:
        env = CACHED | {"XDG_CACHE_HOME": str(folder / "caches")}
        code, seen = await asyncio.to_thread(on_a_terminal, *args, cwd=folder, **env)
        assert code in (0, 1, 2), seen
        assert "Traceback" not in seen
        return seen

    all_seen = {}
    async with ChatServer() as server:
        server.script(STEPS)
        where = (f"{NAME}.jsonl", "-o", f"SEEN{NAME}", *to(server.base_url))
        all_seen["faults"] = await shown("run", *where, "--verbose")
        assert len(server.requests) == len(STEPS)
    assert len(re.findall("row . failed: .*SEEN", all_seen["faults"])) == FAILING
    for name, args in COMMANDS.items():
        all_seen[name] = await shown(*args)
    assert [name for name, seen in all_seen.items() if "SEEN" not in seen] == []
    steering = {name: STEERING.findall(OURS.sub("", seen)) for name, seen in all_seen.items()}
    let_through = {name: found for name, found in steering.items() if found}
    assert let_through == {}
    assert not [
        n for n, seen in all_seen.items() if re.search("^12:00:00 error", seen, re.MULTILINE)
    ]
    bad = len(let_through)
    what = f"hostile text on a terminal, {len(all_seen)} runs"
    lines = sum(len(seen.splitlines()) for seen in all_seen.values())
    value = f"{lines} lines shown, {bad} steer"
    shows(Figure("security", what, lines, bad, value, "0", bad == 0))


async def test_a_log_in_json_is_json_line_by_line(tmp_path: Path, shows: Shows) -> None:
    place = Place(tmp_path)
    write_rows(tmp_path / f"{NAME}.jsonl", ROWS)
    async with ChatServer() as server:
        server.script(STEPS)
        ended = await place.run(
            *("run", f"{NAME}.jsonl", "-o", f"SEEN{NAME}", "--log-format", "json", "--verbose"),
            *to(server.base_url),
        )
    entries = [orjson.loads(line) for line in ended.stderr.splitlines()]
    assert sum("SEEN" in entry["message"] for entry in entries) > FAILING
    assert all(entry.keys() == {"time", "level", "message"} for entry in entries)
    left = STEERING.findall(ended.stderr.replace("\n", ""))
    value = f"{len(entries)} lines of JSON, {len(left)} let through"
    shows(
        Figure(
            "security", "hostile text in a JSON log", len(entries), len(left), value, "0", not left
        )
    )
