"""Forecasts from a sample: strata and draws, intervals, the saved estimate, and a watch for drift.

Pure numbers: nothing here reads a row, sends a request or knows a price. `strata` and `prediction`
import numpy; `interval`, `saved_estimate` and `drift`, which a run needs, do not.
"""
