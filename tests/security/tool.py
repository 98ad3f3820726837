"""The tool as a process in a folder of its own, and what is to be searched when it has ended."""

import asyncio
from pathlib import Path

from tests.cli.tool import Run, llmscale, prompts, write_rows
from tests.security.canary import SECRET

CACHED = {"LLMSCALE_CACHE_MODE": "on"}


class Place:
    """A folder with rows in it. Cache and all other files of the runs are below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.streams: dict[str, str] = {}
        folder.mkdir(exist_ok=True)

    def rows(self, count: int) -> None:
        """Write that many rows to in.jsonl."""
        write_rows(self.folder / "in.jsonl", prompts(count))

    async def run(self, *args: object, **env: str) -> Run:
        """Run the tool with the secret as its key, and keep what it says."""
        given = {
            "OPENAI_API_KEY": SECRET,
            "XDG_CACHE_HOME": str(self.folder / "caches"),
            **CACHED,
            **env,
        }
        ended = await asyncio.to_thread(llmscale, *args, cwd=self.folder, **given)
        number = len(self.streams) // 2 + 1
        self.streams |= {f"stdout {number}": ended.stdout, f"stderr {number}": ended.stderr}
        return ended

    def modes(self) -> dict[str, int]:
        """Return the mode of every file and folder that the runs have made."""
        made = (path for path in self.folder.rglob("*") if path.name != "in.jsonl")
        return {
            str(path.relative_to(self.folder)) + "/" * path.is_dir(): path.stat().st_mode & 0o7777
            for path in made
        }


def to(base_url: str) -> tuple[str, ...]:
    """Return the options by which a run asks a server, once a row."""
    return ("--model", "openai/m", "--base-url", base_url, "--max-attempts", "1")
