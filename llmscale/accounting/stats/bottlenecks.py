"""What can hold a run back: the words for it, and the causes that a remedy depends on."""

from typing import Literal, get_args

Bottleneck = Literal[
    "start",  # until the first row may go: reading, checking, loading weights
    "requests",  # a limit of requests: configured, reported or learned
    "tokens",  # a limit of tokens
    "users",  # the limits of users
    "concurrency",  # more rows in flight would be faster
    "provider",  # it takes its time, and more in flight would not be faster
    "retries",  # an endpoint is in a cooldown, or a row backs off
    "budget",  # money that is set aside for calls under way
    "cpu",  # of this process
    "disk",  # reading rows, storing answers, writing
    "end",  # after the last row: the output is put in order
]
"""The same in code, report and manual."""

BOTTLENECKS: tuple[Bottleneck, ...] = get_args(Bottleneck)

Cause = Literal[
    "start",
    "rpm",  # as set
    "rpd",  # of a day
    "provider_rpm",  # by the provider, and less than is set
    "adaptive_rpm",  # from refusals
    "tpm",
    "tpd",
    "provider_tpm",
    "users",
    "width",  # all rows that may be in flight are
    "capacity",  # all calls that an endpoint may have in flight are
    "ramp",  # an endpoint gets fewer until it is known how many it bears
    "last",  # calls in flight, and no row is left to take up
    "saturated",  # the endpoint was found to bear no more
    "local",  # the model in this process has all the calls that are of use
    "refused",  # more was sent than the provider takes in a time that it names
    "too_many",  # more was sent than it takes at once
    "failing",  # calls fail
    "budget",
    "cpu",
    "starved",  # other programs have the cores
    "reading",  # the next row is not there yet
    "cache",  # rows are looked up
    "storing",  # answers wait to be stored
    "writing",  # the event loop stands still until the output takes what is written
    "end",
]

BOTTLENECK_OF: dict[Cause, Bottleneck] = {
    "start": "start",
    "rpm": "requests",
    "rpd": "requests",
    "provider_rpm": "requests",
    "adaptive_rpm": "requests",
    "tpm": "tokens",
    "tpd": "tokens",
    "provider_tpm": "tokens",
    "users": "users",
    "width": "concurrency",
    "capacity": "concurrency",
    "ramp": "concurrency",
    "last": "provider",
    "saturated": "provider",
    "local": "provider",
    "refused": "retries",
    "too_many": "retries",
    "failing": "retries",
    "budget": "budget",
    "cpu": "cpu",
    "starved": "cpu",
    "reading": "disk",
    "cache": "disk",
    "storing": "disk",
    "writing": "disk",
    "end": "end",
}
