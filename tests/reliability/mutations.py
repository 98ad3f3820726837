"""Rows with mutations (I05): whatever they say, each is answered rightly or a row with an error.

Hypothesis makes them, the same ones every time; all go through the tool as one job.
"""

import codecs
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.benchmarks.jobs import MODEL
from tests.cli.tool import Run
from tests.reliability.against_servers import JOB, new_folder, run, while_serving
from tests.reliability.calls import calls_in
from tests.reliability.figures import Figure
from tests.reliability.ugly_rows import strictly
from tests.servers.chat import ChatServer, expected_answer

MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Why?"}]
ROWS: list[dict[str, Any]] = [
    {"prompt": "Why is the sky blue?"},
    {"messages": MESSAGES, "model": "openai/test", "max_tokens": 5, "temperature": 0.5},
    {"prompt": "q", "system": "s", "stop": ["x"], "seed": 1, "top_p": 0.5, "user": "u"},
    {"method": "POST", "url": "/v1/chat/completions", "body": {"messages": MESSAGES, "seed": 5}},
    {"body": {"messages": MESSAGES, "model": "test", "tools": [], "response_format": {}}},
]
MORE_KEYS = {"id", "custom_id", "metadata", "role", "content", "n", "stream", "sample"}
KEYS = sorted({key for row in ROWS for key in row} | MORE_KEYS)
ODD = [None, True, 0, -1, 1.5, 1e308, 2**63, 2**64 - 1, "", " ", "\x00", "\u2028", "[/b]", "{", "a"]
LEAVES = st.sampled_from(ODD) | st.text(max_size=8) | st.integers() | st.floats()
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@st.composite
def mutated_rows(draw: st.DrawFn) -> bytes:
    """Draw a row, some of its fields changed, and then some of its bytes."""
    row = dict(draw(st.sampled_from(ROWS)))
    row |= draw(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=2))
    for key in draw(st.lists(st.sampled_from(KEYS), max_size=1)):
        row.pop(key, None)
    return draw(mutated(json.dumps(row, ensure_ascii=draw(st.booleans())).encode(errors="replace")))


@st.composite
def mutated(draw: st.DrawFn, right: bytes) -> bytes:
    """Draw a text of which a piece may be another."""
    if draw(st.booleans()):
        return right
    start = draw(st.integers(0, len(right)))
    end = draw(st.integers(start, min(len(right), start + 20)))
    return right[:start] + draw(st.binary(max_size=8)) + right[end:]


def repeatable(count: int) -> settings:
    """Return how so many examples are made, the same ones every time."""
    return settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def all_of(strategy: st.SearchStrategy[bytes], count: int) -> list[bytes]:
    """Return so many that Hypothesis makes."""
    found: list[bytes] = []

    @repeatable(count)
    @given(strategy)
    def collect(one: bytes) -> None:
        found.append(one)

    collect()
    return found


def i05_rows(count: int = 10_000) -> Figure:
    """Mutated rows as one job."""
    drawn = all_of(mutated_rows(), count + count // 4)
    lines = list(_with_own_ids(b"\n".join(drawn).split(b"\n")))[:count]
    with new_folder() as folder:
        (folder / "prompts.jsonl").write_bytes(b"\n".join(lines))
        server = ChatServer(ledger=folder / "ledger", keep_requests=False)
        ended = while_serving([server], lambda: _ask(folder, server))
        *written, _ = (folder / "out.jsonl").read_bytes().split(b"\n")
        calls = len(calls_in(folder / "ledger"))
    outcomes = [strictly(line) for line in written]
    answered = sum(outcome["error"] is None for outcome in outcomes)
    wrong = sum(not _is_right(*pair) for pair in zip(lines, outcomes, strict=True))
    is_quiet = ended.returncode in (0, 1) and "Traceback" not in ended.stderr
    value = f"{answered:,} answered, {wrong} wrong, exit {ended.returncode}"
    met = is_quiet and wrong == 0 and calls == answered
    return Figure("I05", "mutated rows", len(lines), wrong, value, "0, no traceback", met)


def _ask(folder: Path, server: ChatServer) -> Run:
    to = ("--model", f"openai/{MODEL}", "--base-url", server.base_url)
    return run(folder, *to, "--output-format", "llmscale", job=JOB[:-1])


def _with_own_ids(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Leave out blank lines, and those with an id of another: such a job would be refused."""
    seen = set()
    for line in lines:
        if not line or line.isspace():
            continue
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError:
            fields = None
        row_id = _id_of(fields) if isinstance(fields, dict) else None
        if row_id is None or repr(row_id) not in seen:
            seen.add(repr(row_id))
            yield line


def _id_of(fields: dict[str, Any]) -> Any:
    own = fields.get("custom_id")
    return fields.get("id") if own is None else own


def _is_right(raw: bytes, outcome: dict[str, Any]) -> bool:
    if outcome["error"] is not None:
        return outcome["output"] is None and outcome["error"]["type"] == "bad_row"
    fields = orjson.loads(raw.removeprefix(codecs.BOM_UTF8))
    body = fields if fields.get("body") is None else fields["body"]
    messages = body.get("messages") or [{"role": "user", "content": body.get("prompt")}]
    system = body.get("system")
    if system is not None and all(m["role"] not in ("system", "developer") for m in messages):
        messages = [{"role": "system", "content": system}, *messages]
    model = MODEL if body.get("model") is None else body["model"].removeprefix("openai/")
    return bool(outcome["output"] == expected_answer(model, messages))


CASES: dict[str, list[Callable[[], Figure]]] = {"I05": [i05_rows]}
