"""Wrong settings (I04): exit 2 and no call; what is said names the setting and what it takes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

from tests.benchmarks.jobs import MODEL, write_prompts
from tests.reliability.against_servers import new_folder, run, while_serving
from tests.reliability.calls import calls_in
from tests.reliability.figures import Figure
from tests.servers.chat import ChatServer

ENDPOINT = f'[[endpoint]]\nmodel = "openai/{MODEL}"\nbase_url = "BASE_URL"\n'
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Wrong:
    """Settings of which one is wrong, and what has to be said of it."""

    says: tuple[str, str]  # which setting, and what it takes
    flags: tuple[str, ...] = ()
    file: str = ""
    env: dict[str, str] = field(default_factory=dict)


def _flag(flag: str, value: str, takes: str) -> Wrong:
    return Wrong((flag, takes), (flag, value))


def _choice(flag: str, value: str, choices: str) -> Wrong:
    return Wrong((f"'{flag}'", f"{value!r} is not one of {choices}"), (flag, value))


def _file(name: str, text: str, takes: str) -> Wrong:
    return Wrong((name, takes), file=text)


WRONG = [
    _flag("--concurrency", "0", "must be at least 1"),
    _flag("--concurrency", "100001", "must be at most 100000"),
    _flag("--timeout", "0", "must be more than 0"),
    _flag("--timeout", "86401", "must be at most 86400"),
    _flag("--max-attempts", "101", "must be at most 100"),
    _flag("--retry-time", "nan", "must be more than 0"),
    _flag("--temperature", "2.5", "must be at most 2"),
    _flag("--temperature", "-0.1", "must be at least 0"),
    _flag("--top-p", "0", "must be more than 0"),
    _flag("--max-tokens", "0", "must be at least 1"),
    _flag("--seed", str(2**64), "64-bit"),
    _flag("--rpm", "fast", "write for example 500, 500/min or 10/s"),
    _flag("--tpm", "0", "must be more than 0"),
    _choice("--strategy", "random", "'least-loaded', 'latency', 'cost', 'round-robin'"),
    _flag("--max-cost", "0", "must be more than 0"),
    _choice("--cache", "sometimes", "'off', 'on', 'read', 'write', 'refresh'"),
    _flag("--cache-ttl", "soon", "write for example 90s, 12h or 7d"),
    _flag("--cache-max-size", "big", "write for example 500MB or 2GB"),
    _choice("--output-format", "xml", "'auto', 'llmscale', 'openai-batch'"),
    _flag("--limit", "0", "must be at least 1"),
    Wrong(("--param", "KEY=JSON"), ("--param", "top_k")),
    Wrong(("LLMSCALE_TIMEOUT", "must be more than 0"), env={"LLMSCALE_TIMEOUT": "0"}),
    Wrong(("LLMSCALE_CONCURENCY", "did you mean concurrency?"), env={"LLMSCALE_CONCURENCY": "5"}),
    _file("endpoint[0].capacity", f"{ENDPOINT}capacity = 0", "must be at least 1"),
    _file("endpoint[0].weight", f"{ENDPOINT}weight = 1001", "must be at most 1000"),
    _file("burst 9 ", f"{ENDPOINT}rpm = 5\nburst = 9", "a part of rpm, which is 5"),
    _file("max_tokens 9 ", f"max_tokens = 9\n{ENDPOINT}tpm = 5", "the limit of 5 tokens a minute"),
    _file("price[0].input", '[[price]]\nmodel = "openai/*"\ninput = -1', "must be at least 0"),
    _file("limits_user", "[limits.user]\nrpm = 0", "must be more than 0"),
    _file("fallback", '[fallback]\n"openai/test" = ["openai/test"]', "names itself"),
    _file("temprature", "temprature = 1", "did you mean temperature?"),
    _file("llmscale.toml", "model = ", "valid TOML"),
]


def i04(wrong: Sequence[Wrong] = WRONG) -> Figure:
    """Each of them, on a job that would else be answered."""
    with new_folder() as folder:
        server = ChatServer(ledger=folder / "ledger")
        folders = [folder / str(number) for number in range(len(wrong))]

        def ask_all() -> list[bool]:
            with ThreadPoolExecutor(WORKERS) as pool:
                return list(pool.map(_is_refused, folders, wrong, repeat(server.base_url)))

        refused = while_serving([server], ask_all)
        calls = len(calls_in(folder / "ledger"))
    bad = [each.says[0] for each, is_refused in zip(wrong, refused, strict=True) if not is_refused]
    value = f"{calls} calls, {len(bad)} otherwise {' '.join(bad)}"
    met = not bad and not calls
    return Figure("I04", "wrong settings", len(wrong), len(bad) + calls, value, "0 calls, 0", met)


def _is_refused(folder: Path, wrong: Wrong, base_url: str) -> bool:
    folder.mkdir()
    write_prompts(folder / "prompts.jsonl", 2)
    own = wrong.file if ENDPOINT in wrong.file else wrong.file + "\n" + ENDPOINT
    (folder / "llmscale.toml").write_text(own.replace("BASE_URL", base_url))
    ended = run(folder, "--model", f"openai/{MODEL}", *wrong.flags, **wrong.env)
    untouched = {path.name for path in folder.iterdir()} == {"prompts.jsonl", "llmscale.toml"}
    is_told = all(words in ended.stderr for words in wrong.says)
    return ended.returncode == 2 and untouched and is_told and "Traceback" not in ended.stderr


CASES: dict[str, list[Callable[[], Figure]]] = {"I04": [i04]}
