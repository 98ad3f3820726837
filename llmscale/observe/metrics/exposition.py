"""The text format of Prometheus, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/ - written here and not by its client
library: that takes 50 ms to load and brings a registry, locks and a web server, for these lines.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

Labels = Mapping[str, str]


class Family(NamedTuple):
    """A metric with all its samples."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str  # one line
    samples: Sequence[tuple[str, Labels, float]]  # what is appended to the name; labels; value


def text_of(families: Iterable[Family]) -> str:
    """Return the families as text; those without a sample are left out."""
    lines = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for ending, labels, value in family.samples:
            lines.append(f"{family.name}{ending}{_braces(labels)} {_number(value)}")
    return "".join(f"{line}\n" for line in lines)


def _braces(labels: Labels) -> str:
    pairs = (f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}" if labels else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
