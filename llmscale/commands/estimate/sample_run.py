"""Sends the rows of a sample through the same layers as a run, and records what came of each.

Limits, retries, the cap and the cache are those of the run: it pays nothing again for an answer
that the cache keeps. Writes no output.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from llmscale.accounting.forecast.saved_estimate import Observation, Overhead, Pace, Sample
from llmscale.accounting.stats import Stats
from llmscale.commands.estimate.job_state import JobState
from llmscale.core.records import Outcome
from llmscale.engine.balance.endpoint import Endpoint
from llmscale.engine.layers.cache import is_storable
from llmscale.observe.progress import Progress, how_to_show
from llmscale.runtime.cache import note_use
from llmscale.runtime.costs import budget_of
from llmscale.runtime.event_loop import answer_stoppably
from llmscale.runtime.input_rows import LineReader
from llmscale.runtime.session import OutcomeList, RunContext, Session
from llmscale.runtime.workload import ChatWorkload, chat_parser


def run_sample(job: JobState, indexes: Sequence[int]) -> tuple[Sample, Stats]:
    """Send the rows with these indexes, in ascending order.

    Raises `JobError` as a run does; what was answered until then is in the cache.
    """
    config, models = job.config, job.models
    session = Session.open(config, models, ChatWorkload(config))
    slots = {
        endpoint.name: endpoint.max_in_flight for endpoint in session.opened.endpoints.values()
    }
    outcomes, stats = _answer(job, session, indexes)
    opened = session.opened
    caches = opened.replies is not None and config.cache.mode == "on"
    observations = [_observation(outcome, caches=caches) for outcome in outcomes]
    sent = [outcome for outcome in outcomes if outcome.attempts]
    sample = Sample(
        observations=sorted(observations, key=lambda o: o.index),
        overhead=_overheads(sent, stats),
        paces={e.name: _pace(e, slots[e.name]) for e in opened.endpoints.values()},
        rows_per_s=_rows_per_s(sent, opened.max_in_flight),
    )
    return sample, stats


def _answer(
    job: JobState, session: Session, indexes: Sequence[int]
) -> tuple[Sequence[Outcome], Stats]:
    config, replies = job.config, session.opened.replies
    stats, sink, started = Stats(), OutcomeList(), datetime.now(UTC)
    wanted, last = frozenset(indexes), indexes[-1] + 1
    rows = LineReader(job.sources).rows(
        chat_parser(config, job.models), last, last, lambda index: index not in wanted
    )
    show = how_to_show(quiet=config.logging.quiet, log_format=config.logging.log_format)
    progress = Progress(stats, len(indexes), 0, show)
    context = RunContext(stats, budget_of(config.cost, job.models), watchers=[progress.watch])
    try:
        answer_stoppably(session, rows, sink, context)
    finally:
        if replies is not None:
            note_use(config.cache, replies, stats, started, str(job.paths.output))
    return sink.outcomes, stats


def _observation(outcome: Outcome, *, caches: bool) -> Observation:
    reply, failure = outcome.reply, outcome.failure
    paid = reply or (failure.reply if failure is not None else None)
    return Observation(
        index=outcome.row.index,
        usage=None if paid is None else paid.usage,
        model="" if paid is None else paid.answered_by,
        endpoint="" if paid is None else paid.endpoint,
        latency_s=None if reply is None else reply.latency_s,
        kept=reply is not None and (reply.cached or (caches and is_storable(reply))),
        truncated=reply is not None and reply.finish_reason == "length",
        failure=None if failure is None else failure.kind,
    )


def _rows_per_s(sent: Sequence[Outcome], max_in_flight: int) -> float | None:
    """Return the rows per second until the last one was answered.

    Where all were in flight at once, the slowest determines it; else the sum of their latencies
    over the calls in flight.
    """
    if not sent:
        return None
    taken_s = [outcome.latency_s for outcome in sent]
    seconds = max(*taken_s, sum(taken_s) / min(len(sent), max_in_flight), 1e-6)
    return len(sent) / seconds


def _overheads(sent: Sequence[Outcome], stats: Stats) -> dict[str, Overhead]:
    """Return by model what all attempts took, as a factor of those that are observed."""
    rows: dict[str, int] = {}
    tokens: dict[str, int] = {}
    for outcome in sent:
        if outcome.row.request is None:
            continue
        model = outcome.row.request.model
        rows[model] = rows.get(model, 0) + 1
        paid = outcome.reply or (outcome.failure.reply if outcome.failure else None)
        if paid is not None:
            usage = paid.usage
            tokens[model] = tokens.get(model, 0) + usage.total_tokens
    found = {}
    for model, calls in stats.calls_by_model().items():
        if rows.get(model):
            counted = calls.usage.total_tokens
            of_tokens = counted / tokens[model] if tokens.get(model) else 1.0
            found[model] = Overhead(calls.attempts / rows[model], max(1.0, of_tokens))
    return found


def _pace(endpoint: Endpoint, slots_before: float) -> Pace:
    limits, slots = endpoint.summary()["limits"], endpoint.max_in_flight
    reported = limits.get("provider_rpm"), limits.get("provider_tpm")
    return Pace(slots, slots > slots_before, *reported)
