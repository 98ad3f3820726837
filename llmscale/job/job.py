"""A job on disk, from its lock to its output: started, resumed, refused or finished.

No finished row is lost or duplicated when the process dies; a call is repeated only if it was in
flight at that moment, and the job counts those.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from llmscale.accounting.stats import Spend
from llmscale.core.atomic_file import publish, sha256_of
from llmscale.core.choices import OutputFormat
from llmscale.core.errors import ConfigError, StorageError
from llmscale.core.output_line import line_of
from llmscale.core.records import Outcome
from llmscale.job import manifest as manifests
from llmscale.job.job_paths import JobPaths
from llmscale.job.journal import Journal
from llmscale.job.lock import JobLock
from llmscale.job.manifest import InputFile, Manifest
from llmscale.job.output_staging import Staging
from llmscale.job.spending import Spending


class Identity(NamedTuple):
    """What makes two runs the same job; `limit` may differ, so that a job can grow."""

    inputs: list[InputFile]
    settings: dict[str, Any]
    limit: int | None


class Job:
    """Holds the lock from the constructor to `close`. Also the `OutcomeSink` of the pipeline."""

    def __init__(
        self,
        files: JobPaths,
        identity: Identity,
        *,
        overwrite: bool = False,
        follows_input: bool = False,
        has_grown: Callable[[list[InputFile]], bool] = lambda _: False,
    ) -> None:
        """`follows_input`: start over where only the input has changed.

        `has_grown`: tells whether rows were only appended to the input of an existing job.

        Raises `LockedError`, and `ConfigError` where the output belongs to another job.
        """
        if not files.output.parent.is_dir():
            raise ConfigError(f"there is no folder {files.output.parent} for the output")
        self.files = files
        self._identity = identity
        self._has_grown = has_grown
        self._lock = JobLock(files.lock)
        try:
            overwrite = overwrite or (follows_input and self._has_other_input())
            self._earlier = None if overwrite else self._load()
            self._replaced_sha256 = sha256_of(files.output) if overwrite else None
            if self._earlier is not None and self._earlier.state == "finished":
                files.partial.unlink(missing_ok=True)  # it is all in OUT, its cost in the manifest
        except BaseException:
            self._lock.release()
            raise
        self._manifest: Manifest | None = None
        self._journal: Journal | None = None
        self._staging: Staging | None = None
        self._spending: Spending | None = None

    @property
    def manifest(self) -> Manifest:
        """The manifest. Only after `begin`, or where the job `is_finished`."""
        known = self._manifest or self._earlier
        assert known is not None  # noqa: S101
        return known

    @property
    def journal(self) -> Journal:
        """The finished rows. Only after `begin`."""
        assert self._journal is not None  # noqa: S101
        return self._journal

    @property
    def staging(self) -> Staging:
        """The next output. Only after `begin`."""
        assert self._staging is not None  # noqa: S101
        return self._staging

    @property
    def is_finished(self) -> bool:
        """Tell whether an earlier run answered every row, and its output is there unchanged."""
        earlier = self._earlier
        return (
            earlier is not None
            and earlier.state == "finished"
            and earlier.limit == self._identity.limit
            and earlier.inputs == self._identity.inputs
            and earlier.answered == earlier.rows
            and self.files.output.exists()
        )

    def begin(self, rows: int, output_format: OutputFormat) -> None:
        """Write the manifest and open the journal, with what earlier runs left in it."""
        earlier = self._earlier
        if earlier is not None and rows < earlier.rows:
            raise ConfigError(
                f"{self.files.output} is a job of {earlier.rows} rows, and --limit {rows} would "
                "drop some; omit --limit, name another output with -o, or start over with "
                "--overwrite"
            )
        if earlier is None:
            self.files.partial.unlink(missing_ok=True)
        left_in_flight = self._lock.left_in_flight if earlier else 0
        inputs, settings, limit = self._identity
        self._manifest = Manifest(
            inputs=inputs,
            settings=settings,
            limit=limit,
            output_format=earlier.output_format if earlier else output_format,
            rows=rows,
            spend=earlier.spend if earlier else Spend(),
            unconfirmed_usd=earlier.unconfirmed_usd if earlier else 0.0,
            runs=earlier.runs + 1 if earlier else 1,
            max_repeated_calls=(earlier.max_repeated_calls if earlier else 0) + left_in_flight,
            output_sha256=earlier.output_sha256 if earlier else None,
            next_output_sha256=earlier.next_output_sha256 if earlier else None,
            replaced_sha256=earlier.replaced_sha256 if earlier else self._replaced_sha256,
        )
        manifests.save(self.files.manifest, self._manifest)
        self._lock.forget_left()
        self._journal = Journal(self.files, rows, self._manifest.output_format)
        if self._manifest.output_sha256 is not None:
            self._journal.load_output()
        self._journal.load_partial()
        self._staging = Staging(self.files.output, self._journal)
        self._spending = Spending(self._lock, self._manifest, self._journal)
        if self._spending.unconfirmed_usd != self._manifest.unconfirmed_usd:
            self._manifest = replace(self._manifest, unconfirmed_usd=self._spending.unconfirmed_usd)
            manifests.save(self.files.manifest, self._manifest)
        self._lock.forget_usd()

    def take_up(self, rows: int) -> None:
        """Count rows as in flight."""
        self._lock.begin(rows)

    def put(self, outcomes: Sequence[Outcome]) -> None:
        """Store outcomes; when this returns, their rows survive the process."""
        output_format = self.manifest.output_format
        self.journal.append([line_of(outcome, output_format) for outcome in outcomes])
        self._lock.end(len(outcomes))
        self.staging.follow()

    def put_back(self) -> None:
        """Count a row as not in flight after all: it was not sent and stays pending."""
        self._lock.end()

    def spend(self, this_run: Spend) -> Spend:
        """Return what the job has cost in all its runs."""
        return self.spending.total(this_run)

    @property
    def spending(self) -> Spending:
        """What it costs. Only after `begin`."""
        assert self._spending is not None  # noqa: S101
        return self._spending

    def pause(self, this_run: Spend) -> None:
        """Record what this run has cost beyond its rows. Where that fails, the lock file has it."""
        spend = self.spending.beyond_rows(this_run)
        paused = replace(self.manifest, spend=spend, unconfirmed_usd=self.spending.unconfirmed_usd)
        if paused.state == "finished":  # `finish` failed in its last steps
            return
        with contextlib.suppress(StorageError):
            if paused != self.manifest:
                manifests.save(self.files.manifest, paused)
            self._lock.forget_usd()

    def finish(self, this_run: Spend) -> None:
        """Put the output in its place, all rows in input order.

        The next run recovers from a crash between any two of these steps. Raises `StorageError`.
        """
        journal = self.journal
        missing = journal.rows - journal.answered - journal.failed
        if missing:
            raise StorageError(f"the input changed while it was read: {missing} rows are missing")
        journal.sync()
        staged, sha256 = self.staging.finish()
        self._manifest = replace(self.manifest, next_output_sha256=sha256)
        manifests.save(self.files.manifest, self._manifest)
        publish(staged, self.files.output)
        self._manifest = replace(
            self._manifest,
            state="finished",
            answered=journal.answered,
            failed=journal.failed,
            spend=self.spending.total(this_run),
            unconfirmed_usd=self.spending.unconfirmed_usd,
            output_sha256=sha256,
            next_output_sha256=None,
            replaced_sha256=None,
        )
        manifests.save(self.files.manifest, self._manifest)
        self._lock.forget_usd()
        self.files.partial.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the journal and release the lock; the job can be resumed."""
        if self._staging is not None:
            self._staging.discard()
            self._staging = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._lock.release()

    def _load(self) -> Manifest | None:
        """Return the manifest of the existing job, None to start one."""
        files = self.files
        found = manifests.load(files.manifest)
        if found is None:
            for path in (files.output, files.partial):
                if path.exists():
                    raise ConfigError(
                        f"{path} exists and is not part of a job; name another output with -o, or "
                        "replace it with --overwrite"
                    )
            return None
        inputs, settings, _ = self._identity
        changed = manifests.differences(found, inputs, settings)
        only_inputs = changed and not manifests.differences(found, found.inputs, settings)
        if only_inputs and self._has_grown(found.inputs):
            changed = []
        if changed:
            raise ConfigError(
                f"{files.output} belongs to another job: {'; '.join(changed)}; name another output "
                "with -o, or start over with --overwrite"
            )
        return self._reconciled(found)

    def _has_other_input(self) -> bool:
        """Tell whether the existing job differs from this one in its input alone."""
        found = manifests.load(self.files.manifest)
        if found is None:
            return False
        inputs, settings, _ = self._identity
        return (
            not manifests.differences(found, found.inputs, settings)
            and manifests.differences(found, inputs, settings) != []
        )

    def _reconciled(self, found: Manifest) -> Manifest | None:
        """Check the manifest against the existing files."""
        files = self.files
        if not files.output.exists():
            if found.state == "finished":  # the answers are lost with the output
                return None
            return replace(found, output_sha256=None)
        sha256 = sha256_of(files.output)
        if sha256 in (found.output_sha256, found.next_output_sha256):
            return replace(found, output_sha256=sha256)
        if sha256 == found.replaced_sha256:
            return found
        raise ConfigError(
            f"{files.output} was modified since the last run; move it away to regenerate it, or "
            "start over with --overwrite"
        )
