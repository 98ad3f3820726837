"""S01: a disk that is full stops the run, and a run after it loses nothing."""

import pytest

from tests.reliability.figures import Shows
from tests.reliability.full_disk import can_mount, full_tmpfs, limited_file, read_only


def test_a_file_that_may_not_grow_stops_the_run(shows: Shows) -> None:
    shows(limited_file(stops=1, rows=150))


def test_a_read_only_folder_is_found_out_before_a_call(shows: Shows) -> None:
    shows(read_only())


@pytest.mark.campaign
def test_files_that_may_not_grow_stop_every_run(shows: Shows) -> None:
    shows(limited_file())


@pytest.mark.campaign
def test_a_full_disk_stops_every_run(shows: Shows) -> None:
    if not can_mount():
        pytest.skip("this process may not mount a disk")
    shows(full_tmpfs())
