"""`llmscale cache`: statistics, explanations of misses, removal, export and import.

One module per command. Nothing here sends a request; only `clear`, `prune` and `import_` change the
cache.
"""

from llmscale.commands.cache.explanation import Explanation, Miss, explain
from llmscale.commands.cache.removal import clear, prune
from llmscale.commands.cache.statistics import CacheStats, UseStats, stats
from llmscale.commands.cache.transfer import export, import_

__all__ = [
    "CacheStats",
    "Explanation",
    "Miss",
    "UseStats",
    "clear",
    "explain",
    "export",
    "import_",
    "prune",
    "stats",
]
