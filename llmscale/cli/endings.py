"""How a command ends: one sentence and an exit code, whatever happened."""

import logging
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmscale.cli.command import Options
from llmscale.cli.exit_codes import EXIT_INTERNAL, EXIT_STORAGE
from llmscale.core.errors import BudgetReached, ConfigError, JobError, LockedError
from llmscale.core.stdout_errors import is_of_stdout

if TYPE_CHECKING:
    from llmscale.runtime.run_result import RunResult

log = logging.getLogger("llmscale")

_SAY_HOW_TO_GO_ON = (ConfigError, LockedError, BudgetReached)  # not just the same command


def job_ended(given: Options, work: Callable[[Any], "RunResult"], *, keeps: bool = True) -> int:
    """Load the settings, set up the logs, do the work on them and return the exit code.

    `keeps`: what is done until the end of a job is kept, and the same command resumes.
    """
    from llmscale import config
    from llmscale.observe import logs
    from llmscale.observe.json_summary import summary_line

    result: RunResult | None = None
    flags = given.settings()
    logs.set_up(quiet="quiet" in flags, log_format=flags.get("log_format", "text"))

    def command() -> int:
        nonlocal result
        settings = config.load(flags, file=given.config)
        said = settings.logging
        logs.set_up(quiet=said.quiet, verbose=said.verbose, log_format=said.log_format)
        result = work(settings)
        if not said.quiet:
            show_end(result, as_table=said.log_format == "text" and sys.stderr.isatty())
        if result.error is not None:
            raise result.error
        return result.exit_code

    # of a stream nothing is kept, so nothing is resumed
    exit_code, error = _ended(command, resumes=keeps and flags.get("output") != "-")
    if flags.get("json_summary"):
        report = None if result is None else result.report
        print(summary_line(exit_code, report, error), file=sys.stderr)  # noqa: T201
    return exit_code


def show_end(result: "RunResult", *, as_table: bool) -> None:
    """Say on stderr what a run has come to: in a table, or in a line for a log."""
    from llmscale.report.remarks import failures, summary_line

    if result.report is None or result.files is None:
        return
    files = result.files
    if not as_table:
        for sentence in failures(result.report):
            log.warning("%s", sentence)
        log.info("%s%s", summary_line(result.report), files.output and f" -> {files.output}")
        return
    from llmscale.cli.tables.run import print_table

    print_table(result.report)
    where = f"{files.produces} in {files.output}, " if files.output else ""
    log.info("%sreport in %s", where, files.report or "no file")


def ended(command: Callable[[], int]) -> int:
    """Set up the logs, run a command and return its exit code."""
    from llmscale.observe import logs

    logs.set_up()
    return _ended(command)[0]


def _ended(command: Callable[[], int], *, resumes: bool = False) -> tuple[int, str | None]:
    """Run a command and return its exit code, and the sentence of its error.

    `resumes`: its command line can be given again.
    """
    try:
        return command(), None
    except JobError as error:
        log.error("%s", error)
        if resumes and not isinstance(error, _SAY_HOW_TO_GO_ON):
            again = [word for word in sys.argv[1:] if word != "--overwrite"]
            log.warning("to resume: %s", shlex.join(["llmscale", *again]))
        return error.exit_code, str(error)
    except KeyboardInterrupt:
        sentence = "stopped by Ctrl-C"
        log.error("%s", sentence)
        return 130, sentence
    except Exception as error:
        if is_of_stdout(error):
            raise  # `main` ends every command that can't print
        if isinstance(error, OSError):  # the machine's, wherever it was met
            sentence = _of_machine(error)
            log.error("%s", sentence)
            log.debug("traceback", exc_info=True)
            return EXIT_STORAGE, sentence
        name = type(error).__name__
        sentence = (
            f"llmscale itself failed ({name}); please report it, with the output of --verbose"
        )
        log.error("%s", sentence)
        log.debug("traceback", exc_info=True)
        return EXIT_INTERNAL, sentence


def _of_machine(error: OSError) -> str:
    """Return what the system has refused: the file where it names one, and the reason."""
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"can't use {error.filename}: {reason}"
