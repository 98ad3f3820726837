"""What rows will come to, told from some of them: strata, draws, intervals, and a watch on them.

Pure numbers: nothing here reads a row, sends a request or knows a price. `strata` and `prediction`
load numpy, `span`, `kept` and `drift` do not: a run needs only those.
"""
