"""Messages that nobody takes are no errors."""

import os
from pathlib import Path

import pytest

from llmscale.core.standard_streams import _Messages
from tests.platforms import FULL_DEVICE, needs_full_device


@needs_full_device
def test_what_a_full_disk_does_not_take_is_dropped() -> None:
    with Path(FULL_DEVICE).open("wb") as full:
        assert _Messages(full.fileno(), "wb", closefd=False).write(b"said") == 4


@pytest.mark.filterwarnings("error")
def test_what_a_full_pipe_does_not_take_is_not_waited_for() -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    size = 1 << 20
    assert _Messages(writes, "wb", closefd=False).write(bytes(size)) == size
    os.close(reads)
    assert _Messages(writes, "wb", closefd=False).write(b"no reader") == 9
    os.close(writes)
