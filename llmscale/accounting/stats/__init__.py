"""Numbers about a run that add: two shards' `Stats` merge into the whole's.

Counts, sums and mergeable sketches only, so that the size is the same after ten rows and after ten
million. Rows are counted by model, calls by endpoint and model. Decides nothing and prints nothing.
"""

from llmscale.accounting.stats.bottlenecks import BOTTLENECK_OF, BOTTLENECKS, Bottleneck, Cause
from llmscale.accounting.stats.counts import Calls, Lookups, Rows, Spend, Waited
from llmscale.accounting.stats.latency import QUANTILES, RELATIVE_ACCURACY, Latency
from llmscale.accounting.stats.series import Progressed, Series
from llmscale.accounting.stats.totals import Stats

__all__ = [
    "BOTTLENECKS",
    "BOTTLENECK_OF",
    "QUANTILES",
    "RELATIVE_ACCURACY",
    "Bottleneck",
    "Calls",
    "Cause",
    "Latency",
    "Lookups",
    "Progressed",
    "Rows",
    "Series",
    "Spend",
    "Stats",
    "Waited",
]
