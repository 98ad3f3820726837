"""The cases that nobody has shown: not built yet, or not to be had on such a machine.

They stand below the table, so that nobody takes what is missing for what is proven.
"""

NOT_BUILT = {
    "S03": "a Redis that is stopped, paused or full: llmscale has no Redis cache yet",
}
