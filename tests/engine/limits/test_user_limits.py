"""What a user takes, gets back and is forgotten with; virtual time."""

import asyncio
import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.accounting.tokens import TokenEstimates
from llmscale.config import LimitsConfig, UserLimit
from llmscale.core.records import Failure, Outcome, Reply, Row, Usage
from llmscale.engine.limits import RateLimits
from llmscale.engine.limits.user_limits import UserLimits
from llmscale.runtime.limit_terms import limits_of_users
from tests.engine.feed import answered, cached, failed, limits_of, row_of
from tests.virtual_time import virtually


def deduped(row: Row) -> Outcome:
    return answered(row, Usage(20, 5), deduped=True, attempts=0)


def taken(limits: UserLimits, row: Row) -> Row:
    """Take a row that may go now."""
    assert limits.wait_s(row) == 0
    return limits.take(row)


@pytest.mark.looptime
async def test_each_user_has_the_default_or_an_override_in_its_place() -> None:
    limits = limits_of(UserLimit(rpm=60, tpm=100), big=UserLimit(rpm=6_000), free=UserLimit())
    for user in ("a", "big", "free"):
        taken(limits, row_of(user))
    assert limits.wait_s(row_of("a")) == pytest.approx(19, rel=0.01), "a fifth of the tokens"
    assert limits.wait_s(row_of("big", text="x" * 4_000)) == 0
    for _ in range(1_000):
        taken(limits, row_of("free"))
    assert len(limits) == 2, "who has no limit is not known"


@pytest.mark.looptime
async def test_only_named_users_have_limits_where_there_is_no_default() -> None:
    limits = limits_of(slow=UserLimit(rpm=1))
    taken(limits, row_of("slow"))
    assert limits.wait_s(row_of("slow")) == pytest.approx(60, rel=0.01)
    for _ in range(100):
        taken(limits, row_of("other"))


@pytest.mark.looptime
async def test_a_row_without_a_user_or_a_request_has_no_limit() -> None:
    limits = limits_of(UserLimit(rpm=1))
    bad = Row(index=0, user="a", failure=Failure(kind="bad_row", message="not JSON"))
    for row in (row_of(None), bad):
        for _ in range(10):
            assert taken(limits, row) is row
            limits.reconcile(failed(row, 0))
    assert len(limits) == 0


@pytest.mark.looptime
@pytest.mark.parametrize("end", [cached, deduped, lambda row: failed(row, 0)])
async def test_a_row_that_reached_no_provider_gives_back_all_that_it_took(end: object) -> None:
    assert callable(end)
    limits = limits_of(UserLimit(rpm=1, tpm=400))
    row = row_of("a")
    taken(limits, row)
    assert limits.wait_s(row) > 50
    limits.reconcile(end(row))
    assert limits.wait_s(row) == 0
    assert len(limits) == 0, "as if it had never been"


@pytest.mark.looptime
@pytest.mark.parametrize("attempts", [1, 5])
async def test_a_row_that_failed_at_a_provider_has_used_its_quota(attempts: int) -> None:
    limits = limits_of(UserLimit(rpm=1))
    row = row_of("a")
    taken(limits, row)
    limits.reconcile(failed(row, attempts))
    assert limits.wait_s(row) > 50


@pytest.mark.looptime
async def test_the_estimate_is_replaced_by_what_the_provider_reports() -> None:
    async def wait_after(usage: Usage) -> float:
        limits = limits_of(UserLimit(tpm=1_000))
        row = row_of("a", max_tokens=200)
        taken(limits, row)
        limits.reconcile(answered(row, usage))
        return limits.wait_s(row)

    exact, more = await wait_after(Usage(200, 21)), await wait_after(Usage(400, 400))
    assert await wait_after(Usage(2, 2)) < exact < more
    assert await wait_after(Usage()) == pytest.approx(exact, rel=0.05), "nothing is reported"


@pytest.mark.looptime
async def test_an_answer_that_was_paid_for_and_can_not_be_used_counts_with_its_tokens() -> None:
    limits = limits_of(UserLimit(tpm=1_000))
    row = row_of("a")
    taken(limits, row)
    paid = Reply(text="?", finish_reason="length", model="a", usage=Usage(100, 900))
    failure = Failure(kind="schema_mismatch", message="no", reply=paid)
    limits.reconcile(Outcome(row=row, failure=failure, attempts=1))
    assert limits.wait_s(row) > 50


@pytest.mark.looptime
@pytest.mark.parametrize(("output_tokens", "fits"), [(3, True), (900, False)])
async def test_rows_are_judged_by_the_estimates_that_calls_have_taught(
    output_tokens: int, fits: bool
) -> None:
    estimates, row = TokenEstimates(), row_of("a", max_tokens=1_000)
    limiter_of = limits_of_users(LimitsConfig(user=UserLimit(tpm=500)))
    limits = UserLimits(limiter_of, estimates)
    reply = answered(row, Usage(15, output_tokens)).reply
    assert row.request is not None
    assert reply is not None
    for _ in range(60):
        estimates[row.request.model].learn([row.request], [reply])
    assert (limits.take(row).failure is None) is fits


