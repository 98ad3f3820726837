"""Servers that refuse and name a time to wait: who comes back, and when (P02 to P04)."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from pathlib import Path

from tests.benchmarks.jobs import read_lines, write_prompts
from tests.cli.mock_server import mock
from tests.cli.tool import Run, write_rows
from tests.reliability.against_servers import (
    JOB,
    Decide,
    DecidingServer,
    new_folder,
    run,
    to_servers,
    unanswered,
    while_serving,
)
from tests.reliability.calls import LedgerCall, calls_in, most_within
from tests.reliability.figures import Figure
from tests.servers.chat import ChatServer, Step, expected_answer

WARM_UP_S = 20.0
CLOCK_S = 0.005  # an event loop counts whole milliseconds
FIRST_BACKOFF_S = 0.5  # at most, where no time to wait is named
GRACE_S = 0.25


def p02_of_mock(rpm: int = 300, minutes: float = 2.0) -> Figure:
    """`llmscale mock` enforces a limit and says so in its headers; the client is set to 4 times."""
    rows = int(rpm * minutes)
    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        limits = ("--rpm", rpm, "--latency", 0.1, "--ledger", folder / "ledger")
        with mock(*limits, cwd=folder) as server:
            to_servers(folder, [server.base_url], f"rpm = {4 * rpm}\n")
            run(folder)
        calls = calls_in(folder / "ledger")
        entries = list(read_lines(folder / "out.jsonl"))
    missing = rows - sum(entry["output"] is not None for entry in entries)
    return _p02(f"llmscale mock, {rpm} RPM", calls, missing, rpm / 60)


class Bucket:
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
        bucket = Bucket(limit_per_s)
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


def p03(
    latency_s: float = 1.0, retry_s: float = 2.0, width: int = 64, *, herd: float = 2
) -> Figure:
    """All in flight get 429 at once, and are to come back in some seconds; who arrives when?"""

    def decide(call: int, _prompt: str) -> Step | None:
        is_refused = width < call <= 2 * width
        return Step(status=429, headers={"retry-after": f"{retry_s:g}"}) if is_refused else None

    rows = 4 * width
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
    met = early == 0 and most <= herd and not missing
    what = f"the tool, calls of {latency_s:g} s"
    return Figure("P03", what, len(refused_s), early, value, f"0, <= {herd:g}x, 0", met)


@dataclass(slots=True)
class Form:
    """How a server says when to come back, `in_s` from then; None: it does not say."""

    name: str
    in_s: float | None
    headers: Callable[[float], Mapping[str, str]]  # of the moment when to come back
    whole_s: bool = False  # the form has no fractions of a second
    due_s: float = field(default=0.0, init=False)

    def decide(self, call: int, _prompt: str) -> Step | None:
        """Refuse the first call."""
        if call > 1:
            return None
        self.due_s = time.time() + (self.in_s or 0.0)
        if self.whole_s:
            self.due_s = float(int(self.due_s))
        return Step(status=429, headers=self.headers(self.due_s))


def _always(**headers: str) -> Callable[[float], Mapping[str, str]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: named


def _moment(due_s: float) -> datetime:
    return datetime.fromtimestamp(due_s, UTC)


def _used_up(reset: str) -> Callable[[float], Mapping[str, str]]:
    limit = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": reset}
    return _always(**limit)


def forms() -> list[Form]:
    """Return the forms, new ones; the table of all that may come is with the providers' tests."""
    iso = "anthropic-ratelimit-requests-"
    return [
        Form("seconds", 1.0, _always(retry_after="1")),
        Form("a fraction", 0.7, _always(retry_after="0.7")),
        Form("milliseconds", 0.6, _always(retry_after_ms="600", retry_after="9")),
        Form("a date", 2.5, lambda s: {"retry-after": format_datetime(_moment(s), True)}, True),
        Form("a past date", None, _always(retry_after="Wed, 21 Oct 2015 07:28:00 GMT")),
        Form("zero", None, _always(retry_after="0")),
        Form("negative", None, _always(retry_after="-5")),
        Form("garbage", None, _always(retry_after="soon")),
        Form("a reset of 0m1.2s", 1.2, _used_up("0m1.2s")),
        Form("a reset of 250ms", 0.25, _used_up("250ms")),
        Form(
            "an ISO moment",
            1.5,
            lambda s: {f"{iso}remaining": "0", f"{iso}reset": _moment(s).isoformat()},
        ),
    ]


