"""Alarms of a run: numbers that cross a bound are said in the log, and to whoever is to be told.

Looks at the numbers on its own beat; nothing that is watched knows of it, and no alarm that can't
be delivered holds up a run. No alarm holds a text of a row, of an answer or a key.
"""

from llmscale.observe.alarms.numbers import Numbers, Spent
from llmscale.observe.alarms.targets import Target, target_of
from llmscale.observe.alarms.telling import Telling
from llmscale.observe.alarms.watch import Alarms

__all__ = ["Alarms", "Numbers", "Spent", "Target", "Telling", "target_of"]
