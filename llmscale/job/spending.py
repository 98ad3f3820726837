"""What a job has cost in all its runs, and what of it no row in the journal tells.

That is what was paid for calls that failed, and what calls whose end nobody saw may have cost: at
an orderly end the manifest keeps it, and until then the lock file, which outlives a SIGKILL.
"""

from llmscale.accounting.stats import Spend
from llmscale.job.journal import Journal
from llmscale.job.lock import JobLock
from llmscale.job.manifest import Manifest


class Spending:
    """The cost of one job, from the moment its journal is loaded."""

    def __init__(self, lock: JobLock, manifest: Manifest, journal: Journal) -> None:
        """Takes over what a process that died has noted, beyond what its rows say."""
        self._lock = lock
        self._journal = journal
        self._earlier = manifest.spend  # up to the last output
        self.unconfirmed_usd = manifest.unconfirmed_usd
        """What calls whose end nobody saw may have cost, beside `total`."""
        if lock.left_usd is not None and manifest.runs > 1:  # else it was another job's
            self.unconfirmed_usd = max(
                self.unconfirmed_usd, lock.left_usd - self.total(Spend()).cost_usd
            )

    def total(self, this_run: Spend) -> Spend:
        """Return what the job has cost."""
        return self._earlier + self._journal.kept_spend + this_run

    def beyond_rows(self, this_run: Spend) -> Spend:
        """Return what is to be kept of the cost when the journal keeps that of the rows."""
        beyond_usd = max(0.0, this_run.cost_usd - self._journal.added_usd)
        return self._earlier + Spend(cost_usd=beyond_usd)

    def note(self, committed_usd: float, unconfirmed_usd: float) -> None:
        """Note what the job has cost at most by now, and what of that nobody has seen."""
        self._lock.note_usd(committed_usd)
        self.unconfirmed_usd = unconfirmed_usd
