"""Whether a limit in the headers of answers is one a minute: adopted on evidence, dropped on more.

Headers name a limit, what is left and when it is whole again, and not the time that it is for. One
answer may look like a minute by chance: 199 of 200 left and whole in 0.3 s is a bucket of a minute,
or a window of a second that ends soon. So a limit is adopted when a good part of it is used, or
when several answers in a row agree and no more was admitted than a minute allows. It is dropped
when later answers never agree.
"""

from llmscale.core.records import Quota
from llmscale.providers.http.quota import QuotaReading, Readings

AGREEING = 3  # readings in a row, of which each may be chance
SURE_SHARE = 1 / 4  # of the limit that is used: such a reading is no chance
DISAGREEING = 20  # readings in a row, over `MIN_DOUBT_S` at least, none of which may be a minute
MIN_DOUBT_S = 20.0
_LONG_S = 10.0  # a limit that is whole only after so long may be one a minute
_STALE_SHARE = 0.1  # of the admitted calls that the headers need not have counted yet


class LimitEvidence:
    """What the readings of one limit say together. Times are seconds on a monotonic clock."""

    def __init__(self, *, counts_calls: bool) -> None:
        """`counts_calls`: the limit is one of requests, of which each reading is one."""
        self._counts_calls = counts_calls
        self.limit: float | None = None  # a minute; infinite once one was dropped; None: unknown
        self._first_s: float | None = None
        self._calls = 0
        self._agreeing = 0
        self._candidate = 0.0
        self._doubted_since_s: float | None = None
        self._disagreeing = 0

    def add(self, reading: QuotaReading, now_s: float, *, is_admitted: bool) -> None:
        """Take in the reading of one answer; one that is a refusal is not `is_admitted`."""
        self._first_s = now_s if self._first_s is None else self._first_s
        self._calls += is_admitted
        if reading.is_minute and not self._is_contradicted(reading, now_s):
            self._agree(reading)
        else:
            self._agreeing = 0
            self._doubt(reading, now_s)

    def _agree(self, reading: QuotaReading) -> None:
        same = reading.limit == self._candidate
        self._candidate = reading.limit
        self._agreeing = self._agreeing + 1 if same else 1
        self._disagreeing = 0
        if self._agreeing >= AGREEING or reading.used >= reading.limit * SURE_SHARE:
            self.limit = reading.limit

    def _doubt(self, reading: QuotaReading, now_s: float) -> None:
        if self.limit in (None, float("inf")):
            return
        if reading.whole_in_s >= _LONG_S:
            self._disagreeing = 0
            return
        if not self._disagreeing:
            self._doubted_since_s = now_s
        self._disagreeing += 1
        since_s = self._doubted_since_s if self._doubted_since_s is not None else now_s
        if self._disagreeing >= DISAGREEING and now_s - since_s >= MIN_DOUBT_S:
            self.limit = float("inf")

    def _is_contradicted(self, reading: QuotaReading, now_s: float) -> bool:
        """Tell whether more calls were admitted than a bucket of a minute holds."""
        if not self._counts_calls or self._first_s is None:
            return False
        drained = reading.limit * (now_s - self._first_s) / 60
        counted = self._calls * (1 - _STALE_SHARE) - drained
        return counted > reading.used + 1


class QuotaEvidence:
    """The limits of one endpoint, by the evidence of all its answers."""

    def __init__(self) -> None:
        self._requests = LimitEvidence(counts_calls=True)
        self._tokens = LimitEvidence(counts_calls=False)

    def add(self, readings: Readings, now_s: float, *, is_admitted: bool) -> None:
        """Take in the readings of one answer; one that is a refusal is not `is_admitted`."""
        if readings.requests is not None:
            self._requests.add(readings.requests, now_s, is_admitted=is_admitted)
        if readings.tokens is not None:
            self._tokens.add(readings.tokens, now_s, is_admitted=is_admitted)

    @property
    def quota(self) -> Quota | None:
        """The limits a minute; None before there is evidence of any."""
        requests, tokens = self._requests.limit, self._tokens.limit
        if requests is None and tokens is None:
            return None
        return Quota(requests_per_min=requests, tokens_per_min=tokens)
