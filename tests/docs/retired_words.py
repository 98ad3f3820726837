"""Retired words, and where they still are: python -m tests.docs.retired_words.

A word of a name is a part of it between underscores or capitals; a phrase of a text is a regular
expression, so that ordinary English ("the rest of the file", "a lot of rows") is none.
"""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.docs.pages import texts
from tests.servers.chat import ROOT

PACKAGE = ROOT / "llmscale"

FOREIGN = PACKAGE / "cli" / "suggestions.py"
"""Words of other tools, which are there to be replaced."""

NAMES = {
    "batch": "lot lots",
    "retry": "anew",
    "circuit breaker": "ill illness ejection ejections ejected",
    "cooldown": "rest rests rested resting",
    "fallback": "stand_in stand_ins stood_in",
    "throttled": "let_out lets_out",
    "max_in_flight, slots": "room rooms",
    "reservation": "held_usd held_reservation bill bills",
    "unconfirmed": "unseen",
    "max_repeated_calls": "paid_again",
    "provider_rpm, adaptive_rpm": "told reported_rpm learned_rpm reported_tpm",
    "projection": "outlook",
    "precheck, readiness": "survey census",
    "RunResult": "telling",
    "rng": "dice",
    "epsilon": "hair",
    "MAX_": "most fewest",
    "MIN_": "least",
    "deliver, charge, reconcile, mark_done": "settle settles settled settling",
    "alert": "alarm alarms",
    "mock server": "rehearsal rehearse",
    "bottleneck analysis": "verdict",
}
"""The words of the field, each with those that it replaces in names."""

FINE = ("least_loaded", "LeastLoaded", "at_least", "at_most", "most_common")
"""Names with a word of the table that means something else."""

PHRASES = {
    "batch": r"\b(a|the|each|one|every|whole|this|that|of) lot\b(?! of\b)|\blots\b(?! of\b)",
    "retry": r"\bask(s|ed|ing)? (again|anew)\b|\banew\b",
    "circuit breaker": r"\bill\b|\billness\b|\bwell again\b|\b(is|are|was|be|gets) well\b(?!-)",
    "cooldown": r"\b(to|at|a) rest\b|\brest(s|ed|ing)\b|\brest of (%|\d)",
    "fallback": r"\bstand[- ]ins?\b|\bst(and|ands|ood) in for\b|\bstood in\b",
    "throttled": r"\blets? out\b",
    "max_in_flight, slots": r"\brooms?\b",
    "reservation": r"\bmoney (is |was )?held\b|\bheld (money|dollars|for)\b",
    "unconfirmed": r"\bunseen\b",
    "max_repeated_calls": r"\bpaid[_ ]again[_ ]at[_ ]most\b",
    "reported, adaptive": r"\b(is|are|be|was|were|been) told\b|\bas told\b|\btold otherwise\b"
    r"|\btells? of\b",
    "projection": r"\boutlook\b",
    "precheck, readiness": r"\bsurvey|\bcensus\b",
    "rng": r"\bdice\b",
    "epsilon": r"\b(a|by a) hair\b",
    "deliver, charge, reconcile, mark_done": r"\bsettl(e|es|ed|ing|ement)\b",
    "alert": r"\balarms?\b",
    "mock server": r"\brehears",
    "bottleneck analysis": r"\bverdicts?\b",
    "an ordinary sentence": r"\bdawdl|\b(is|are) no (duration|rate|row|number|size)\b"
    r"|\bin the making\b|\bSay (nothing but|more)\b|\bnobody saw\b|\bon (its|their) way\b",
}
"""The words of the field, each with the phrases that it replaces in texts."""

_NAMES = {
    standard: re.compile(rf"(?<![a-z])({'|'.join(words.split())})(?![a-z])")
    for standard, words in NAMES.items()
}
_PHRASES = {standard: re.compile(pattern, re.IGNORECASE) for standard, pattern in PHRASES.items()}


class Finding(NamedTuple):
    """A retired word, and the word of the field."""

    path: Path
    line: int
    kind: str  # "name", "text", "comment"
    found: str
    standard: str

    def __str__(self) -> str:
        """Return a line as compilers write it."""
        place = self.path.relative_to(ROOT) if self.path.is_absolute() else self.path
        return f"{place}:{self.line}: {self.kind} {self.found!r}; say {self.standard}"


def findings() -> list[Finding]:
    """Return all retired words of the package, its manual and the README."""
    modules = (path for path in sorted(PACKAGE.rglob("*.py")) if path != FOREIGN)
    found = [one for path in modules for one in _in_module(path)]
    for page, text in texts().items():
        path = ROOT / ("README.md" if page == "README" else f"llmscale/manual/{page}.md")
        for number, line in enumerate(text.splitlines(), start=1):
            found += _in_text(path, number, "text", line)
    return found


def in_name(name: str) -> Iterator[tuple[str, str]]:
    """Yield the retired words of a name, each with the word of the field."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    for fine in FINE:
        snake = snake.replace(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", fine).lower(), "")
    for standard, pattern in _NAMES.items():
        for match in pattern.finditer(snake):
            yield match[0], standard


def in_text(text: str) -> Iterator[tuple[str, str]]:
    """Yield the retired phrases of a text, each with the word of the field."""
    flat = " ".join(text.split())
    for standard, pattern in _PHRASES.items():
        for match in pattern.finditer(flat):
            yield match[0], standard


def _in_text(path: Path, line: int, kind: str, text: str) -> Iterator[Finding]:
    for found, standard in in_text(text):
        yield Finding(path, line, kind, found, standard)


def _in_module(path: Path) -> Iterator[Finding]:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    for line, name in [(1, path.stem), *_names(tree)]:
        for found, standard in in_name(name):
            yield Finding(path, line, "name", f"{name}: {found}", standard)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _in_text(path, node.lineno, "text", node.value)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from _in_text(path, token.start[0], "comment", token.string)


def _names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield what a module defines: classes, functions, parameters, constants, fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        if isinstance(node, ast.Module | ast.ClassDef):
            yield from _assigned(node.body)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def _assigned(body: Iterable[ast.stmt]) -> Iterator[tuple[int, str]]:
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        yield from ((node.lineno, t.id) for t in targets if isinstance(t, ast.Name))


def room_of(finding: Finding) -> str:
    """Return the package that a finding is in; README.md is its own."""
    first, *rest = finding.path.relative_to(ROOT).parts
    return rest[0] if rest else first


def main() -> None:
    """Print what is left, and how much of it is in which package."""
    found = findings()
    for one in found:
        print(one)
    rooms = Counter(map(room_of, found))
    print(*(f"{room} {count}" for room, count in rooms.most_common()), sep=", ")


if __name__ == "__main__":
    main()
