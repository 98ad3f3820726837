"""Five jobs whose bill is known beforehand: lengths of prompts and answers differ in known ways.

Each answer is a function of its row (`tests.servers.lengthy`), so the bill of any part of a job can
be worked out without asking anybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.servers.chat import prompt_tokens
from tests.servers.lengthy import answer_tokens

Row = dict[str, Any]

_WORDS = [
    "the",
    "a",
    "of",
    "an",
    "ink",
    "or",
    "moss",
    "over",
    "tall",
    "river",
    "under",
    "paper",
    "lamp",
    "seven",
]


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the server, its share of the rows, and its price for a million tokens."""

    name: str  # says how long its answers are
    share: float
    input_usd: float
    output_usd: float


@dataclass(frozen=True, slots=True)
class Job:
    """What rows are like."""

    name: str
    models: Sequence[Model]
    words: float  # median of a prompt
    spread: float  # standard deviation of its logarithm
    repeated: float = 0.0  # share of rows that ask the same as another
    stored: float = 0.0  # share of rows that an earlier job has asked
    faults: str = ""  # of the server
    max_tokens: int | None = None

    def rows(self, count: int, seed: int = 1) -> list[Row]:
        """Return the rows."""
        rng = Random(f"{self.name} {seed}")
        distinct = [self._row(rng, number) for number in range(round(count * (1 - self.repeated)))]
        rows = distinct + rng.choices(distinct, k=count - len(distinct))
        rng.shuffle(rows)
        return rows

    def cost_usd(self, row: Row) -> float:
        """Return what one answer to a row costs."""
        model = next(m for m in self.models if row["model"] == f"openai/{m.name}")
        messages = [{"role": "user", "content": row["prompt"]}]
        output = answer_tokens(model.name, messages, self.max_tokens)
        return (prompt_tokens(messages) * model.input_usd + output * model.output_usd) / 1e6

    def settings(self) -> str:
        """Return the settings file with its prices."""
        return "\n".join(
            f'[[price]]\nmodel = "openai/{m.name}"\ninput = {m.input_usd}\noutput = {m.output_usd}'
            for m in self.models
        )

    def _row(self, rng: Random, number: int) -> Row:
        (model,) = rng.choices(self.models, [m.share for m in self.models])
        words = max(3, round(rng.lognormvariate(0, self.spread) * self.words))
        prompt = f"Question {number}: {' '.join(rng.choices(_WORDS, k=words))}?"
        row: Row = {"prompt": prompt, "model": f"openai/{model.name}"}
        return row if self.max_tokens is None else row | {"max_tokens": self.max_tokens}


JOBS = (
    Job("even", [Model("even-120-0.4", 1, 0.4, 1.6)], words=60, spread=0.3),
    Job("skewed answers", [Model("skew-150-1.0", 1, 0.4, 1.6)], 60, 0.8, repeated=0.1),
    Job("long prompts", [Model("brief-20-0.5", 1, 3, 15)], 300, 1.3, stored=0.3),
    Job(
        "two models",
        [Model("cheap-200-0.6", 0.8, 0.1, 0.4), Model("dear-300-0.6", 0.2, 3, 15)],
        words=80,
        spread=0.6,
        repeated=0.2,
        faults="500:0.05,400:0.01",
    ),
    Job(
        "answers go with prompts",
        [Model("echo-150-0.5-0.8", 1, 0.4, 1.6)],
        words=80,
        spread=0.9,
        faults="429:0.03",
        max_tokens=800,
    ),
)
