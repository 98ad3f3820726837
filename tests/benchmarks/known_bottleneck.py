"""What is known of a simulated job: what holds it back, and for which part of its time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from llmscale.accounting.stats import Bottleneck
from llmscale.config import EndpointConfig
from llmscale.core.records import Failure
from tests.benchmarks.simulated_run import Fate, Ran, Server, Simulation

Share = Callable[[Ran], float]


@dataclass(frozen=True, slots=True)
class Job:
    """A job of which it is known what holds it back."""

    name: str
    simulation: Simulation
    bottleneck: Bottleneck
    share: Share | None = None  # of the time, for which it is; None: not known
    names: str = ""  # in the advice: what is to be changed
    heeded: Mapping[str, Any] = field(default_factory=dict)  # the simulation, changed as advised
    faster: float = 1.9  # times, at the least, where the advice is followed
    unheeded: Mapping[str, Any] = field(default_factory=dict)  # a change of something else
    rest: Bottleneck | None = None  # what holds the job back for the rest of the time

    @property
    def changes(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The change that is advised, and the other one; empty where there is none."""
        return self.heeded, self.unheeded

    def changed(self, change: Mapping[str, Any]) -> Simulation:
        """Return the simulation with a change, of which settings are added."""
        settings = {**self.simulation.settings, **change.get("settings", {})}
        return replace(self.simulation, **{**change, "settings": settings})


def out(from_s: float, until_s: float) -> Fate:
    """Fail every call for a while."""
    failure = Failure(kind="server_error", message="out", retryable=True, status=500)
    return lambda at_s: failure if from_s <= at_s < until_s else None


def refusing(per_s: int, cooldown_s: float) -> Server:
    """Return a server that takes so many calls a second, and else asks for a rest."""
    taken_s: list[float] = []
    refusal = Failure(
        kind="rate_limited", message="", retryable=True, status=429, retry_after_s=cooldown_s
    )

    def fate(at_s: float) -> Failure | None:
        if len(taken_s) >= per_s and at_s - taken_s[-per_s] < 1:
            return refusal
        taken_s.append(at_s)
        return None

    return Server(0.5, fate=fate)


def own(number: int = 1) -> EndpointConfig:
    """Return a server of one's own."""
    return EndpointConfig(model="openai/a", base_url=f"http://127.0.0.1:{number}/v1")


def sim(**settings: Any) -> EndpointConfig:
    """Return a simulated endpoint."""
    return EndpointConfig(model="sim/a", **settings)


def silence_s(ran: Ran) -> float:
    """Return the longest time between two answers."""
    answered_s = sorted(at_s for server in ran.servers for at_s in server.answered_s)
    return max(after - before for before, after in pairwise([0.0, *answered_s]))


def silent(ran: Ran) -> float:
    """Return the share of the longest time between two answers."""
    return silence_s(ran) / ran.wall_s


def not_silent(ran: Ran) -> float:
    """Return the share of all other time."""
    return 1 - silent(ran)


def resting(ran: Ran) -> float:
    """Return the share of all gaps of a minute between two answers."""
    answered_s = sorted(ran.servers[0].answered_s)
    gaps_s = [after - before for before, after in pairwise(answered_s)]
    return sum(gap_s for gap_s in gaps_s if gap_s > 55) / ran.wall_s


def until_the_last(call_s: float = 0.5) -> Share:
    """Return what tells the share of all but the time of the last call."""
    return lambda ran: 1 - call_s / ran.wall_s


def before_the_slow_one(ran: Ran) -> float:
    """Return the share until one row is waited for alone: all others are taken up."""
    *_, last_s, _ = sorted(ran.servers[0].answered_s)
    return (last_s - 1.0) / ran.wall_s


def all_of_it(_: Ran) -> float:
    """Return the whole."""
    return 1.0


def one_block_late(number: int, seconds: float) -> Callable[[int], float]:
    """Return what reads all blocks at once but one."""
    return lambda block: seconds if block == number else 0.0
