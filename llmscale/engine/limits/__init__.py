"""Requests and tokens, a minute and a day, of an endpoint or a user. Nothing here waits.

`token_bucket` is one rate a minute, `day_cap` one count a day, `rate_limits` the limits of one
endpoint or user, `user_limits` those of all users.
"""

from llmscale.engine.limits.day_cap import DAY_S, DayCap
from llmscale.engine.limits.rate_limits import RateLimits
from llmscale.engine.limits.token_bucket import BURST_SHARE, PERIOD_S, TokenBucket

__all__ = ["BURST_SHARE", "DAY_S", "PERIOD_S", "DayCap", "RateLimits", "TokenBucket"]
