"""What is said on stderr while a run goes on: plain lines or JSON, never a control character.

Text that a model or a server wrote can end up in a message; before it reaches a terminal,
everything that could steer one is taken out, or in JSON written as an escape.
"""

import logging
import sys
import time
from datetime import datetime
from typing import TextIO

from llmscale.core.choices import LogFormat
from llmscale.core.json_text import dumps
from llmscale.core.printable import printable


class TextFormatter(logging.Formatter):
    """`12:34:56 warning: ...`; in a log, which is read later, with the date and the zone."""

    def __init__(self, *, dated: bool) -> None:
        super().__init__()
        self._dated = dated

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and for a fault of ours its traceback below it."""
        clock = self._clock(record.created)
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        lines = [f"{clock} {level}{printable(record.getMessage())}"]
        if record.exc_info:
            lines += [printable(t) for t in self.formatException(record.exc_info).splitlines()]
        return "\n".join(lines)

    def _clock(self, seconds: float) -> str:
        if self._dated:
            return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
        return time.strftime("%H:%M:%S", time.localtime(seconds))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (seconds since 1970), `level`, `message`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        entry = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "message": printable(record.getMessage()),
        }
        if record.exc_info:
            entry["traceback"] = printable(self.formatException(record.exc_info))
        return dumps(entry).decode()


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to stderr; while a progress bar is there, above it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.setStream(sys.stderr)
        bars = sys.modules.get("tqdm")
        if bars is None:
            super().emit(record)
        else:
            with bars.tqdm.external_write_mode(file=sys.stderr):
                super().emit(record)


def set_up(*, quiet: bool = False, verbose: bool = False, log_format: LogFormat = "text") -> None:
    """Send the log of this package to stderr, with the event loop's complaints, and of no other."""
    handler = StderrHandler()
    dated = sys.stderr is None or not sys.stderr.isatty()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter(dated=dated))
    log = logging.getLogger("llmscale")
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    # what nobody waited for may say what a server said
    logging.getLogger("asyncio").handlers[:] = [handler]
    # or Python itself would print warnings of other packages, as they are
    logging.lastResort = logging.NullHandler()
