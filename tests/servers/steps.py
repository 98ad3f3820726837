"""What the test servers do with a request: answer it, refuse it, or fail as a bad network does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    """One scripted response. As it stands, it is the answer that the request calls for."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None  # bytes as they are, anything else as JSON; None: the answer, or an error body
    delay_s: float = 0.0  # before the first byte
    cut_after: int | None = None  # bytes of the body, then the connection closes
    hang: bool = False  # silence instead of an answer; with `cut_after`, after those bytes
    reset: bool = False  # TCP reset instead of an answer
    trickle_s: float | None = None  # headers at once, then one byte of the body per interval

    @property
    def is_answer(self) -> bool:
        """Whether the client gets what it asked for, whole."""
        broken = self.hang or self.reset or self.cut_after is not None
        return self.status == 200 and self.body is None and not broken


# What `--faults` can name beside a status code.
NAMED_FAULTS = {
    "reset": Step(reset=True),
    "hang": Step(hang=True),
    "cut": Step(cut_after=20),
    "empty": Step(body={"object": "chat.completion", "choices": []}),
    "html": Step(headers={"content-type": "text/html"}, body=b"<html><h1>Bad gateway</h1></html>"),
}


def parse_faults(spec: str) -> list[tuple[Step, float]]:
    """Return each fault of a spec such as `429:0.05,reset:0.01` with its probability."""
    faults = []
    for part in filter(None, spec.split(",")):
        name, _, share = part.partition(":")
        step = Step(status=int(name)) if name.isdecimal() else NAMED_FAULTS.get(name)
        if step is None:
            known = ", ".join(NAMED_FAULTS)
            raise ValueError(f"unknown fault {name!r}: give a status code or one of {known}")
        faults.append((step, float(share)))
    if sum(share for _, share in faults) > 1:
        raise ValueError(f"the probabilities of {spec!r} add to more than 1")
    return faults
