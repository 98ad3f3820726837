"""Requests and tokens a minute, enforced: what went through in the last 60 s, refusals, headers.

Exact and not a bucket: in no 60 s that one may look at does more go through than the limit. Tokens
are those that the answer will say it has used. A refused call takes nothing. Never waits, and reads
no clock.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from llmscale.mock.behaviour import Behaviour

PERIOD_S = 60.0


@dataclass(frozen=True, slots=True)
class LimitExceeded:
    """Why a call has to wait."""

    what: str  # requests, tokens
    limit: int
    used: int
    asked: int
    wait_s: float  # until the limit allows it; infinite: it never does


class Window:
    """What went through in the last minute. `now_s` never goes back from call to call."""

    def __init__(self) -> None:
        self._entries: deque[tuple[float, int]] = deque()  # until when it counts, its tokens
        self._tokens = 0

    def add(self, tokens: int, now_s: float) -> None:
        """Note a call that goes through."""
        self._forget(now_s)
        self._entries.append((now_s + PERIOD_S, tokens))
        self._tokens += tokens

    def used(self, now_s: float) -> tuple[int, int]:
        """Return the requests and the tokens of the last minute."""
        self._forget(now_s)
        return len(self._entries), self._tokens

    def exceeded_requests(self, limit: int, now_s: float) -> LimitExceeded | None:
        """Say why one more request may not go through now."""
        used, _ = self.used(now_s)
        if used < limit:
            return None
        # a limit that a phase has lowered may be far below what went through
        wait_s = self._entries[used - limit][0] - now_s
        return LimitExceeded("requests", limit, used, 1, wait_s)

    def exceeded_tokens(self, limit: int, tokens: int, now_s: float) -> LimitExceeded | None:
        """Say why so many tokens may not go through now."""
        _, used = self.used(now_s)
        if used + tokens <= limit:
            return None
        left, wait_s = used, math.inf
        for until_s, freed in self._entries if tokens <= limit else ():
            left -= freed
            if left + tokens <= limit:
                wait_s = until_s - now_s
                break
        return LimitExceeded("tokens", limit, used, tokens, wait_s)

    def _forget(self, now_s: float) -> None:
        entries = self._entries
        while entries and entries[0][0] <= now_s:
            self._tokens -= entries.popleft()[1]


class Quotas:
    """The windows: one of all calls, and one for each model that a phase may limit alone."""

    def __init__(self, models: Iterable[str] = ()) -> None:
        self._windows: dict[str | None, Window] = {None: Window()}
        self._windows |= {model: Window() for model in models}

    def exceeded(self, behaviour: Behaviour, tokens: int, now_s: float) -> LimitExceeded | None:
        """Say why a call may not go through now, None when it may."""
        found = []
        if behaviour.rpm is not None:
            window = self._windows[behaviour.rpm_model]
            found.append(window.exceeded_requests(behaviour.rpm, now_s))
        if behaviour.tpm is not None:
            window = self._windows[behaviour.tpm_model]
            found.append(window.exceeded_tokens(behaviour.tpm, tokens, now_s))
        reasons = (reason for reason in found if reason is not None)
        return max(reasons, key=lambda reason: reason.wait_s, default=None)

    def take(self, model: str, tokens: int, now_s: float) -> None:
        """Count a call that goes through."""
        self._windows[None].add(tokens, now_s)
        window = self._windows.get(model)
        if window is not None:
            window.add(tokens, now_s)

    def headers(self, behaviour: Behaviour, now_s: float) -> str:
        """Return what an answer says about the limits, as header lines."""
        lines = ""
        if behaviour.rpm is not None:
            used, _ = self._windows[behaviour.rpm_model].used(now_s)
            lines += _header_lines("requests", behaviour.rpm, used)
        if behaviour.tpm is not None:
            _, used = self._windows[behaviour.tpm_model].used(now_s)
            lines += _header_lines("tokens", behaviour.tpm, used)
        return lines


def retry_after_lines(wait_s: float) -> str:
    """Return both headers: whole seconds for all, milliseconds for who can read them."""
    return (
        f"retry-after: {math.ceil(round(wait_s, 3))}\r\n"
        f"retry-after-ms: {math.ceil(round(wait_s * 1000, 3))}\r\n"
    )


def duration(wait_s: float) -> str:
    """Return a time as OpenAI writes it: `6ms`, `1.25s`, `1m0s`."""
    milliseconds = math.ceil(round(wait_s * 1000, 3))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1000:g}s" if minutes else f"{rest / 1000:g}s"


def _header_lines(what: str, limit: int, used: int) -> str:
    # as OpenAI works it out, which is what clients are made for: the used share of a minute
    whole_in_s = min(used / limit, 1.0) * PERIOD_S
    return (
        f"x-ratelimit-limit-{what}: {limit}\r\n"
        f"x-ratelimit-remaining-{what}: {max(limit - used, 0)}\r\n"
        f"x-ratelimit-reset-{what}: {duration(whole_in_s)}\r\n"
    )
