"""Every command of README and manual runs, and shows what the page says that it shows.

The commands are run from top to bottom in one folder, as a reader would. The local chat model is
replaced by a simulated one through the environment, and hosted models by a server on loopback.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import orjson
import pytest

from tests.cli.forked import next_server
from tests.cli.tool import Run, environment, read_rows
from tests.docs import demo, pages
from tests.docs.pages import Command
from tests.servers.chat import ROOT, chat_process
from tests.servers.embeddings import embedding_process

COMMANDS = pages.commands()
MODULES = pages.modules()

PRICES = '[[price]]\nmodel = "openai/gpt-4.1-mini"\ninput = 0.4\noutput = 1.6\n'
"""Prices of a hosted model at the address on loopback."""


def name_of(command: Command) -> str:
    return f"{command.page}: {command.line}"


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def as_tested(line: str, chat_url: str, embeddings_url: str) -> str:
    """Return a command with the server on loopback in place of a hosted one."""
    words = shlex.split(line)
    if words[1] == "mock":
        return line.replace(words[words.index("--port") + 1], str(free_port()))
    if "--json-schema" in words:  # by the local model
        return f"{line} --limit 2"
    model = words[words.index("-m") + 1] if "-m" in words else ""
    if not model.startswith(("openai/", "anthropic/")) or words[1] == "estimate":
        return line
    base_url = embeddings_url if words[1] == "embed" else chat_url
    if "--base-url" in words:
        return line.replace(words[words.index("--base-url") + 1], base_url)
    return f"{line} --base-url {base_url}"


def run_in_shell(line: str, folder: Path, env: Mapping[str, str]) -> Run:
    """Run several commands of one line."""
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_line(line: str, folder: Path, env: Mapping[str, str]) -> Run:
    """Run one command by a fork, with its redirections."""
    words = shlex.split(line)
    stdin: int | IO[bytes] = subprocess.DEVNULL
    stdout: int | IO[bytes] = subprocess.PIPE
    while words[-2] in ("<", ">", ">>"):
        *words, sign, name = words
        path = folder / name.replace("~", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        if sign == "<":
            stdin = path.open("rb")
        else:
            stdout = path.open("ab" if sign == ">>" else "wb")
    streams = [one if isinstance(one, int) else one.fileno() for one in (stdin, stdout)]
    process = next_server().start(words, folder, env, (*streams, subprocess.PIPE))
    said, errors = process.communicate(timeout=60)
    for stream in (stdin, stdout):
        if not isinstance(stream, int):
            stream.close()
    return subprocess.CompletedProcess(words, process.wait(), said, errors)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> dict[Command, Run]:
    """Follow all pages from top to bottom; return how each command has ended."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "samples", folder / "samples")
    (folder / "llmscale.toml").write_text(PRICES)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = environment(
        XDG_CACHE_HOME=str(folder / "cache"),
        LLMSCALE_CACHE_MODE="on",
        COLUMNS="100",
    )
    followed = {}
    with (
        chat_process() as chat_url,
        embedding_process() as embeddings_url,
        ThreadPoolExecutor() as aside,
    ):
        lines = {one: as_tested(one.line, chat_url, embeddings_url) for one in COMMANDS}
        in_shell = {
            one: aside.submit(run_in_shell, line, folder, env | {"PATH": path})
            for one, line in lines.items()
            if "&" in line
        }
        for command, line in lines.items():
            if command in in_shell:
                followed[command] = in_shell[command].result()
            else:
                simulated = {} if "--json-schema" in line else {"LLMSCALE_MODEL": "sim/reader"}
                followed[command] = run_line(line, folder, env | simulated)
    return followed


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_the_command_runs(command: Command, followed: dict[Command, Run]) -> None:
    assert followed[command].returncode == 0, followed[command].stderr


def shape(shown: str) -> list[str]:
    """Return the words of what a terminal showed, without what differs from run to run."""
    clock = r"\d{4}-\d\d-\d\dT|\d\d:\d\d:\d\d "
    bottleneck = rf"\d+ % of the (time|wall) .*?(?={clock})"  # another one, or none
    shown = re.sub(bottleneck, "", shown, flags=re.DOTALL)
    shown = re.sub(r"\d+ answers cut at max_tokens.*\n|, \d+ cut at max_tokens", "", shown)
    shown = re.sub(r"\[\d[^,]*<[^,]*,", "[TIME,", shown)
    shown = re.sub(r"\S*(row/s|s/row)", "RATE", shown)
    shown = re.sub(r"(local|sim)/\S+", "MODEL", shown)
    shown = re.sub(r"[█▏▎▍▌▋▊▉]+ *\|| +\|", " ", shown)
    shown = re.sub(r"\$?\d[\d.,:]*", "#", shown)
    return [" ".join(line.split()) for line in shown.strip().splitlines()]


SHOWN = [command for command in COMMANDS if command.output is not None]


@pytest.mark.parametrize("command", SHOWN, ids=name_of)
def test_the_page_shows_what_the_command_shows(
    command: Command, followed: dict[Command, Run]
) -> None:
    assert command.output is not None
    told = command.output.strip()
    ended = followed[command]
    lines = shape(ended.stdout + ended.stderr)
    for line, expected in zip(lines, shape(told), strict=True):
        assert line.startswith(expected.removesuffix(" ..."))


@pytest.mark.parametrize("module", MODULES, ids=" ".join)
def test_the_module_is_there_and_takes_the_flags(module: list[str]) -> None:
    name, *flags = module
    file = ROOT / f"{name.replace('.', '/')}.py"
    assert '__name__ == "__main__"' in file.read_text(encoding="utf-8")
    assert not flags


def test_a_search_finds_what_it_asks_for(followed: dict[Command, Run]) -> None:
    *_, second = (c for c in COMMANDS if c.line.startswith("llmscale search"))
    hits = orjson.loads(followed[second].stdout)["hits"]
    assert hits[0]["source"] == "samples/docs/tram-tickets.html"


def test_the_mock_server_counts_what_the_page_says(followed: dict[Command, Run]) -> None:
    (mocked,) = (command for command in COMMANDS if command.line.startswith("llmscale mock"))
    (counted,) = (text for text in pages.code(pages.texts()["mock"]) if " faults" in text)
    assert counted in followed[mocked].stderr
    assert "20 of 20 rows answered, 0 failed" in followed[mocked].stderr


def test_the_picture_shows_what_a_terminal_shows(tmp_path: Path) -> None:
    """With a simulated model, whose words and speed are others."""
    svg = demo.PICTURE.read_text(encoding="utf-8")
    shown = demo.session(tmp_path, LLMSCALE_MODEL="sim/tokens=40,latency=0.5")
    drawn = shape(demo.words_of(demo.picture(shown)))
    told = shape(demo.words_of(svg))
    is_answer = re.compile(r'\{"id"|"error":')
    kept = [[one for one in lines if not is_answer.search(one)] for lines in (drawn, told)]
    assert kept[0][:3] == kept[1][:3]
    assert kept[0][-2:] == kept[1][-2:]
    fields = re.findall(r'"(\w+)":', demo.FIELDS.sub("", "".join(demo.words_of(svg).split())))
    assert set(fields) | {"usage"} == set(read_rows(tmp_path / "prompts.results.jsonl")[0])
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "").replace(
        "https://www.textualize.io", ""
    )
