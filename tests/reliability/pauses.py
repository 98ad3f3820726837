"""Servers that say when to come back, in every way there is (P04)."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from pathlib import Path

from tests.benchmarks.jobs import read_lines
from tests.cli.tool import Run, write_rows
from tests.reliability.against_servers import (
    JOB,
    Decide,
    DecidingServer,
    new_folder,
    run,
    while_serving,
)
from tests.reliability.calls import CLOCK_S, calls_in
from tests.reliability.figures import Figure
from tests.servers.chat import ChatServer, Step, expected_answer

FIRST_BACKOFF_S = 0.5  # at most, where no time to wait is named
GRACE_S = 0.25


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


def _ask_each(folder: Path, servers: Sequence[ChatServer]) -> Run:
    """Ask each server, as a model of its own, one question."""
    models = [f"openai/m{number}" for number in range(len(servers))]
    rows = [{"model": m, "messages": _question(n)} for n, m in enumerate(models)]
    write_rows(folder / "prompts.jsonl", rows)
    tables = [
        f'[[endpoint]]\nmodel = "{model}"\nbase_url = "{server.base_url}"\n'
        for model, server in zip(models, servers, strict=True)
    ]
    (folder / "llmscale.toml").write_text("".join(tables))
    return run(folder, job=JOB[:-1])  # not quiet: what it says is looked at


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
    warnings = ended.stderr.count("capped at 3600 s")
    failed = sum(error is not None and error["type"] == "rate_limited" for error in errors)
    bad = sum(count != 1 for count in calls)
    met = bad == 0 and failed == warnings == len(TOO_LONG) and ended.returncode == 1
    value = f"{sum(calls)} calls, {failed} failed rows, {warnings} warnings"
    goal = f"{len(TOO_LONG)} of each"
    return Figure("P04", "more than an hour", len(TOO_LONG), bad, value, goal, met)


LONG_RESET = Form("a reset of 1m3s", 63.0, _used_up("1m3s"))

CASES: dict[str, list[Callable[[], Figure]]] = {"P04": [partial(p04, [LONG_RESET]), p04_too_long]}
