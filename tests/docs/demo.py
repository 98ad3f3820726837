"""Makes the picture of a run in the README: python -m tests.docs.demo.

The commands run on a terminal, and rich draws what that showed at the end. The picture names no
font that would have to be downloaded.
"""

import html
import re
import shutil
import sys
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

from tests.cli.tool import environment, on_a_terminal_of
from tests.servers.chat import ROOT

PICTURE = ROOT / "samples" / "demo.svg"
COLUMNS = 100
COMMANDS = (
    ("run", "samples/prompts.jsonl"),
    ("verify", "samples/prompts.jsonl", "prompts.results.jsonl"),
)
FIELDS = re.compile(r'"usage":\{.*?\},')


def screen(folder: Path, *args: str, **env: str) -> str:
    """Return what a terminal shows when a command has ended, with its colors."""
    code, seen = on_a_terminal_of(COLUMNS, args, folder, environment(TERM="xterm", **env))
    assert code == 0, seen
    lines = seen.replace("\r\n", "\n").split("\n")
    return "\n".join(line.rpartition("\r")[2].rstrip() for line in lines).rstrip("\n")


def session(folder: Path, **env: str) -> str:
    """Return what a terminal shows of all commands, and of the first answer."""
    shutil.copytree(ROOT / "samples", folder / "samples")
    parts = []
    for command in COMMANDS:
        parts += [f"$ llmscale {' '.join(command)}", screen(folder, *command, **env)]
        if command[0] == "run":
            first, _ = (folder / "prompts.results.jsonl").read_text().split("\n", 1)
            parts += ["$ head -n 1 prompts.results.jsonl", FIELDS.sub('"usage":{...},', first)]
    return "\n".join(parts)


def picture(shown: str) -> str:
    """Return an SVG of what a terminal showed."""
    console = Console(record=True, width=COLUMNS, file=StringIO())
    console.print(Text.from_ansi(shown))
    drawn = console.export_svg(title="llmscale", unique_id="demo")
    return re.sub(r"@font-face \{.*?\}\n\s*", "", drawn, flags=re.DOTALL)


def words_of(svg: str) -> str:
    """Return the text of a picture, a line for each line."""
    found = re.findall(r'<text class="demo-r\d+" x="[\d.]+" y="([\d.]+)"[^>]*>(.*?)</text>', svg)
    lines: dict[str, str] = {}
    for y, text in found:
        lines[y] = lines.get(y, "") + " " + html.unescape(text).replace("\xa0", " ")
    return "\n".join(lines.values())


if __name__ == "__main__":
    env = dict(word.split("=", 1) for word in sys.argv[1:])
    with TemporaryDirectory() as folder:
        PICTURE.write_text(picture(session(Path(folder), **env)), encoding="utf-8")
