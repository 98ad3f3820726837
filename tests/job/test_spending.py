"""What a job has cost is known over all its runs, however they end, and never too low."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmscale.accounting.stats import Spend
from llmscale.core.errors import StorageError
from llmscale.job import manifest as manifests
from llmscale.job.job import Job
from llmscale.job.manifest import Manifest
from tests.job import ONE_CALL, ROWS, Killed, Run


def costs(job: Job) -> tuple[float, float]:
    """Return the cost of the job until now, and its unconfirmed cost."""
    return job.spend(Spend()).cost_usd, job.spending.unconfirmed_usd


@contextmanager
def killed() -> Iterator[None]:
    """Let the kill through that has to come."""
    with pytest.raises(Killed):
        yield


def die_after(folder: Path, committed_usd: float, unconfirmed_usd: float = 0.0) -> None:
    """Ask two rows, and be killed when so much was spent and set aside."""
    with killed(), Run(folder).up_to_the_end(most=2) as job:
        job.spending.note(committed_usd, unconfirmed_usd)
        raise Killed


def test_after_a_kill_what_was_set_aside_counts_as_unseen(folder: Path) -> None:
    """Two rows are in the journal, for a dollar in all; 3.25 was the most by then."""
    die_after(folder, 3.25)
    with Run(folder).up_to_the_end(most=0) as job:
        assert costs(job) == pytest.approx((1.0, 2.25))
    with Run(folder).up_to_the_end(most=0) as job:
        assert costs(job) == pytest.approx((1.0, 2.25)), "and is not counted again"


def test_after_kill_on_kill_it_adds_up(folder: Path) -> None:
    die_after(folder, 3.25)
    with killed(), Run(folder).up_to_the_end(most=1) as job:
        assert job.spending.unconfirmed_usd == pytest.approx(2.25)
        job.spending.note(1.5 + 2.25 + 0.75, 2.25)  # the rows, what was unseen, and in flight
        raise Killed
    with Run(folder).up_to_the_end(most=0) as job:
        assert costs(job) == pytest.approx((1.5, 3.0))


def test_what_a_kill_leaves_is_not_lost_to_a_kill_at_the_start_of_the_next_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_after(folder, 3.25)
    really = manifests.save
    for step in range(3):
        saves: list[Path] = []

        def save(path: Path, manifest: Manifest, step: int = step, saves: Any = saves) -> None:
            saves.append(path)
            if len(saves) > step:
                raise Killed
            really(path, manifest)

        with monkeypatch.context() as patch, killed():
            patch.setattr(manifests, "save", save)
            with Run(folder).up_to_the_end(most=0):
                raise Killed
    with Run(folder).up_to_the_end(most=0) as job:
        assert costs(job) == pytest.approx((1.0, 2.25))


def test_at_an_orderly_stop_the_manifest_keeps_the_cost_of_no_row_and_the_lock_is_removed(
    folder: Path,
) -> None:
    """Two rows for a dollar; a call that failed was paid with 0.25, another may have cost 0.5."""
    with Run(folder).up_to_the_end(most=2) as job:
        job.spending.note(1.75, 0.5)
        job.pause(ONE_CALL + ONE_CALL + Spend(cost_usd=0.25))
    assert not (folder / "out.jsonl.lock").exists()
    with Run(folder).up_to_the_end(most=0) as job:
        assert costs(job) == pytest.approx((1.25, 0.5))
        job.pause(Spend())
    with Run(folder).up_to_the_end(most=0) as job:
        assert costs(job) == pytest.approx((1.25, 0.5)), "a run that asks nothing changes nothing"


def test_on_a_full_disk_the_lock_keeps_it_for_the_next_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("no space left")

    with Run(folder).up_to_the_end(most=2) as job, monkeypatch.context() as patch:
        job.spending.note(1.75, 0.5)
        patch.setattr(manifests, "save", full)
        job.pause(ONE_CALL + ONE_CALL + Spend(cost_usd=0.25))
    assert (folder / "out.jsonl.lock").exists()
    with Run(folder).up_to_the_end(most=0) as job:
        spent_usd, unconfirmed_usd = costs(job)
        assert spent_usd + unconfirmed_usd == pytest.approx(1.75)


def test_a_finished_job_knows_its_unconfirmed_cost(folder: Path) -> None:
    with Run(folder, failing=(3,)).up_to_the_end() as job:
        job.spending.note(2.5, 0.5)
        job.finish((ONE_CALL + ONE_CALL) + (ONE_CALL + ONE_CALL))
    assert not (folder / "out.jsonl.lock").exists()
    with Run(folder).up_to_the_end(most=0) as job:
        assert costs(job) == (2.0, 0.5)


def test_a_job_that_starts_over_has_no_cost(folder: Path) -> None:
    die_after(folder, 3.25)
    with Run(folder, overwrite=True).up_to_the_end(most=0) as job:
        assert costs(job) == (0.0, 0.0)


def test_a_run_that_is_refused_does_not_lose_what_a_kill_has_left(folder: Path) -> None:
    die_after(folder, 3.25)
    for _ in range(2):
        job = Job(Run(folder)._files, Run(folder)._identity)
        job.close()
    with Run(folder).up_to_the_end(most=0) as job:
        assert costs(job) == pytest.approx((1.0, 2.25))


def test_without_a_cap_a_kill_leaves_no_dollars_behind(folder: Path) -> None:
    with killed(), Run(folder).up_to_the_end(most=ROWS - 1):
        raise Killed
    with Run(folder).up_to_the_end(most=0) as job:
        assert costs(job) == ((ROWS - 1) * 0.5, 0.0)
