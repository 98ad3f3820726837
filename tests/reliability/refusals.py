"""Servers that refuse for good: the whole job (P06), or a row for what it says (P07)."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.jobs import judge, prompt, read_lines, right_answer, write_prompts
from tests.cli.tool import Run
from tests.reliability.against_servers import (
    DecidingServer,
    new_folder,
    run,
    to_servers,
    while_serving,
)
from tests.reliability.calls import calls_in
from tests.reliability.figures import Figure
from tests.servers.chat import ChatServer, Step


def _error(status: int, message: str = "as scripted", **fields: object) -> Step:
    return Step(status=status, body={"error": {"message": message, **fields}})


OF_THE_JOB = {
    "the key is refused (401)": _error(401),
    "no permission (403)": _error(403),
    "no credit (402)": _error(402),
    "no quota (429)": _error(429, "You exceeded your quota", type="insufficient_quota"),
}


def p06(what: str, rows: int = 2_000, width: int = 64) -> Figure:
    """Refused at a fifth of the job; it stops, and goes on where it was when all is well again.

    What was in flight then may be refused too, and nothing else is sent with that key.
    """

    def decide(call: int, _prompt: str) -> Step | None:
        return OF_THE_JOB[what] if call > rows / 5 else None

    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        refusing = DecidingServer(decide, latency_s=0.02, ledger=folder / "ledger")
        ended = while_serving([refusing], lambda: _ask(folder, refusing, width))
        calls = calls_in(folder / "ledger")
        is_open = not (folder / "out.jsonl").exists()
        well = ChatServer(ledger=folder / "then")
        resumed = while_serving([well], lambda: _ask(folder, well, width))
        verdict = judge(folder / "out.jsonl", rows)
        paid = Counter(c.key for c in calls_in(folder / "ledger", folder / "then") if c.answered)
    bad = verdict.lost + verdict.wrong + verdict.duplicated + paid.total() - len(paid)
    refused = sum(not call.answered for call in calls)
    codes = (ended.returncode, resumed.returncode)
    met = bad == 0 and refused <= width and is_open and codes == (3, 0)
    value = f"{refused} refused, {width} in flight; exit {codes[0]}, then {codes[1]}"
    return Figure("P06", what, rows, bad, value, "<= in flight; 3, 0", met)


def _ask(folder: Path, server: ChatServer, width: int) -> Run:
    to_servers(folder, [server.base_url])
    return run(folder, "--concurrency", width, OPENAI_API_KEY="sk-of-nobody")


OF_A_ROW = (
    ("context_length", _error(400, code="context_length_exceeded")),
    ("content_filter", _error(400, code="content_filter")),
    ("model_not_found", _error(404, code="model_not_found")),
    ("invalid_request", _error(413)),
    ("invalid_request", _error(422)),
)


def p07(rows: int = 2_000, share: int = 10) -> Figure:
    """A tenth of the rows is refused for what they say: they fail alone, after one call each."""
    refused = {index: OF_A_ROW[index // share % len(OF_A_ROW)] for index in range(0, rows, share)}
    steps = {prompt(index): step for index, (_, step) in refused.items()}
    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        server = DecidingServer(lambda _, asked: steps.get(asked), ledger=folder / "ledger")
        ended = while_serving([server], lambda: _ask(folder, server, 64))
        lines = list(read_lines(folder / "out.jsonl"))
        calls = Counter(call.key for call in calls_in(folder / "ledger"))
    kinds = {index: kind for index, (kind, _) in refused.items()}
    wrong = rows - len(lines) + sum(not _is_right(line, kinds) for line in lines)
    again = calls.total() - len(calls)
    value = f"{wrong} rows wrong, {again} asked twice, exit {ended.returncode}"
    met = wrong == again == 0 and len(calls) == rows and ended.returncode == 1
    what = f"five refusals, {rows:,} rows"
    return Figure("P07", what, len(refused), wrong + again, value, "0, 0, exit 1", met)


def _is_right(line: dict[str, Any], kinds: dict[int, str]) -> bool:
    kind = kinds.get(line["index"])
    if kind is None:
        return bool(line["output"] == right_answer(line["index"]))
    return line["output"] is None and line["error"]["type"] == kind


CASES: dict[str, list[Callable[[], Figure]]] = {
    "P06": [partial(p06, what) for what in OF_THE_JOB],
    "P07": [p07],
}
