"""Draws the rows of a sample: in proportion to models and sizes, the same rows each time."""

import numpy as np

from llmscale.accounting.forecast.strata import Strata, allocate, draw
from llmscale.commands.estimate.job_state import JobState


def draw_sample(job: JobState, size: int) -> list[int]:
    """Return the indexes of about `size` rows without an answer in OUT, each request once.

    Cached rows are drawn too, so that a second sample draws the same rows once they are cached.
    """
    columns = job.columns
    indexes = np.flatnonzero(columns.first & ~columns.answered)
    models, sizes = columns.models[indexes], columns.sizes[indexes]
    rows_by_model = np.bincount(models, minlength=len(job.counts.models))
    strata = Strata(models, sizes, allocate(rows_by_model, size))
    numbers = strata.of(models, sizes)
    counts = allocate(np.bincount(numbers, minlength=strata.count), size)
    return [int(i) for i in draw(numbers, indexes, counts, len(columns.is_row))]
