"""Simulated jobs whose bottleneck is known.

With most of them go a change that the verdict's advice names, which has to make the job faster, and
a change of something else, which must not.
"""

from collections.abc import Sequence
from functools import partial

from llmscale.config import PriceConfig, UserLimit
from llmscale.core.records import Quota
from tests.benchmarks.known_bottleneck import (
    Job,
    all_of_it,
    before_the_slow_one,
    not_silent,
    one_block_late,
    out,
    own,
    refusing,
    resting,
    silent,
    sim,
    until_the_last,
)
from tests.benchmarks.simulated_run import Server, Simulation

QUICK = partial(Server, 0.5)
WIDER = {"settings": {"concurrency": 128}}
TWO_SIM = {"settings": {"endpoint": (sim(capacity=64), sim(capacity=65))}}
TWO_OWN = {"settings": {"endpoint": (own(1), own(2))}}
OWN = {"model": "openai/a", "endpoint": (own(),)}
DEAR = PriceConfig(model="sim/a", input=0.0, output=1_000.0)  # 1,000 tokens: $1

JOBS: Sequence[Job] = [
    Job(
        "600 requests a minute are set",
        Simulation(600, {"rpm": 600}, QUICK),
        "requests",
        until_the_last(),
        "--rpm",
        {"settings": {"rpm": 1200}},
        unheeded=WIDER,
    ),
    Job(
        "the provider tells of 600 requests a minute",
        Simulation(600, OWN, partial(Server, 0.5, quota=Quota(requests_per_min=600.0))),
        "requests",
        until_the_last(),
        "[[endpoint]]",
        TWO_OWN,
        unheeded={"settings": {"rpm": 1200}},
    ),
    Job(
        "the provider refuses more than 10 requests a second",
        Simulation(600, {}, partial(refusing, 10, 1.0)),
        "requests",
        None,
        "[[endpoint]]",
        TWO_SIM,
        unheeded=WIDER,
    ),
    Job(
        "20,000 tokens a minute are set",
        Simulation(600, {"tpm": 20_000, "max_tokens": 10}, QUICK),
        "tokens",
        until_the_last(),
        "--tpm",
        {"settings": {"tpm": 40_000}},
        unheeded=WIDER,
    ),
    Job(
        "ten users with 60 requests a minute each",
        Simulation(600, {"limits_user": UserLimit(rpm=60)}, QUICK, users=10),
        "users",
        until_the_last(),
        "[limits.user]",
        {"settings": {"limits_user": UserLimit(rpm=120)}},
        unheeded=WIDER,
    ),
    Job(
        "64 rows in flight, 20 rounds",
        Simulation(1280),
        "concurrency",
        until_the_last(1.0),
        "--concurrency 128",
        WIDER,
        unheeded={"settings": {"rpm": 60_000}},
    ),
    Job(
        "an endpoint that takes 8 calls at once",
        Simulation(240, {"endpoint": (sim(capacity=8),), "concurrency": 64}),
        "concurrency",
        until_the_last(1.0),
        "capacity",
        {"settings": {"endpoint": (sim(capacity=16),)}},
        unheeded=WIDER,
    ),
    Job(
        "texts in batches of 50, 4 batches in flight",
        Simulation(4_000, {"embed_model": "sim/a", "concurrency": 4}, task="embedding"),
        "concurrency",
        until_the_last(1.0),
        "--concurrency 8",
        {"settings": {"concurrency": 8}},
        unheeded={"settings": {"rpm": 60_000}},
    ),
    Job(
        "a server of one's own that answers 16 at once",
        Simulation(1_600, OWN, partial(Server, slots=16)),
        "provider",
        until_the_last(),
        "[[endpoint]]",
        TWO_OWN,
        unheeded=WIDER,
    ),
    Job(
        "all rows in flight from the start",
        Simulation(64, {}, partial(Server, 30.0)),
        "provider",
        all_of_it,
        "--model",
        {"server": partial(Server, 10.0)},
        unheeded=WIDER,
    ),
    Job(
        "a server of one's own, 64 rows of 30 s",
        Simulation(64, OWN, partial(Server, 30.0)),
        "concurrency",
        until_the_last(30.0),
        "--no-adaptive",
        {"settings": {"adaptive": False}},
        unheeded={"settings": {"rpm": 60_000}},
    ),
    Job(
        "a model in this process",
        Simulation(200, {"model": "local/smollm2"}, partial(Server, slots=4)),
        "provider",
        all_of_it,
        "--model",
        {"server": partial(Server, 0.5, slots=4)},
        unheeded=WIDER,
    ),
    Job(
        "an endpoint that is out for two of three minutes",
        Simulation(3_200, {}, lambda: Server(fate=out(20.0, 140.0))),
        "retries",
        silent,
        "[[endpoint]]",
        {**TWO_SIM, "server": Server},
        unheeded=WIDER,
    ),
    Job(
        "a provider that asks for a rest of 60 s now and then",
        Simulation(300, {}, partial(refusing, 20, 60.0)),
        "retries",
        resting,
        "--rpm",
        {"settings": {"rpm": 600}},
        unheeded=WIDER,
    ),
    Job(
        "a provider that refuses what is more than 16 at once",
        Simulation(400, {"adaptive": False}, partial(Server, 0.5, most=16)),
        "retries",
        None,
        "--concurrency",
        {"settings": {"concurrency": 16}},
        faster=1.3,  # refusals are waited out for a few seconds each
        unheeded={"settings": {"rpm": 60_000}},
    ),
    Job(
        "a budget that covers 4 calls at once",
        Simulation(240, {"max_cost": 6.5, "max_tokens": 1_000, "price": (DEAR,)}),
        "budget",
        until_the_last(1.0),
        "--max-cost",
        {"settings": {"max_cost": 10.5}},
        faster=1.8,  # towards the end less is left to set aside
        unheeded=WIDER,
    ),
    Job(
        "a core that has 10 ms of work for each row",
        Simulation(2_000, {}, partial(Server, 0.1, core_s=0.01)),
        "cpu",
        all_of_it,
        "-o",
        {"rows": 1_000},
        unheeded=WIDER,
    ),
    Job(
        "an input of which 100 rows come in 5 s",
        Simulation(600, {}, QUICK, block_s=lambda _: 5.0),
        "disk",
        until_the_last(6 * 0.5),  # of each block
        unheeded=WIDER,
    ),
    Job(
        "a cache that stores 50 rows a second",
        Simulation(2_000, {}, partial(Server, 0.1), store_s=0.02),
        "disk",
        None,
        "--cache-dir",
        {"store_s": 0.01},
        unheeded=WIDER,
    ),
    Job(
        "half limited by 600 requests a minute, half out",
        Simulation(600, {"rpm": 600}, lambda: Server(0.5, fate=out(30.0, 90.0))),
        "retries",
        silent,
        rest="requests",
    ),
    Job(
        "half read slowly, half limited by 600 requests a minute",
        Simulation(600, {"rpm": 600}, QUICK, block_s=one_block_late(3, 60.0)),
        "requests",
        not_silent,
        rest="disk",
    ),
    Job(
        "one row that takes as long as all others together",
        Simulation(640, {}, partial(Server, slow_row_s=15.0)),
        "concurrency",
        before_the_slow_one,
        rest="provider",
    ),
]
