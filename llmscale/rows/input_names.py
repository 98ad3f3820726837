"""What someone probably meant by an input that does not exist, or that can't be read as rows.

Looks at names and folders, and opens nothing.
"""

import stat
from difflib import get_close_matches
from pathlib import Path

from llmscale.core.errors import ConfigError


def missing_input(name: str) -> str:
    """Return a sentence for an input that is not there."""
    if not name:
        return "the name of an input is empty; name a file, or - for standard input"
    if name.startswith(("http://", "https://", "s3://", "gs://")):
        return f"{name} is no file; download it first, or pipe it in and name - as the input"
    if name.lstrip().startswith(("{", "[")) or any(c.isspace() for c in name.strip()):
        return (
            f"there is no input {_shortened(name)}; a prompt is a row of a file or of standard "
            """input: echo '{"prompt": "..."}' | llmscale run - -o FILE"""
        )
    near = _nearest(name)
    return f"there is no input {name}" + (f"; did you mean {near}?" if near else "")


def check_regular(name: str) -> None:
    """Raise `ConfigError` for a folder, and for what can't be read more than once."""
    try:
        mode = Path(name).stat().st_mode
    except OSError as error:
        raise ConfigError(f"can't read {name}: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{name} is a folder; name its files: '{name}/*.jsonl'")
    if not stat.S_ISREG(mode):
        raise ConfigError(
            f"{name} is a pipe or a device, which can't be read twice; redirect it to standard "
            "input and name - as the input"
        )


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _nearest(name: str) -> str | None:
    """Return the file beside it whose name is most like it."""
    path = Path(name)
    try:
        names = [found.name for found in path.parent.iterdir() if found.is_file()]
    except OSError:
        return None
    near = get_close_matches(path.name, names, n=1, cutoff=0.8)
    return str(path.with_name(near[0])) if near else None