def p04(more: Sequence[Form] = ()) -> Figure:
    """A server for each form, which refuses one call; the ledgers tell when the next one came."""
    asked = [*forms(), *more]
    with new_folder() as folder:
        servers = [DecidingServer(form.decide, ledger=folder / form.name) for form in asked]
        while_serving(servers, lambda: _ask_each(folder, servers))
        again = [calls_in(folder / form.name)[1:] for form in asked]
        lines = read_lines(folder / "out.jsonl")
        outputs = [line["output"] for line in lines]
    late_s = [calls[0].arrived_s - f.due_s for f, calls in zip(asked, again, strict=True) if calls]
    right = [expected_answer(f"m{n}", _question(n)) for n in range(len(asked))]
    wrong = sum(output != answer for output, answer in zip(outputs, right, strict=True))
    early = sum(seconds < -CLOCK_S for seconds in late_s)
    met = early == wrong == 0 and max(late_s) <= FIRST_BACKOFF_S + GRACE_S
    value = f"{early} early, {wrong} wrong, at most {max(late_s):.2f} s late"
    what = f"{len(asked)} ways to say when"
    return Figure("P04", what, len(asked), early + wrong, value, "0, 0, <= 0.75 s", met)


def _question(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"When, number {number}?"}]


def _ask_each(folder: Path, servers: Sequence[ChatServer], *options: object) -> Run:
    """Ask each server, as a model of its own, one question."""
    models = [f"openai/m{number}" for number in range(len(servers))]
    rows = [{"model": m, "messages": _question(n)} for n, m in enumerate(models)]
    write_rows(folder / "prompts.jsonl", rows)
    tables = [
        f'[[endpoint]]\nmodel = "{model}"\nbase_url = "{server.base_url}"\n'
        for model, server in zip(models, servers, strict=True)
    ]
    (folder / "llmscale.toml").write_text("".join(tables))
    return run(folder, *options, job=JOB[:-1])  # not quiet: what it says is looked at


TOO_LONG = ("86400", "1e300", "inf", "Fri, 31 Dec 2100 23:59:59 GMT")


def p04_too_long() -> Figure:
    """Servers that ask for more than an hour: no second call, a warning each, and a failed row."""

    def decide_on(asked: str) -> Decide:
        return lambda *_: Step(status=429, headers={"retry-after": asked})

    with new_folder() as folder:
        servers = [
            DecidingServer(decide_on(asked), ledger=folder / str(number))
            for number, asked in enumerate(TOO_LONG)
        ]
        ended = while_serving(servers, lambda: _ask_each(folder, servers))
        calls = [len(calls_in(folder / str(number))) for number in range(len(TOO_LONG))]
        errors = [line["error"] for line in read_lines(folder / "out.jsonl")]
    warnings = ended.stderr.count("it gets 3600 s")
    failed = sum(error is not None and error["type"] == "rate_limited" for error in errors)
    bad = sum(count != 1 for count in calls)
    met = bad == 0 and failed == warnings == len(TOO_LONG) and ended.returncode == 1
    value = f"{sum(calls)} calls, {failed} failed rows, {warnings} warnings"
    goal = f"{len(TOO_LONG)} of each"
    return Figure("P04", "more than an hour", len(TOO_LONG), bad, value, goal, met)


LONG_RESET = Form("a reset of 1m3s", 63.0, _used_up("1m3s"))

CASES: dict[str, list[Callable[[], Figure]]] = {
    "P02": [p02_of_mock, p02],
    "P03": [p03, partial(p03, latency_s=4.0)],
    "P04": [partial(p04, [LONG_RESET]), p04_too_long],
}
