"""Limits whose unit is guessed: adopted by evidence, doubted where the server admits more."""

from collections.abc import Callable, Iterator

import pytest

from llmscale.providers.http.limit_evidence import DISAGREEING, LimitEvidence
from llmscale.providers.http.quota import QuotaReading

Server = Callable[[float], QuotaReading]
"""Admits a call at a time, and says what it says of its limit."""


def refilled(limit: int, period_s: float) -> Server:
    """A bucket that is refilled all the time, as OpenAI and Anthropic have it."""
    level, last_s = 0.0, 0.0

    def admit(now_s: float) -> QuotaReading:
        nonlocal level, last_s
        level = max(0.0, level - (now_s - last_s) * limit / period_s) + 1
        last_s = now_s
        return QuotaReading(limit, level, level / limit * period_s)

    return admit


def windowed(limit: int, period_s: float, offset_s: float = 0.0) -> Server:
    """A count that begins anew with each window."""
    used, window = 0, -1

    def admit(now_s: float) -> QuotaReading:
        nonlocal used, window
        number, at_s = divmod(now_s + offset_s, period_s)
        used = used + 1 if number == window else 1
        window = int(number)
        return QuotaReading(limit, min(used, limit - 1), period_s - at_s)

    return admit


def limits(server: Server, per_s: float, seconds: float) -> Iterator[float | None]:
    """Yield what is believed after each call, of so many a second, slowed down to what it is."""
    evidence, now_s = LimitEvidence(counts_calls=True), 0.0
    while now_s < seconds:
        evidence.add(server(now_s), now_s, is_admitted=True)
        yield evidence.limit
        pace = per_s if evidence.limit is None else min(per_s, evidence.limit / 60)
        now_s += 1 / pace


@pytest.mark.parametrize("per_s", [1, 20, 300])
@pytest.mark.parametrize("limit", [60, 200, 500, 10_000])
def test_a_bucket_of_a_minute_is_believed_after_three_answers(limit: int, per_s: float) -> None:
    found = list(limits(refilled(limit, 60), per_s, 30))
    assert found[2] == limit
    assert found[-1] == limit


@pytest.mark.parametrize("per_s", [5, 50])
def test_a_window_of_a_minute_that_was_believed_stays_so(per_s: float) -> None:
    found = list(limits(windowed(200, 60), per_s, 600))
    assert found[-1] == 200
    assert float("inf") not in found


@pytest.mark.parametrize("offset_s", [0.0, 0.3, 0.65, 0.7, 0.75, 0.95])
@pytest.mark.parametrize("per_s", [2, 20, 190])
def test_a_limit_of_a_second_is_never_taken_for_one_of_a_minute(
    per_s: float, offset_s: float
) -> None:
    assert set(limits(windowed(200, 1, offset_s), per_s, 60)) == {None}
    assert set(limits(refilled(200, 1), per_s, 60)) == {None}


@pytest.mark.parametrize("per_s", [10, 190])
def test_a_reading_that_never_changes_is_doubted_where_more_was_admitted(per_s: float) -> None:
    """199 of 200 left, whole in 0.3 s: after many calls a bucket of a minute has less left."""
    assert set(limits(lambda _: QuotaReading(200, 1, 0.3), per_s, 60)) <= {None}


def test_a_limit_that_was_believed_by_chance_is_dropped_when_nothing_agrees_any_more() -> None:
    evidence = LimitEvidence(counts_calls=False)
    for second in range(3):
        evidence.add(QuotaReading(200, 1, 0.3), second, is_admitted=True)
    assert evidence.limit == 200
    for second in range(3, 3 + DISAGREEING + 1):
        evidence.add(QuotaReading(200, 2, 0.4), second, is_admitted=True)
    assert evidence.limit == float("inf")


def test_a_good_part_of_a_limit_that_is_used_is_no_chance() -> None:
    evidence = LimitEvidence(counts_calls=True)
    evidence.add(QuotaReading(200, 200, 60.0), 0, is_admitted=False)
    assert evidence.limit == 200
