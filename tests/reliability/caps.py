"""A cap in dollars with 64 in flight (P14): the servers' ledgers say what was billed.

Every call that arrived is taken to be billed: also one that was reset, cut or never answered, whose
cost the tool can't know.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from tests.benchmarks.jobs import MODEL, prompt, write_prompts
from tests.reliability.against_servers import new_folder, run, unanswered
from tests.reliability.calls import calls_in
from tests.reliability.figures import Figure
from tests.servers.chat import COMPLETION_TOKENS, chat_process, prompt_tokens, request_key

MAX_TOKENS = 16
DOUBTFUL = "reset:0.03,cut:0.03,hang:0.005"


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars for a million tokens."""

    input_usd: float
    output_usd: float

    def table(self) -> str:
        """Return them as the settings file has them."""
        prices = f"input = {self.input_usd}\noutput = {self.output_usd}"
        return f'[[price]]\nmodel = "openai/{MODEL}"\n{prices}\n'

    def costs_usd(self, rows: int) -> dict[str | None, float]:
        """Return what a call of each row comes to, by its key, from the server's own counts."""
        questions = [[{"role": "user", "content": prompt(index)}] for index in range(rows)]
        return {request_key(MODEL, asked): self._cost_usd(asked) for asked in questions}

    def _cost_usd(self, asked: list[dict[str, str]]) -> float:
        tokens_in = prompt_tokens(asked)
        return (tokens_in * self.input_usd + COMPLETION_TOKENS * self.output_usd) / 1e6


def p14(caps: int = 25, rows: int = 400, *, faults: str = "") -> Figure:
    """Random caps and prices; each job is held to its cap, and then gets what it still lacks."""
    rng = Random(caps)
    shares = [_spent(rng, rows, faults) for _ in range(caps)]
    bad = sum(not 0 < share <= 1 for share in shares)
    value = f"spent {min(shares):.1%} to {max(shares):.2%} of the cap"
    what = f"caps with 64 in flight{', and faults' if faults else ''}"
    return Figure("P14", what, caps, bad, value, "<= 100 %, never 0", bad == 0)


def _spent(rng: Random, rows: int, faults: str) -> float:
    """Return the share of a cap that was billed; above 1 also where the job can't be finished."""
    prices = Prices(rng.uniform(1, 100), rng.uniform(100, 2_000))
    costs_usd = prices.costs_usd(rows)
    cap_usd = rng.uniform(0.05, 0.9) * sum(costs_usd.values())
    with new_folder() as folder:
        write_prompts(folder / "prompts.jsonl", rows)
        (folder / "llmscale.toml").write_text(prices.table())
        pace = ("--latency", 0.01, "--jitter", 0.03, "--seed", rng.randrange(1_000))
        ledger = ("--ledger", folder / "ledger")
        with chat_process(*pace, *ledger, "--faults", faults) as base_url:
            _ask(folder, base_url, cap_usd)
            billed_usd = sum(costs_usd[call.key] for call in calls_in(folder / "ledger"))
            _ask(folder, base_url, 100 * cap_usd)
        is_finished = not unanswered(folder, rows)
    return billed_usd / cap_usd if is_finished else float("inf")


def _ask(folder: Path, base_url: str, cap_usd: float) -> None:
    to = ("--model", f"openai/{MODEL}", "--base-url", base_url, "--max-tokens", MAX_TOKENS)
    run(folder, *to, "--concurrency", 64, "--timeout", 1, "--max-cost", f"{cap_usd:.6f}")


CASES: dict[str, list[Callable[[], Figure]]] = {"P14": [p14, partial(p14, faults=DOUBTFUL)]}
