"""Who watches a run and hears of its end: rules and alerts, and files for other programs.

Wrong ones are refused before anything starts; from then on none of it can hurt the run. What is not
asked for is not loaded.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from llmscale.accounting.run_numbers import AlertRecord, Report
from llmscale.accounting.stats import Stats
from llmscale.config import EndpointConfig, ObserveConfig, parse_rules
from llmscale.core.atomic_file import replace_file
from llmscale.core.errors import ConfigError, JobError
from llmscale.core.protocols import OutcomeSink
from llmscale.job.manifest import Manifest
from llmscale.observe.bottleneck import Settings, analyze
from llmscale.report.builder import JobFacts, RunFacts, build
from llmscale.runtime.run_result import RunResult

if TYPE_CHECKING:
    from llmscale.accounting.budget import CostBudget
    from llmscale.engine.balance.endpoint import Endpoint
    from llmscale.observe.alerts import Alerts, Delivery, Target
    from llmscale.observe.junit import Examples
    from llmscale.observe.metrics import MetricsFile
    from llmscale.runtime.session import Watcher


log = logging.getLogger(__name__)


class Observers:
    """All who observe one run."""

    def __init__(self, config: ObserveConfig, output: Path | None) -> None:
        """`output` None: standard output. Raises `ConfigError` for a target that can't be used."""
        self._config = config
        self._job = "-" if output is None else str(output)
        self._kept = 0
        self._targets = [_target(text) for text in config.alert]
        self._alerts: Alerts | None = None
        self._delivery: Delivery | None = None
        self._metrics: MetricsFile | None = None
        self._examples: Examples | None = None

    def through(self, sink: OutcomeSink) -> OutcomeSink:
        """Return where outcomes go, with the observers in between."""
        if self._config.junit is None:
            return sink
        from llmscale.observe.junit import Examples

        self._examples = Examples(sink)
        return self._examples

    def watching(
        self,
        stats: Stats,
        total: int | None,
        kept: int,
        endpoints: Mapping[EndpointConfig, "Endpoint"],
        budget: "CostBudget | None",
    ) -> "list[Watcher]":
        """Return what is to run beside the rows, until it is cancelled."""
        self._kept = kept
        self._alerts = self._alerts_on(stats, budget)
        if self._config.metrics is None:
            return [self._alerts.watch]
        from llmscale.observe.metrics import MetricsFile

        breakers = {endpoint.name: endpoint.breaker for endpoint in endpoints.values()}
        self._metrics = MetricsFile(
            Path(self._config.metrics),
            stats,
            total,
            kept,
            lambda: {name: (one.trips, one.recoveries) for name, one in breakers.items()},
        )
        return [self._alerts.watch, self._metrics.watch]

    @property
    def judge_failures(self) -> bool:
        """Whether a rule of `--fail-on` decides how many failed rows are too many."""
        return any(rule.metric == "errors" for rule in parse_rules(self._config.fail_on or ""))

    def judge(self, exit_code: int, stats: Stats, wall_s: float) -> int:
        """Return the exit code by the rules at the end of the run; a worse one stays."""
        if self._alerts is None:  # nothing had to be asked
            self._alerts = self._alerts_on(stats, None)
        fails = self._alerts.judge_at_end(wall_s)
        return exit_code or int(fails)

    def alerts(self) -> list[AlertRecord]:
        """Return the rules that have tripped."""
        return [] if self._alerts is None else self._alerts.summary()

    def finish(self, report: Report, error: JobError | None = None) -> None:
        """Write what the end of a run calls for. `error` has ended the run."""
        if self._config.junit is not None:
            self._write_junit(Path(self._config.junit), report, error)
        if self._config.metrics is not None:
            self._write_metrics(Path(self._config.metrics), report)
        if self._delivery is not None:
            self._delivery.finish()

    def finish_unchanged(self, job: Manifest) -> RunResult:
        """Report a job that was finished before; nothing was sent, so no rule is judged."""
        report = build(
            Stats(),
            JobFacts(job.rows, job.spend, kept=job.rows, runs=job.runs),
            RunFacts(
                inputs=[file.path for file in job.inputs],
                output=self._job,
                started=datetime.now(UTC),
                wall_s=0.0,
                exit_code=0,
                cache_mode="off",
                store=None,
                endpoints={},
                bottleneck=analyze({}, 0.0, Settings()),
            ),
        )
        self.finish(report)
        return RunResult(0, report)

    def _alerts_on(self, stats: Stats, budget: "CostBudget | None") -> "Alerts":
        from llmscale.observe.alerts import Alerts, Delivery, Rules, Spent

        def spent() -> Spent | None:
            if budget is None:
                return None
            return Spent(budget.spent_usd + budget.unconfirmed_usd, budget.max_usd)

        self._delivery = Delivery(self._targets)
        return Alerts(
            stats,
            spent,
            rules=Rules(
                parse_rules(self._config.fail_on or ""), parse_rules(self._config.alert_on)
            ),
            job=self._job,
            tell=self._delivery.tell,
            kept=self._kept,
        )

    def _write_junit(self, path: Path, report: Report, error: JobError | None) -> None:
        from llmscale.observe.junit import Cases, junit_xml

        cases = Cases(
            rules=[] if self._alerts is None else self._alerts.verdicts(),
            examples={} if self._examples is None else self._examples.kept,
            error=None if error is None else str(error),
            may_fail=self._accepts_failures(),
        )
        try:
            replace_file(path, junit_xml(report, cases))
        except JobError as failed:  # the answers matter more
            log.error("%s", failed)

    def _accepts_failures(self) -> bool:
        """Tell whether a rule about failed rows decides, and holds."""
        verdicts = [] if self._alerts is None else self._alerts.verdicts()
        fails = any(fails for rule, fails, _ in verdicts if rule.startswith("errors"))
        return self.judge_failures and not fails

    def _write_metrics(self, path: Path, report: Report) -> None:
        from llmscale.observe.metrics import MetricsFile

        metrics = self._metrics or MetricsFile(path, Stats(), kept=report.rows.kept)
        metrics.write_end(report.rows.total, report.exit_code)


def _target(text: str) -> "Target":
    from llmscale.observe.alerts import target_of

    try:
        return target_of(text)
    except ValueError as error:
        raise ConfigError(f"--alert: {error}") from None
