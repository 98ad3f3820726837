"""What holds a run back, moment by moment, and the analysis of all of it.

At any moment one thing is scarce: what the calls that wait are waiting for, or else what those are
busy with that do not. A resource that is always busy is what binds (Goldratt, "The Goal", 1984; the
utilisation law of queueing theory). The seconds of all bounds add up to the time of the run.
"""

from llmscale.observe.bottleneck.analysis import Settings, analyze
from llmscale.observe.bottleneck.snapshot import Snapshot, shares

__all__ = ["Settings", "Snapshot", "analyze", "shares"]
