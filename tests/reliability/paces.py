"""Servers that refuse what comes too fast: how soon is their pace kept to (P02, P03)?"""

import time
from collections.abc import Callable, Sequence

from tests.benchmarks.jobs import write_prompts
from tests.cli.mock_server import mock
from tests.reliability.against_servers import (
    DecidingServer,
    new_folder,
    run,
    to_servers,
    unanswered,
    while_serving,
)
from tests.reliability.calls import CLOCK_S, LedgerCall, calls_in, most_within
from tests.reliability.figures import Figure
from tests.servers.chat import Step

WARM_UP_S = 20.0
HERD = 4  # times the fair share


def p02_of_mock(rpm: int = 300, minutes: float = 2.0) -> Figure:
    """`llmscale mock` enforces a limit and says so in its headers; the client is set to 4 times."""
    rows = int(rpm * minutes)
    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        limits = ("--rpm", rpm, "--latency", 0.1, "--ledger", folder / "ledger")
        with mock(*limits, cwd=folder) as server:
            to_servers(folder, [server.base_url], f"rpm = {4 * rpm}\n")
            run(folder)
        calls, missing = calls_in(folder / "ledger"), unanswered(folder, rows)
    return _p02(f"llmscale mock, {rpm} RPM", calls, missing, rpm / 60)


class TokenBucket:
    """Lets so many calls a second in, one second's worth at once; names the wait otherwise."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._room = per_s
        self._seen_s = time.monotonic()

    def decide(self, _call: int, _prompt: str) -> Step | None:
        """Refill and take one."""
        now_s = time.monotonic()
        self._room = min(self._per_s, self._room + (now_s - self._seen_s) * self._per_s)
        self._seen_s = now_s
        if self._room < 1:
            wait_s = (1 - self._room) / self._per_s
            return Step(status=429, headers={"retry-after-ms": f"{wait_s * 1000:.0f}"})
        self._room -= 1
        return None


def p02(limit_per_s: float = 20.0, seconds: float = 60.0) -> Figure:
    """A server with a limit that it says nothing of; the client is set to four times that."""
    rows = int(limit_per_s * seconds)
    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        bucket = TokenBucket(limit_per_s)
        server = DecidingServer(bucket.decide, latency_s=0.2, ledger=folder / "ledger")

        def ask() -> None:
            to_servers(folder, [server.base_url], f"rpm = {4 * 60 * limit_per_s:.0f}\n")
            run(folder)

        while_serving([server], ask)
        calls, missing = calls_in(folder / "ledger"), unanswered(folder, rows)
    return _p02(f"the tool, {limit_per_s:g} a second", calls, missing, limit_per_s)


def _p02(what: str, calls: Sequence[LedgerCall], missing: int, limit_per_s: float) -> Figure:
    """Judge what arrived after the warm-up."""
    warm = [call for call in calls if call.arrived_s >= calls[0].arrived_s + WARM_UP_S]
    refused = sum(not call.answered for call in warm)
    lasted_s = warm[-1].arrived_s - warm[0].arrived_s
    share = (len(warm) - refused - 1) / lasted_s / limit_per_s
    refusals = refused / len(warm)
    value = f"{share:.1%} of limit, {refusals:.1%} refused, {missing} rows lost"
    met = share >= 0.95 and refusals <= 0.02 and not missing
    return Figure("P02", what, len(warm), refused, value, ">= 95 %, <= 2 %", met)


def p03(latency_s: float = 1.0, retry_s: float = 2.0, width: int = 64) -> Figure:
    """All in flight get 429 at once, and are to come back in some seconds; who arrives when?

    What a stall of the machine holds up comes at once behind it, so the bound of twice the fair
    share is held to on the virtual clock, and twice that here.
    """

    def decide(call: int, _prompt: str) -> Step | None:
        is_refused = width < call <= 2 * width
        return Step(status=429, headers={"retry-after": f"{retry_s:g}"}) if is_refused else None

    rows = 3 * width
    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        server = DecidingServer(decide, latency_s=latency_s, ledger=folder / "ledger")

        def ask() -> None:
            to_servers(folder, [server.base_url])
            run(folder, "--concurrency", width, "--no-adaptive")

        while_serving([server], ask)
        calls, missing = calls_in(folder / "ledger"), unanswered(folder, rows)
    refused_s = [call.ended_s for call in calls[width : 2 * width] if call.ended_s is not None]
    arrived_s = [call.arrived_s for call in calls if call.arrived_s > min(refused_s)]
    early = sum(at_s < max(refused_s) + retry_s - CLOCK_S for at_s in arrived_s)
    most = most_within(arrived_s, 0.05) / (width / latency_s * 0.05)
    value = f"{early} early, {most:.1f}x the fair share in 50 ms, {missing} lost"
    met = early == 0 and most <= HERD and not missing
    what = f"the tool, calls of {latency_s:g} s"
    return Figure("P03", what, len(refused_s), early, value, f"0, <= {HERD}x, 0", met)


CASES: dict[str, list[Callable[[], Figure]]] = {
    "P02": [p02_of_mock, p02],
    "P03": [p03],
}
