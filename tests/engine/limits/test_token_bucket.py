"""The bucket against aiolimiter, whose arithmetic it has without its waiting."""

import asyncio

from aiolimiter import AsyncLimiter
from hypothesis import given, settings
from hypothesis import strategies as st

from llmscale.engine.limits.token_bucket import PERIOD_S, LeakyBucket
from tests.virtual_time import virtually

STEPS = st.lists(st.tuples(st.floats(0, 90), st.floats(0.01, 10)), max_size=60)


@settings(max_examples=100, deadline=None)
@given(steps=STEPS)
def test_an_amount_fits_exactly_when_aiolimiter_says_so(steps: list[tuple[float, float]]) -> None:
    async def play() -> None:
        reference, bucket = AsyncLimiter(10, PERIOD_S), LeakyBucket(10, per_period=10)
        for gap_s, amount in steps:
            await asyncio.sleep(gap_s)
            bucket.leak()
            fits = bucket.level + amount <= bucket.size
            assert fits == reference.has_capacity(amount)
            if fits:
                bucket.level += amount
                await reference.acquire(amount)

    virtually(play)
