"""Alerts of a run: numbers that cross a bound are logged, and sent to targets.

Looks at the numbers on its own beat; nothing that is watched knows of it, and no alert that can't
be delivered holds up a run. No alert holds a text of a row, of an answer or a key.
"""

from llmscale.observe.alerts.delivery import Delivery
from llmscale.observe.alerts.metrics import RunMetrics, Spent
from llmscale.observe.alerts.targets import Target, target_of
from llmscale.observe.alerts.watch import Alerts, Rules

__all__ = ["Alerts", "Delivery", "Rules", "RunMetrics", "Spent", "Target", "target_of"]
