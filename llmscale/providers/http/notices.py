"""What is said once and not for every row: a word that nobody knows, a count that is none."""

import logging

MAX_NOTICES = 20


class Notices:
    """Warns once of each thing, and no more often than there is something to learn from it."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: set[str] = set()

    def once(self, message: str) -> None:
        """Warn, unless that was said before."""
        if message not in self._said and len(self._said) < MAX_NOTICES:
            self._said.add(message)
            self._log.warning("%s", message)
