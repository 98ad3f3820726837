"""What a job has cost in all its runs, with the cost that no row in the journal accounts for.

That is the cost of calls that failed, and the unconfirmed cost of calls whose outcome is unknown.
After an orderly end it is in the manifest, until then in the lock file, which survives a SIGKILL.
"""

from llmscale.accounting.stats import Spend
from llmscale.job.journal import Journal
from llmscale.job.lock import JobLock
from llmscale.job.manifest import Manifest


class Spending:
    """The cost of one job, from the moment its journal is loaded."""

    def __init__(self, lock: JobLock, manifest: Manifest, journal: Journal) -> None:
        """Take over what a process that died has recorded, beyond the cost of its rows."""
        self._lock = lock
        self._journal = journal
        self._earlier = manifest.spend  # up to the last output
        self.unconfirmed_usd = manifest.unconfirmed_usd
        """The most that calls of unknown outcome may have cost, beside `total`."""
        if lock.left_usd is not None and manifest.runs > 1:  # else it was another job's
            self.unconfirmed_usd = max(
                self.unconfirmed_usd, lock.left_usd - self.total(Spend()).cost_usd
            )

    def total(self, this_run: Spend) -> Spend:
        """Return what the job has cost."""
        return self._earlier + self._journal.resumed_spend + this_run

    def beyond_rows(self, this_run: Spend) -> Spend:
        """Return the cost that is not in the journal, which has that of its rows."""
        beyond_usd = max(0.0, this_run.cost_usd - self._journal.added_usd)
        return self._earlier + Spend(cost_usd=beyond_usd)

    def note(self, committed_usd: float, unconfirmed_usd: float) -> None:
        """Record the most that the job has cost by now, and how much of that is unconfirmed."""
        self._lock.note_usd(committed_usd)
        self.unconfirmed_usd = unconfirmed_usd
