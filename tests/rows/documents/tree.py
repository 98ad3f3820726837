"""Trees of files to walk, for tests."""

from pathlib import Path

from llmscale.rows.documents import FileFailure, Walk


def write(folder: Path, *names: str, text: str = "text\n") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def sources(walk: Walk) -> list[str]:
    """Return what a walk finds, and hold that it meets no failure."""
    found = list(walk)
    assert not [step for step in found if isinstance(step, FileFailure)]
    return [step.source for step in found]


def failures(walk: Walk) -> dict[str, str]:
    return {step.source: step.reason for step in walk if isinstance(step, FileFailure)}
