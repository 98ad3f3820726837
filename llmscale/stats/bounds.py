"""What can hold a run back: the words for it, the same in code, report and README."""

from typing import Literal, get_args

Bound = Literal[
    "start",  # until the first row may go: reading, checking, loading weights
    "requests",  # a limit of requests, set, told or learned
    "tokens",  # a limit of tokens
    "users",  # the limits of users
    "concurrency",  # more rows in flight would be faster
    "provider",  # it takes its time, and more in flight would not be faster
    "retries",  # an endpoint rests, or a row backs off
    "budget",  # money that is set aside for calls under way
    "cpu",  # of this process
    "disk",  # reading rows, storing answers, writing
    "end",  # after the last row: the output is put in order
]

BOUNDS: tuple[Bound, ...] = get_args(Bound)
