"""Settings of a cache in a folder, and files of lines."""

from pathlib import Path
from typing import Any

from llmscale.config import Config
from tests.settings import config_of


def config(folder: Path, **settings: Any) -> Config:
    return config_of(**({"cache_dir": str(folder), "model": "openai/m"} | settings))


def write_lines(path: Path, *lines: bytes) -> str:
    path.write_bytes(b"".join(lines))
    return str(path)
