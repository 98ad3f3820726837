"""Case C01: kill `llmscale run` at random moments, resume, and judge what is left.

The judges are the final output and the ledger of the chat server; the tool's own count is only
printed beside theirs. SIGKILL is the death of a process, not of the machine's power.

A call counts as in flight at a kill when it had arrived and was not answered, or when it was
answered and its connection carried nothing afterwards: the ledger can't tell whether that answer
was read. Nothing else may be asked again, for a provider bills what it is asked.
"""

import argparse
import contextlib
import itertools
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import msgspec
import orjson

from tests.benchmarks.jobs import Verdict, environment, judge, run_command_line, write_prompts
from tests.benchmarks.machine import print_machine
from tests.servers.chat import chat_process

PATIENCE_S = 60.0  # until a run asks; the last one may take ten times that
SETTLED_S = 0.1  # a ledger without news for so long has none
LAST_KILL = 0.9  # of all calls; what is left gives every kill a job to hit


class Entry(msgspec.Struct, frozen=True):
    """A line of the ledger."""

    event: Literal["arrived", "ended"]
    call: int
    key: str
    connection: int
    answered: bool = False


class LedgerReader:
    """Reads a ledger while the server writes it: each entry once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset_bytes = 0
        self._decoder = msgspec.json.Decoder(Entry)

    def read(self) -> list[Entry]:
        """Return what is new."""
        with self._path.open("rb") as file:
            file.seek(self._offset_bytes)
            news = file.read()
        whole = news[: news.rfind(b"\n") + 1]
        self._offset_bytes += len(whole)
        return self._decoder.decode_lines(whole)

    def read_to_end(self) -> list[Entry]:
        """Return what is new and still to come, where the client is gone."""
        entries: list[Entry] = []
        last_news_s = time.monotonic()
        while time.monotonic() < last_news_s + SETTLED_S:
            if news := self.read():
                entries += news
                last_news_s = time.monotonic()
            time.sleep(0.005)
        return entries


@dataclass(frozen=True, slots=True)
class InFlight:
    """The calls in flight at a kill."""

    unanswered: int
    maybe_unread: int  # answered, and nothing came on that connection afterwards

    @property
    def calls(self) -> int:
        """Both kinds together."""
        return self.unanswered + self.maybe_unread


def in_flight(run: list[Entry]) -> InFlight:
    """Return what was in flight at the end of a run, from all its entries."""
    last = {entry.connection: entry for entry in run if entry.event == "ended"}
    answered = sum(entry.answered for entry in last.values())
    return InFlight(len(last) - answered, answered)


class Campaign:
    """One job, killed and resumed by the same command until it may end."""

    def __init__(self, folder: Path, base_url: str, options: argparse.Namespace) -> None:
        self._folder = folder
        self._reader = LedgerReader(folder / "ledger.jsonl")
        self._command = run_command_line(base_url, "--concurrency", str(options.concurrency))
        self.entries: list[Entry] = []
        self.kills: list[InFlight] = []

    def kill_after(self, calls: int, pause_s: float) -> bool:
        """Run until so many calls have arrived and a moment more; kill. False: it ended before."""
        process = self._start()
        run: list[Entry] = []
        deadline_s = time.monotonic() + PATIENCE_S
        while process.poll() is None and _arrived(run) < calls:
            run += self._reader.read()
            if time.monotonic() > deadline_s:
                process.kill()
                raise SystemExit(f"no {calls} calls within {PATIENCE_S:.0f} s")
            time.sleep(0.001)
        time.sleep(pause_s)
        was_running = process.poll() is None
        process.kill()
        process.wait()
        run += self._reader.read_to_end()
        self.entries += run
        if was_running:
            self.kills.append(in_flight(run))
        return was_running

    def finish(self) -> None:
        """Let the job run to its end."""
        process = self._start()
        if code := process.wait(timeout=10 * PATIENCE_S):
            raise SystemExit(f"the last run ended with exit code {code}")
        self.entries += self._reader.read_to_end()

    def _start(self) -> subprocess.Popen[bytes]:
        folder = self._folder
        return subprocess.Popen(self._command, cwd=folder, env=environment(folder))


def _arrived(entries: list[Entry]) -> int:
    return sum(entry.event == "arrived" for entry in entries)


@dataclass(frozen=True, slots=True)
class Bill:
    """What the ledger says was asked for and answered, over all runs."""

    calls: int
    asked_again: int  # calls beyond the first of a row
    answered_again: int  # right answers beyond the first of a row

    @classmethod
    def of(cls, entries: list[Entry]) -> "Bill":
        """Count the entries of a campaign in which no prompt comes twice."""
        asked = Counter(entry.key for entry in entries if entry.event == "arrived")
        answered = Counter(entry.key for entry in entries if entry.answered)
        return cls(
            calls=asked.total(),
            asked_again=asked.total() - len(asked),
            answered_again=answered.total() - len(answered),
        )


def moments(options: argparse.Namespace) -> list[tuple[int, float]]:
    """Return each kill as calls to wait for and seconds to wait then, spread over the whole job."""
    random = Random(options.seed)
    last = LAST_KILL * options.rows
    points = [0.0, *sorted(random.uniform(0, last) for _ in range(options.kills))]
    steps = [int(after - before) for before, after in itertools.pairwise(points)]
    return [(max(1, step), random.uniform(0, 2 * options.latency)) for step in steps]


def run_campaign(folder: Path, options: argparse.Namespace) -> Campaign:
    """Kill, resume, kill; then let it end."""
    write_prompts(folder / "prompts.jsonl", options.rows)
    pace = ("--latency", options.latency, "--jitter", options.latency, "--seed", options.seed)
    with chat_process("--ledger", folder / "ledger.jsonl", *pace) as base_url:
        campaign = Campaign(folder, base_url, options)
        for number, (calls, pause_s) in enumerate(moments(options), start=1):
            when = f"kill {number:>3} after {calls:>4} calls and {pause_s * 1e3:>4.1f} ms"
            if not campaign.kill_after(calls, pause_s):
                print(f"{when}: too late, the job was done")
                break
            hit = campaign.kills[-1]
            print(f"{when}: {hit.unanswered:>2} unanswered, {hit.maybe_unread:>2} maybe unread")
        campaign.finish()
    return campaign


def print_count(what: str, count: int, total: int, unit: str) -> None:
    """Print how often something happened, and for never what that proves (the rule of three)."""
    bound = f"  (95 % upper bound {3 / total:.2%})" if count == 0 else ""
    print(f"{what:11} {count} of {total:,} {unit}{bound}")


def print_findings(verdict: Verdict, bill: Bill, kills: list[InFlight], own_count: int) -> bool:
    """Print everything, and return whether the promise was kept."""
    print_count("lost", verdict.lost, verdict.rows, "rows")
    print_count("duplicated", verdict.duplicated, verdict.rows, "rows")
    print_count("wrong", verdict.wrong, verdict.rows, "rows")
    at_kills = sum(kill.calls for kill in kills)
    unread = sum(kill.maybe_unread for kill in kills)
    print(f"calls       {bill.calls:,} for {verdict.rows:,} rows, {len(kills)} kills hit")
    print(f"in flight   {at_kills} at the kills, {unread} of them maybe answered and unread")
    print(f"asked again {bill.asked_again}, of which answered twice {bill.answered_again}")
    print(f"the tool    says at most {own_count} were paid again")
    kept = verdict.is_clean and bill.asked_again <= min(at_kills, own_count)
    if kept:
        print_count("broken", 0, len(kills), "kills")
    else:
        print("BROKEN: rows are not right, or more was asked again than was in flight")
    return kept


def main() -> None:
    """Run the campaign; exit 1 when the promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.kills")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--latency", type=float, default=0.02, metavar="S", help="up to twice that")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="an empty one, kept; default: temporary")
    options = parser.parse_args()
    print_machine()
    print(f"seed        {options.seed}")
    keep = contextlib.nullcontext(options.folder)
    with keep if options.folder else tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        campaign = run_campaign(folder, options)
        verdict = judge(folder / "out.jsonl", options.rows)
        report = orjson.loads((folder / "out.report.json").read_bytes())
    bill = Bill.of(campaign.entries)
    kept = print_findings(verdict, bill, campaign.kills, report["paid_again_at_most"])
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
