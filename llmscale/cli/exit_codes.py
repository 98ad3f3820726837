"""The exit codes in one table, which --help, the manual and the error tree agree with."""

EXIT_STORAGE = 5
EXIT_INTERNAL = 70  # sysexits.h, EX_SOFTWARE
EXIT_CLOSED_PIPE = 141  # 128 + SIGPIPE

EXIT_CODES = {
    0: "all rows answered",
    1: "some rows failed, or a --fail-on rule tripped",
    2: "usage or settings",
    3: "refused, never answered, or too many failures",
    4: "budget reached",
    EXIT_STORAGE: "storage",
    6: "locked by another run",
    EXIT_INTERNAL: "a bug in llmscale",
    129: "SIGHUP",
    130: "Ctrl-C",
    EXIT_CLOSED_PIPE: "stdout closed by its reader",
    143: "SIGTERM",
}
"""What each exit code means."""


def sentence() -> str:
    """Return the table as one sentence."""
    return f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}."
