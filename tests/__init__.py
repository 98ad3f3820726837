"""Tests of llmscale."""

import os
import sys
from pathlib import Path

if sys.dont_write_bytecode:  # or every process of a test run would compile all modules again
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
