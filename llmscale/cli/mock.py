"""`llmscale mock`: a server that fails on purpose, to rehearse a run against."""

from typing import Annotated

import typer

PORTS = 65_535
SEEDS = 2**63 - 1


def mock(
    port: Annotated[
        str, typer.Option(metavar="N", help="Where it listens, on 127.0.0.1. 0: any free port.")
    ] = "0",
    latency: Annotated[
        str | None, typer.Option(metavar="S", help="Seconds until an answer. Default: 0.")
    ] = None,
    jitter: Annotated[
        str | None, typer.Option(metavar="S", help="At most so many seconds more. Default: 0.")
    ] = None,
    slow_tail: Annotated[
        str | None,
        typer.Option(metavar="P", help="Share of calls that take ten times as long: 0.01."),
    ] = None,
    error_rate: Annotated[
        str | None, typer.Option(metavar="P", help="Share of calls that end with status 500.")
    ] = None,
    hang_rate: Annotated[
        str | None, typer.Option(metavar="P", help="Share of calls that are never answered.")
    ] = None,
    cut_body: Annotated[
        str | None,
        typer.Option(metavar="P", help="Share of answers that stop half-way: connection closed."),
    ] = None,
    rpm: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Requests in any 60 s; more get 429: 500, 10/s."),
    ] = None,
    tpm: Annotated[
        str | None, typer.Option(metavar="RATE", help="Tokens in any 60 s; more get 429.")
    ] = None,
    retry_after: Annotated[
        str | None,
        typer.Option(
            metavar="S", help="What a 429 asks for. Default: the time until there is room."
        ),
    ] = None,
    capacity: Annotated[
        str | None, typer.Option(metavar="N", help="Calls at once; more get 429.")
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Append what arrived and what became of it, as JSONL."),
    ] = None,
    seed: Annotated[str, typer.Option(metavar="N", help="Of jitter and faults.")] = "0",
    scenario: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What happens when, and to which model: TOML."),
    ] = None,
) -> None:
    """Serve an OpenAI-compatible API on loopback, with faults and limits, to rehearse a run.

    Chat completions and embeddings; every answer is a function of its question. Prints the base URL
    when it listens, and ends with Ctrl-C or SIGTERM.
    """
    from llmscale.cli.exit_codes import ended
    from llmscale.observe import logs

    options = {
        "latency": latency,
        "jitter": jitter,
        "slow_tail": slow_tail,
        "error_rate": error_rate,
        "hang_rate": hang_rate,
        "cut_body": cut_body,
        "rpm": rpm,
        "tpm": tpm,
        "retry_after": retry_after,
        "capacity": capacity,
    }
    given = {name: value for name, value in options.items() if value is not None}
    logs.set_up()
    raise typer.Exit(ended(lambda: _mock(given, scenario, port, seed, ledger)))


def _mock(
    options: dict[str, str], scenario_file: str | None, port: str, seed: str, ledger: str | None
) -> int:
    from llmscale.mock.process import serve
    from llmscale.mock.scenario_file import scenario_of

    number, tally = serve(
        scenario_of(options, scenario_file),
        port=_whole("--port", port, PORTS),
        seed=_whole("--seed", seed, SEEDS),
        ledger_file=ledger,
        announce=_announce,
    )
    typer.echo(str(tally), err=True)
    return 128 + number


def _whole(flag: str, value: str, most: int) -> int:
    from llmscale.core.errors import ConfigError
    from llmscale.mock.behaviour import whole_number

    try:
        return whole_number(value, 0, most)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from None


def _announce(base_url: str) -> None:
    from llmscale.core.errors import StorageError

    try:
        typer.echo(base_url)
    except OSError as error:
        raise StorageError(f"can't write to standard output: {error.strerror}") from None
