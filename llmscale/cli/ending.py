"""How a command ends: one sentence and an exit code, whatever happened."""

import logging
import shlex
import sys
from collections.abc import Callable

from llmscale.errors import BudgetReached, ConfigError, JobError, LockedError

log = logging.getLogger("llmscale")

_SAY_HOW_TO_GO_ON = (ConfigError, LockedError, BudgetReached)  # not just the same command
EXIT_INTERNAL = 70  # sysexits.h, EX_SOFTWARE


def ended(command: Callable[[], int], *, resumes: bool = False) -> int:
    """Run a command and return its exit code. `resumes`: its command line can be given again."""
    try:
        return command()
    except JobError as error:
        log.error("%s", error)
        if resumes and not isinstance(error, _SAY_HOW_TO_GO_ON):
            again = [word for word in sys.argv[1:] if word != "--overwrite"]
            log.warning("to resume: %s", shlex.join(["llmscale", *again]))
        return error.exit_code
    except KeyboardInterrupt:
        log.error("stopped by Ctrl-C")
        return 130
    except Exception as error:
        log.error(
            "llmscale itself failed (%s); please report it, with the output of --verbose",
            type(error).__name__,
        )
        log.debug("traceback", exc_info=True)
        return EXIT_INTERNAL
