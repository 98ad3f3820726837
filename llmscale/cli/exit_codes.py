"""How a command ends: one sentence and an exit code, whatever happened."""

import logging
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmscale.core.errors import BudgetReached, ConfigError, JobError, LockedError

if TYPE_CHECKING:
    from llmscale.observe.json_summary import Told

log = logging.getLogger("llmscale")

_SAY_HOW_TO_GO_ON = (ConfigError, LockedError, BudgetReached)  # not just the same command
EXIT_INTERNAL = 70  # sysexits.h, EX_SOFTWARE


def job_ended(
    flags: dict[str, Any], work: Callable[[Any, "Told"], int], *, keeps: bool = True
) -> int:
    """Load the settings, set up the logs, do the work on them and return the exit code.

    `keeps`: what is done until the end of a job is kept, and the same command resumes.
    """
    from llmscale import config
    from llmscale.observe import logs
    from llmscale.observe.json_summary import Told, summary_line

    told = Told()
    logs.set_up(quiet="quiet" in flags, log_format=flags.get("log_format", "text"))
    file = flags.pop("config", None)

    def command() -> int:
        settings = config.load(flags, file=file)
        said = settings.logging
        logs.set_up(quiet=said.quiet, verbose=said.verbose, log_format=said.log_format)
        return work(settings, told)

    # of a stream nothing is kept, so nothing is resumed
    exit_code = ended(command, resumes=keeps and flags.get("output") != "-", told=told)
    if flags.get("json_summary"):
        print(summary_line(exit_code, told), file=sys.stderr)  # noqa: T201
    return exit_code


def ended(command: Callable[[], int], *, resumes: bool = False, told: "Told | None" = None) -> int:
    """Run a command and return its exit code.

    `resumes`: its command line can be given again. `told` is given the sentence of its error.
    """
    try:
        return command()
    except JobError as error:
        _say(str(error), told)
        if resumes and not isinstance(error, _SAY_HOW_TO_GO_ON):
            again = [word for word in sys.argv[1:] if word != "--overwrite"]
            log.warning("to resume: %s", shlex.join(["llmscale", *again]))
        return error.exit_code
    except KeyboardInterrupt:
        _say("stopped by Ctrl-C", told)
        return 130
    except Exception as error:
        name = type(error).__name__
        _say(
            f"llmscale itself failed ({name}); please report it, with the output of --verbose", told
        )
        log.debug("traceback", exc_info=True)
        return EXIT_INTERNAL


def _say(error: str, told: "Told | None") -> None:
    log.error("%s", error)
    if told is not None:
        told.error = error
