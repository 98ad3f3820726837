"""Servers that accept a call and then say nothing, or hardly anything (P05)."""

from collections.abc import Callable
from functools import partial

from llmscale.engine.balance.first_calls import MAX_FAILED
from tests.benchmarks.jobs import write_prompts
from tests.reliability.against_servers import (
    DecidingServer,
    new_folder,
    run,
    to_servers,
    unclassified,
    while_serving,
)
from tests.reliability.calls import calls_in
from tests.reliability.figures import Figure
from tests.servers.chat import Step

GRACE_S = 0.25
SILENCES = {
    "no answer": Step(hang=True),
    "headers, then silence": Step(hang=True, cut_after=0),
    "a byte a second": Step(trickle_s=1.0),
}


def p05(kind: str, rows: int = MAX_FAILED - 1, timeout_s: float = 1.0) -> Figure:
    """Silent in one of three ways; the ledger says when the client let go of its connection."""
    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        server = DecidingServer(lambda *_: SILENCES[kind], ledger=folder / "ledger")

        def ask() -> None:
            to_servers(folder, [server.base_url])
            run(
                folder,
                "--timeout",
                timeout_s,
                "--max-attempts",
                1,
                "--retry-time",
                1,
                "--concurrency",
                20,
            )

        while_serving([server], ask)
        missing = unclassified(folder, rows)
        calls = calls_in(folder / "ledger")
    late = sum(not call.client_gone or call.lasted_s > timeout_s + GRACE_S for call in calls)
    longest_s = max((call.lasted_s for call in calls), default=0.0)
    value = f"longest {longest_s - timeout_s:+.3f} s of the deadline"
    met = late == missing == 0 < len(calls)
    return Figure("P05", kind, len(calls), late, value, f"<= +{GRACE_S:.3f} s", met)


CASES: dict[str, list[Callable[[], Figure]]] = {"P05": [partial(p05, kind) for kind in SILENCES]}
