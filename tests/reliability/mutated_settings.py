"""Settings with mutations (I05): whatever they say, there is a job or a sentence, no traceback.

In this process: they are loaded, and where they can be used, all is read and opened as for a run
that sends nothing.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llmscale.commands.run import dry_run
from llmscale.config import SETTINGS, EndpointConfig, UserLimit, load
from llmscale.config.settings import PriceConfig
from llmscale.core.errors import JobError
from tests.benchmarks.jobs import write_prompts
from tests.reliability.against_servers import new_folder
from tests.reliability.figures import Figure
from tests.reliability.mutations import mutated, repeatable

MODELS = ["sim/a", "sim/latency=1,seed=2", "sim/latency=-1", "openai/m", "anthropic/m", "no/m", "m"]
TEXTS = ["", "http://127.0.0.1:9/v1", "https://[::1", "5/s", "7d", "2GB", "{prompt} {x}", "cost"]
NUMBERS = [0, 1, 5, -1, 100_000, 2**63, 2**64, 0.5, 1e308, float("nan"), float("inf")]
PLAIN = st.sampled_from([*MODELS, *TEXTS, *NUMBERS, True, "\x00", "\u2028"]) | st.text(max_size=5)
OBJECTS = st.dictionaries(st.text(max_size=3), PLAIN, max_size=2)
VALUES = PLAIN | st.lists(PLAIN, max_size=2) | OBJECTS
RIGHT: Mapping[str, Any] = {
    "concurrency": 4,
    "timeout": 5,
    "max_tokens": 9,
    "temperature": 0.5,
    "system": "Be short.",
    "stop": ["x"],
    "param": {"top_k": 5},
    "rpm": "10/s",
    "tpm": 5_000,
    "strategy": "cost",
    "endpoint": [{"model": "sim/a", "capacity": 3, "weight": 2}, {"model": "sim/b"}],
    "price": [{"model": "openai/*", "input": 1, "output": 2}],
    "fallback": {"sim/a": ["sim/b"]},
    "limits": {"user": {"rpm": 60, "burst": 5}, "users": {"anna": {"tpm": 9_000}}},
    "cache": {"ttl": "7d", "max_size": "2GB"},
}


def _table(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), VALUES, max_size=3)


ENDPOINTS = st.builds(
    lambda model, more: {"model": model, **more},
    st.sampled_from(MODELS),
    _table(EndpointConfig.__struct_fields__),
)
TABLES: Mapping[str, st.SearchStrategy[Any]] = {
    "endpoint": st.lists(ENDPOINTS, max_size=3),
    "price": st.lists(_table(PriceConfig.__struct_fields__), max_size=2),
    "fallback": st.dictionaries(st.sampled_from(MODELS), st.lists(st.sampled_from(MODELS))),
    "limits": st.fixed_dictionaries({"user": _table(UserLimit.__struct_fields__)}),
    "cache": _table(("mode", "dir", "ttl", "max_size", "other")),
    "embed": _table(("dimensions", "overlap", "chunk_tokens", "include", "other")),
}
NAMES = st.sampled_from([n for n in SETTINGS if n not in ("inputs", *TABLES)])


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Draw a settings file that is right, one of its settings changed, and then some bytes."""
    names = draw(st.sets(st.sampled_from(sorted(RIGHT)), max_size=5))
    found = {name: RIGHT[name] for name in names}
    change = draw(st.integers(0, 3))
    if change == 1:
        found[draw(NAMES)] = draw(VALUES)
    elif change == 2:
        name = draw(st.sampled_from(sorted(TABLES)))
        found[name] = draw(TABLES[name])
    written = "".join(f"{_key(name)} = {_toml(value)}\n" for name, value in found.items()).encode()
    return draw(mutated(written)) if change == 3 else written


def _key(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else json.dumps(name)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        pairs = (f"{_key(name)} = {_toml(inner)}" for name, inner in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


VARIABLES = NAMES.map(lambda name: f"LLMSCALE_{name.upper()}")
FLAG_NAMES = NAMES.filter("param".__ne__)  # which typer reads


def _now_and_then(names: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.just({}) | st.just({}) | st.dictionaries(names, VALUES, max_size=1)


def i05_settings(count: int = 10_000) -> Figure:
    """Mutated settings from file, environment and flags; Hypothesis shows what fails, if any."""
    usable = 0

    @repeatable(count)
    @given(files(), _now_and_then(VARIABLES), _now_and_then(FLAG_NAMES), st.sampled_from(MODELS))
    def look(file: bytes, environ: dict[str, Any], flags: dict[str, Any], model: str) -> None:
        nonlocal usable
        Path("llmscale.toml").write_bytes(file)
        said = ""
        try:
            given_flags = {"model": model, **flags, "inputs": ["prompts.jsonl"]}
            dry_run(load(given_flags, {name: str(value) for name, value in environ.items()}))
            usable += 1
        except JobError as error:
            said = str(error)
        assert "\n" not in said

    with new_folder() as folder, chdir(folder):
        write_prompts(Path("prompts.jsonl"), 3)
        look()
        left = sorted(path.name for path in Path().iterdir())
    value = f"{usable:,} could be used, {len(left) - 2} files left"
    met = usable > 0 and left == ["llmscale.toml", "prompts.jsonl"]
    return Figure("I05", "mutated settings", count, 0, value, "no traceback, 0", met)


CASES: dict[str, list[Callable[[], Figure]]] = {"I05": [i05_settings]}
