"""The status of a run in a file: whole or not there, private, and never in the way of the run."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from llmscale.accounting.stats import Spend, Stats
from llmscale.core.errors import ConfigError
from llmscale.observe.status_file import BEAT_S, JobFigures, RunStatus, StatusFile, load
from tests.observe.alerts import add_rows


def status_file(path: Path, stats: Stats, total: int | None = 40) -> StatusFile:
    return StatusFile(path, stats, JobFigures(total, 10, 5.0, lambda: Spend(cost_usd=0.5)))


def loaded(path: Path) -> RunStatus:
    found = load(path)
    assert found is not None
    return found


async def test_it_is_written_again_and_again_until_it_is_cancelled(tmp_path: Path) -> None:
    path, stats = tmp_path / "s.json", Stats()
    task = asyncio.create_task(status_file(path, stats).watch())
    await asyncio.sleep(BEAT_S / 2)
    first = loaded(path)
    add_rows(stats, 4, 2)
    await asyncio.sleep(BEAT_S)
    second = loaded(path)
    task.cancel()
    await asyncio.wait((task,))
    assert (first.answered, first.failed, first.pending) == (0, 0, 30)
    assert (second.answered, second.failed, second.pending) == (4, 2, 24)
    assert (second.failures, second.cost_usd, second.pid) == ({"timeout": 2}, 0.5, os.getpid())
    assert second.rows_per_s == pytest.approx(6 / BEAT_S, rel=0.5)
    assert [p.name for p in tmp_path.iterdir()] == ["s.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_end_has_the_exit_code(tmp_path: Path) -> None:
    status_file(tmp_path / "s.json", Stats(), None).write_end(130)
    found = loaded(tmp_path / "s.json")
    assert (found.exit_code, found.total, found.pending) == (130, None, None)


@pytest.mark.parametrize("is_pipe", [True, False])
def test_what_can_not_be_written_is_said_once(
    is_pipe: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / ("s.json" if is_pipe else "gone/s.json")
    if is_pipe:
        os.mkfifo(path)
    written = status_file(path, Stats())
    with caplog.at_level(logging.WARNING):
        written.write_end(0)
        written.write_end(0)
    assert len(caplog.records) == 1
    assert path.is_fifo() is is_pipe


def test_what_is_no_status_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert load(tmp_path / "pipe") is None
    assert load(tmp_path / "nothing") is None
    (tmp_path / "half").write_bytes(b'{"pid": 1')
    with pytest.raises(ConfigError, match=r"half is damaged .*; remove it$"):
        load(tmp_path / "half")
