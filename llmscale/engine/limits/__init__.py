"""Requests and tokens, a minute and a day, of an endpoint or a user: asked and told, never asleep.

`bucket` is one rate a minute, `day_cap` one count a day, `limits` what holds for one endpoint.
"""

from llmscale.engine.limits.day_cap import DAY_S, DayCap
from llmscale.engine.limits.rate_limits import RateLimits
from llmscale.engine.limits.token_bucket import BURST_SHARE, PERIOD_S, TokenBucket

__all__ = ["BURST_SHARE", "DAY_S", "PERIOD_S", "DayCap", "RateLimits", "TokenBucket"]
