"""Requests and tokens, a minute and a day, of an endpoint or a user: asked and told, never asleep.

`bucket` is one rate a minute, `day_cap` one count a day, `limits` what holds for one endpoint.
"""

from llmscale.engine.limits.bucket import BURST_SHARE, PERIOD_S, Bucket
from llmscale.engine.limits.day_cap import DAY_S, DayCap
from llmscale.engine.limits.limits import Limits

__all__ = ["BURST_SHARE", "DAY_S", "PERIOD_S", "Bucket", "DayCap", "Limits"]