@pytest.mark.looptime
async def test_a_row_above_its_users_minute_takes_nothing_and_says_why() -> None:
    limits = limits_of(UserLimit(rpm=1, tpm=500))
    refused = taken(limits, row_of("a", text="x" * 4_000))
    assert refused.failure is not None
    assert (refused.failure.kind, refused.failure.retryable) == ("invalid_request", False)
    assert "1014 tokens" in refused.failure.message
    assert "500 a minute" in refused.failure.message
    limits.reconcile(failed(refused, 0))
    assert len(limits) == 0
    assert limits.wait_s(row_of("a")) == 0


@pytest.mark.looptime
async def test_a_burst_lets_so_many_rows_go_at_once() -> None:
    limits = limits_of(UserLimit(rpm=60, burst=10))
    at_once = 0
    while limits.wait_s(row_of("a")) == 0:
        limits.take(row_of("a", at_once))
        at_once += 1
    assert at_once == 10


Steps = st.lists(
    st.tuples(st.floats(0, 70), st.integers(1, 400), st.integers(0, 2_000)), max_size=30
)


@given(Steps, st.sampled_from([(60, 1_000, None), (7, None, None), (60, 2_000, 10)]))
def test_a_user_who_is_put_away_and_comes_back_waits_as_if_he_had_stayed(
    steps: list[tuple[float, int, int]], terms: tuple[float, float | None, int | None]
) -> None:
    rpm, tpm, burst = terms

    def budget_from(state: bytes) -> RateLimits:
        budget = RateLimits(rpm, tpm, burst=burst)
        if state:
            budget.resume(state)
        return budget

    async def play() -> None:
        stays, comes_back = budget_from(b""), budget_from(b"")
        for gap_s, tokens, used in steps:
            await asyncio.sleep(gap_s)
            is_full = comes_back.full_in_s() == 0
            comes_back = budget_from(b"" if is_full else comes_back.state())
            assert comes_back.wait_s(tokens) == pytest.approx(stays.wait_s(tokens), abs=1e-6)
            await asyncio.sleep(stays.wait_s(tokens))
            for budget in (stays, comes_back):
                budget.reserve(tokens)
                budget.reconcile(tokens, used)

    virtually(play)


@pytest.mark.looptime
async def test_a_user_is_forgotten_when_his_budgets_are_full_again_and_not_before() -> None:
    limits = limits_of(UserLimit(rpm=6, tpm=1_000))
    row = row_of("a")
    taken(limits, row)
    limits.reconcile(answered(row, Usage(100, 100)))
    await asyncio.sleep(30)
    assert _one_more(limits) == 2, "the tokens are not back yet"
    await asyncio.sleep(200)
    assert _one_more(limits) == 1, "only the last one"


def _one_more(limits: UserLimits) -> int:
    row = row_of("b")
    limits.take(row)
    limits.reconcile(answered(row, Usage(100, 100)))
    return len(limits)


@pytest.mark.looptime
async def test_a_user_with_rows_in_flight_is_never_forgotten() -> None:
    limits = limits_of(UserLimit(rpm=60))
    rows = [row_of("a", 0), row_of("a", 1)]
    for row in rows:
        limits.take(row)
    await asyncio.sleep(1_000)
    limits.reconcile(answered(rows[0]))
    _one_more(limits)
    assert len(limits) == 2
    limits.reconcile(answered(rows[1]))


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("limit", "most_known", "most_bytes"),
    [(UserLimit(rpm=60), 100, 100_000), (UserLimit(rpm=60, tpm=100_000), 4_000, 1_600_000)],
    ids=["requests", "requests and tokens"],
)
async def test_memory_is_that_of_the_users_of_the_last_moments(
    limit: UserLimit, most_known: int, most_bytes: int
) -> None:
    limits = limits_of(limit)
    gc.collect()
    tracemalloc.start()
    for index in range(10_000):
        row = row_of(f"user {index}", index)
        limits.take(row)
        limits.reconcile(answered(row, Usage(15, 5)))
        if index % 50 == 0:
            await asyncio.sleep(1)
    used_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(limits) <= most_known
    assert used_bytes <= most_bytes


@pytest.mark.looptime
async def test_users_whose_rows_all_come_from_the_cache_leave_nothing_behind() -> None:
    limits = limits_of(UserLimit(rpm=60, tpm=100_000))
    for index in range(1_000):
        row = row_of(f"user {index}", index)
        limits.take(row)
        limits.reconcile(cached(row))
    assert len(limits) == 0
