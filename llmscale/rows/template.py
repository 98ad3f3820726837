"""Prompts from a template over the fields of a row: `Translate: {text}`.

One pass: the value of a field is text and never a template, and a name is a key of the row, never
an attribute or an index. `{{` and `}}` stand for braces.
"""

import re
from collections.abc import Mapping
from typing import Any

from llmscale.core.errors import ConfigError
from llmscale.core.json_text import dumps

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Template:
    """A parsed template. Raises `ConfigError` for an unmatched brace."""

    def __init__(self, text: str) -> None:
        self._parts: list[tuple[str, str | None]] = []  # text, then the field that follows it
        literal, end = "", 0
        for match in _TOKEN.finditer(text):
            literal += text[end : match.start()]
            end = match.end()
            token, field = match.group(), match.group(1)
            if token in ("{{", "}}"):
                literal += token[0]
            elif field is None:
                place = match.start() + 1
                raise ConfigError(
                    f"--template: unmatched {token} at character {place}; "
                    f"write {2 * token} for a literal one"
                )
            else:
                self._parts.append((literal, _name(field)))
                literal = ""
        self._parts.append((literal + text[end:], None))

    def fill(self, row: Mapping[str, Any]) -> str:
        """Return the prompt. Raises `KeyError` with the name of a missing field."""
        filled = []
        for literal, field in self._parts:
            filled.append(literal)
            if field is not None:
                value = row[field]
                filled.append(value if isinstance(value, str) else dumps(value).decode())
        return "".join(filled)


def _name(field: str) -> str:
    name = field.strip()
    if not name:
        raise ConfigError(
            "--template: {} names no field; write {field}, or {{}} for literal braces"
        )
    return name
