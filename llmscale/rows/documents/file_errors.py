"""Why one file can't be read. A value: it never ends the job and never hides another file."""

from typing import Literal

import msgspec

from llmscale.rows.file_names import shown_name

FailureReason = Literal[
    "unreadable",  # the system refuses it
    "bad_name",  # the name is not UTF-8
    "not_a_file",  # a pipe, a socket, a device
    "too_large",
    "not_text",  # binary, or not UTF-8
    "damaged",
    "encrypted",
    "no_text",  # pages of pictures only
    "missing_extra",  # a package that reads it is not installed
]


class FileFailure(msgspec.Struct, frozen=True, gc=False):
    """A file or folder that could not be read; `message` is one sentence that names it."""

    source: str
    reason: FailureReason
    message: str


class FileError(Exception):
    """Raised inside this package only; becomes the `FileFailure` of a file."""

    def __init__(self, reason: FailureReason, what: str) -> None:
        super().__init__(what)
        self.reason = reason

    def of(self, source: str) -> FileFailure:
        """Return the failure of a file."""
        shown = shown_name(source)
        return FileFailure(shown, self.reason, f"{shown} {self}")


def system_failure(source: str, error: OSError) -> FileFailure:
    """Return the failure of a file that the system refuses to read."""
    return FileError("unreadable", f"can't be read: {error.strerror or error}").of(source)
