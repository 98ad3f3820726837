"""The file is whole at any moment, kept up to date, for all to read, and never worth a run."""

import asyncio
import os
from pathlib import Path

import pytest

from llmscale.accounting.stats import Stats
from llmscale.observe.metrics import MetricsFile
from llmscale.observe.metrics.metrics_file import BEAT_S
from tests.observe.alerts import add_rows, said
from tests.virtual_time import Inline


def answered(path: Path) -> float:
    """Return how many rows the file says are answered."""
    (line,) = (x for x in path.read_text().splitlines() if 'state="answered"' in x)
    return float(line.rpartition(" ")[2])


@pytest.mark.looptime
async def test_it_is_there_at_once_and_kept_up_to_date(tmp_path: Path) -> None:
    asyncio.get_running_loop().set_default_executor(Inline())
    path, stats = tmp_path / "nightly.prom", Stats()
    task = asyncio.create_task(MetricsFile(path, stats, 10).watch())
    await asyncio.sleep(0.1)
    assert answered(path) == 0
    add_rows(stats, 3)
    await asyncio.sleep(BEAT_S)
    assert answered(path) == 3
    task.cancel()
    await asyncio.wait((task,))
    assert list(tmp_path.iterdir()) == [path]


def test_the_end_has_the_exit_code_and_the_label_is_the_name_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "nightly.prom"
    MetricsFile(path, Stats(), 10, 4).write_end(10, 3)
    text = path.read_text()
    assert 'llmscale_exit_code{run="nightly"} 3\n' in text
    assert 'llmscale_rows{run="nightly",state="kept"} 4\n' in text
    assert 'llmscale_rows{run="nightly",state="pending"} 6\n' in text


def test_everybody_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "nightly.prom"
    before = os.umask(0o077)
    try:
        MetricsFile(path, Stats()).write_end(0, 0)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


def test_an_earlier_file_is_replaced_and_not_written_into(tmp_path: Path) -> None:
    path, other = tmp_path / "nightly.prom", tmp_path / "other"
    other.write_text("of somebody else")
    path.symlink_to(other)
    MetricsFile(path, Stats()).write_end(0, 0)
    assert other.read_text() == "of somebody else"
    assert not path.is_symlink()


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "other"
    other.write_text("of somebody else")
    (tmp_path / "nightly.prom.tmp").symlink_to(other)
    MetricsFile(tmp_path / "nightly.prom", Stats()).write_end(0, 0)
    assert other.read_text() == "of somebody else"
    assert len(caplog.records) == 1


def test_what_can_not_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = MetricsFile(tmp_path / "gone" / "nightly.prom", Stats())
    metrics.write_end(0, 0)
    metrics.write_end(0, 0)
    (message,) = said(caplog.records)
    assert message.startswith("WARNING: can't write the metrics ")
    assert message.endswith("No such file or directory")
