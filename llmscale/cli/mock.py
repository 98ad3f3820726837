"""`llmscale mock`: a server that fails on purpose, to test a run against."""

from typing import Annotated

import typer

from llmscale.cli.command import Options, command, parameters

PORTS = 65_535
SEEDS = 2**63 - 1


class ServerOptions(Options):
    """Where the server listens, and what it records."""

    port: Annotated[
        str, typer.Option(metavar="N", help="Port on 127.0.0.1; 0 picks a free one.")
    ] = "0"
    ledger: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Append every request and its outcome, as JSONL."),
    ] = None
    seed: Annotated[str, typer.Option(metavar="N", help="Seed of jitter and faults.")] = "0"
    scenario: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Change behavior over time and by model, from TOML."),
    ] = None


class LatencyOptions(Options):
    """How long answers take."""

    GROUP = "Latency"

    latency: Annotated[
        str | None, typer.Option(metavar="S", help="Seconds per answer.", show_default="0")
    ] = None
    jitter: Annotated[
        str | None,
        typer.Option(metavar="S", help="Maximum random seconds on top.", show_default="0"),
    ] = None
    slow_tail: Annotated[
        str | None,
        typer.Option(metavar="P", help="Share of calls that take ten times as long: 0.01."),
    ] = None


class FaultOptions(Options):
    """Which calls fail."""

    GROUP = "Faults"

    error_rate: Annotated[
        str | None, typer.Option(metavar="P", help="Share of calls that fail with status 500.")
    ] = None
    hang_rate: Annotated[
        str | None, typer.Option(metavar="P", help="Share of calls that never get an answer.")
    ] = None
    cut_body: Annotated[
        str | None,
        typer.Option(metavar="P", help="Share of answers that end half-way: connection closed."),
    ] = None
    bad_text: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="Fail calls in which this word stands: status 500."),
    ] = None
    finish_reason: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="End chat answers half-way with this finish_reason."),
    ] = None


class QuotaOptions(Options):
    """Which calls get a 429."""

    GROUP = "Limits"

    rpm: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Requests in any 60 s before a 429: 500, 10/s."),
    ] = None
    tpm: Annotated[
        str | None, typer.Option(metavar="RATE", help="Tokens in any 60 s before a 429.")
    ] = None
    retry_after: Annotated[
        str | None,
        typer.Option(
            metavar="S",
            help="Retry-After of a 429.",
            show_default="until the limit allows a request",
        ),
    ] = None
    capacity: Annotated[
        str | None, typer.Option(metavar="N", help="Concurrent calls before a 429.")
    ] = None


class BehaviorOptions(QuotaOptions, FaultOptions, LatencyOptions):
    """How the server answers; the words go to the scenario as they are."""


class MockOptions(BehaviorOptions, ServerOptions):
    """What `llmscale mock` takes."""


@command()
def mock(given: MockOptions) -> None:
    """Serve an OpenAI-compatible API with faults and limits, on loopback.

    Chat completions and embeddings; every answer is a function of its request. Prints the base URL
    when it listens; stops on Ctrl-C or SIGTERM.
    """
    from llmscale.cli.endings import ended

    raise typer.Exit(ended(lambda: _mock(given)))


def _mock(given: MockOptions) -> int:
    from llmscale.mock.process import serve
    from llmscale.mock.scenario_file import scenario_of

    behavior = {name: getattr(given, name) for name in parameters(BehaviorOptions)}
    behavior = {name: value for name, value in behavior.items() if value is not None}
    number, tally = serve(
        scenario_of(behavior, given.scenario),
        port=_whole("--port", given.port, PORTS),
        seed=_whole("--seed", given.seed, SEEDS),
        ledger_file=given.ledger,
        announce=_announce,
    )
    typer.echo(str(tally), err=True)
    return 128 + number


def _whole(flag: str, value: str, maximum: int) -> int:
    from llmscale.core.errors import ConfigError
    from llmscale.mock.behaviour import whole_number

    try:
        return whole_number(value, 0, maximum)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from None


def _announce(base_url: str) -> None:
    from llmscale.core.errors import StorageError

    try:
        typer.echo(base_url)
    except OSError as error:
        raise StorageError(f"can't write to standard output: {error.strerror}") from None
