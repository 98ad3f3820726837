"""Draws the rows of a sample: in proportion to models and sizes, the same rows each time."""

import numpy as np

from llmscale.accounting.forecast.strata import draw_stratified
from llmscale.commands.estimate.job_state import JobState


def draw_sample(job: JobState, size: int) -> list[int]:
    """Return the indexes of about `size` rows without an answer in OUT, each request once.

    Cached rows are drawn too, so that a second sample draws the same rows once they are cached.
    """
    columns = job.columns
    indexes = np.flatnonzero(columns.first & ~columns.answered)
    models, sizes = columns.models[indexes], columns.sizes[indexes]
    drawn = draw_stratified(models, sizes, indexes, len(columns.is_row), size)
    return [int(index) for index in drawn]
