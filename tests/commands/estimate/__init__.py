"""Columns of rows that were never in a file."""

from typing import Any

import numpy as np

from llmscale.commands.estimate.row_columns import RowColumns


def columns(rows: int, *, repeated: int = 0, **fields: Any) -> RowColumns:
    """Return rows of 80 characters, 40 of them text, of at most 90 tokens in and 50 out."""
    asked = np.arange(rows) < rows - repeated
    usual: dict[str, Any] = {
        "is_row": np.ones(rows, np.bool_),
        "answered": np.zeros(rows, np.bool_),
        "cached": np.zeros(rows, np.bool_),
        "first": asked,
        "asked": asked,
        "repeated": ~asked,
        "models": np.zeros(rows, np.uint32),
        "users": np.zeros(rows, np.uint32),
        "sizes": np.full(rows, 80, np.uint32),
        "text_sizes": np.full(rows, 40, np.uint32),
        "max_input": np.full(rows, 90, np.uint32),
        "max_output": np.full(rows, 50, np.uint32),
    }
    return RowColumns(**(usual | fields))
