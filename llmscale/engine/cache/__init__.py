"""Answers that were paid for once: `cached` is the layer, `keys` says what makes two requests one.

`store` keeps entries on disk, `writing` commits them in groups off the event loop, `entry` is one
stored answer as bytes, `history` the counts of all runs. A broken cache costs hits, never the run.
"""
