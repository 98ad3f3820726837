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
_FIELD = re.compile(r"\{\{\w[\w.-]*\}\}|\{(\w[\w.-]*)\}")
MAX_FIELDS_NAMED = 20


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
        """Return the prompt. Raises `MissingField` for a field that is missing or null."""
        filled = []
        for literal, field in self._parts:
            filled.append(literal)
            if field is not None:
                filled.append(text_of(row, field))
        return "".join(filled)


class MissingField(Exception):
    """A field that a text needs; the message says what there is."""

    def __init__(self, field: str, row: Mapping[str, Any]) -> None:
        if field in row:
            super().__init__(f"a field {field!r}, which is null")
        else:
            there = ", ".join(sorted(map(str, row))[:MAX_FIELDS_NAMED]) or "no field"
            super().__init__(f"a field {field!r}; the row has {there}")


class SystemText:
    """A system message in which `{field}` is filled and every other brace stays as it is."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.has_fields = _FIELD.search(text) is not None

    def fill(self, row: Mapping[str, Any]) -> str:
        """Return the message. Raises `MissingField`."""
        if not self.has_fields:
            return self._text

        def value(match: re.Match[str]) -> str:
            return match[0][1:-1] if match[1] is None else text_of(row, match[1])

        return _FIELD.sub(value, self._text)


def text_of(row: Mapping[str, Any], field: str) -> str:
    """Return a field as text: text as it is, anything else as JSON. Raises `MissingField`."""
    value = row.get(field)
    if value is None:
        raise MissingField(field, row)
    return value if isinstance(value, str) else dumps(value).decode()


def _name(field: str) -> str:
    name = field.strip()
    if not name:
        raise ConfigError(
            "--template: {} names no field; write {field}, or {{}} for literal braces"
        )
    return name
