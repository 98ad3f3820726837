"""What only some systems have: marks for tests that can't do without it.

The tool itself has a fallback for each; those are tested everywhere, by taking the facility away.
"""

import sys
from pathlib import Path

import pytest

FULL_DEVICE = "/dev/full"
PROC = "/proc/self/stat"

needs_full_device = pytest.mark.skipif(
    not Path(FULL_DEVICE).exists(), reason="only Linux has a device that is always full"
)
needs_proc = pytest.mark.skipif(
    not Path(PROC).exists(), reason="only Linux tells of processes in /proc"
)
needs_raw_names = pytest.mark.skipif(
    sys.platform == "darwin", reason="macOS refuses file names that are not UTF-8"
)
