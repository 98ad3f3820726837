"""The table of exit codes against the error tree, --help and the manual."""

import re

from llmscale.cli.exit_codes import EXIT_CODES, EXIT_INTERNAL
from llmscale.commands import help as manual
from llmscale.core import errors
from tests.cli.help_pages import help_of


def codes_of(error: type[errors.JobError]) -> set[int]:
    """Return the exit codes of an error and of all kinds of it."""
    below = [codes_of(kind) for kind in error.__subclasses__()]
    if error is errors.Interrupted:
        return {error(number).exit_code for number in error._REASONS}
    return {error.exit_code}.union(*below)


def test_the_table_has_the_codes_of_the_error_tree_and_no_other() -> None:
    assert set(EXIT_CODES) == codes_of(errors.JobError) | {0, EXIT_INTERNAL}


def test_help_ends_with_the_table() -> None:
    shown = " ".join(help_of("").split())
    _, _, told = shown.partition("Exit codes: ")
    assert told.rstrip(".").split("; ") == [f"{code} {what}" for code, what in EXIT_CODES.items()]


def test_the_manual_explains_each_code() -> None:
    rows = re.findall(r"^\| (\d+) \| ", manual.page("exit-codes"), re.MULTILINE)
    assert [int(code) for code in rows] == list(EXIT_CODES)
