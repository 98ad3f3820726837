"""What becomes of a call, decided when it has arrived whole: answered, refused, or failed.

In this order: an outage, too many calls at once, the quota, a fault by chance. What is refused
takes no quota. Decides only: never sends, waits or writes.
"""

import math
from random import Random
from typing import Literal

import msgspec

from llmscale.mock.behaviour import SLOW_FACTOR, Behaviour, Outage
from llmscale.mock.quota import LimitExceeded, Quotas, duration, retry_after_lines
from llmscale.mock.requests import MockRequest
from llmscale.mock.scenario import Scenario
from llmscale.mock.wire import error_body

Fault = Literal["error", "hang", "cut", "outage", "reset", "bad text"]


class Plan(msgspec.Struct, frozen=True):
    """What becomes of a call."""

    status: int | None = 200  # None: nothing is sent
    body: bytes | None = None  # None: the answer to the question
    lines: str = ""  # of the head
    delay_s: float = 0.0
    fault: Fault | None = None
    finish_reason: str | None = None  # None: the true one
    works: bool = False  # it counts as one of the calls at once until it ends


class Planner:
    """Plans the calls of one server, in order of their arrival."""

    def __init__(self, scenario: Scenario, seed: int = 0) -> None:
        self._scenario = scenario
        self._random = Random(seed)  # noqa: S311 - chance, and no secret
        self._quotas = Quotas(scenario.models) if scenario.has_limits else None

    def of_question(self, question: MockRequest, at_once: int, life_s: float) -> Plan:
        """Plan a call that can be answered, while `at_once` others are being worked on."""
        behaviour = self._scenario.at(life_s, question.model)
        if behaviour.outage is not None:
            return _out(behaviour.outage, self._quota_lines(behaviour, life_s))
        if behaviour.capacity is not None and at_once >= behaviour.capacity:
            return _over_capacity(behaviour)
        if self._quotas is not None:
            exceeded = self._quotas.exceeded(behaviour, question.tokens, life_s)
            if exceeded is not None:
                lines = self._quota_lines(behaviour, life_s)
                return _over_quota(exceeded, question.model, behaviour.retry_after_s, lines)
            self._quotas.take(question.model, question.tokens, life_s)
        lines = self._quota_lines(behaviour, life_s)
        if behaviour.bad_text is not None and question.holds(behaviour.bad_text):
            body = error_body("simulated: the text can't be processed", "server_error")
            return Plan(500, body, lines, behaviour.latency_s, "bad text", works=True)
        return self._by_chance(behaviour, lines)

    def of_other(self, status: int, body: bytes, life_s: float) -> Plan:
        """Plan what asks no question: it gets its body at once, unless nobody gets any."""
        behaviour = self._scenario.at(life_s, None)
        lines = self._quota_lines(behaviour, life_s)
        if behaviour.outage is not None:
            return _out(behaviour.outage, lines)
        return Plan(status, body, lines)

    def _by_chance(self, behaviour: Behaviour, lines: str) -> Plan:
        # three draws for every call, so that another latency leaves the faults where they were
        draw = self._random.random
        point, jitter, tail = draw(), draw(), draw()
        delay_s = behaviour.latency_s + jitter * behaviour.jitter_s
        if tail < behaviour.slow_tail:
            delay_s *= SLOW_FACTOR
        if point < behaviour.hang_rate:
            return Plan(status=None, fault="hang", works=True)
        point -= behaviour.hang_rate
        if point < behaviour.error_rate:
            body = error_body("simulated server error", "server_error")
            return Plan(500, body, lines, delay_s, "error", works=True)
        cut = point - behaviour.error_rate < behaviour.cut_body
        plan = Plan(lines=lines, delay_s=delay_s, fault="cut" if cut else None, works=True)
        return msgspec.structs.replace(plan, finish_reason=behaviour.finish_reason)

    def _quota_lines(self, behaviour: Behaviour, life_s: float) -> str:
        return "" if self._quotas is None else self._quotas.headers(behaviour, life_s)


def _out(outage: Outage, lines: str) -> Plan:
    if not isinstance(outage, int):
        return Plan(status=None, fault="reset")
    body = error_body(f"the scenario answers {outage} now", "server_error")
    return Plan(outage, body, lines, fault="outage")


def _over_quota(
    exceeded: LimitExceeded, model: str, retry_after_s: float | None, lines: str
) -> Plan:
    wait_s = exceeded.wait_s if retry_after_s is None else retry_after_s
    unit = {"requests": "RPM", "tokens": "TPM"}[exceeded.what]
    told = f"on {exceeded.what} per min ({unit}): Limit {exceeded.limit}"
    if math.isinf(exceeded.wait_s):
        message = f"Request too large for {model} {told}, Requested {exceeded.asked}."
        lines += "x-should-retry: false\r\n"  # no wait would help
    else:
        message = (
            f"Rate limit reached for {model} {told}, Used {exceeded.used}, "
            f"Requested {exceeded.asked}. Please try again in {duration(wait_s)}."
        )
        lines += retry_after_lines(wait_s)
    return Plan(429, error_body(message, exceeded.what, code="rate_limit_exceeded"), lines)


def _over_capacity(behaviour: Behaviour) -> Plan:
    message = f"too many calls at once: {behaviour.capacity} are being answered"
    asked_s = behaviour.retry_after_s
    lines = "" if asked_s is None else retry_after_lines(asked_s)
    body = error_body(message, "server_busy", code="too_many_concurrent_requests")
    return Plan(429, body, lines)
