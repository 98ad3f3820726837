"""How long a person waits for nothing: the help, and a job that is done already.

Each is measured in turn with `import typer`, below which no command line of its kind can get.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.jobs import environment, insist, program, run_command_line, write_prompts
from tests.benchmarks.machine import print_machine
from tests.benchmarks.paired import Sample, alternate, print_pairs, run_command
from tests.servers.chat import chat_process

ROWS = 1000


def compare(name: str, command: list[str], folder: Path, runs: int) -> None:
    """Print the wall time of a command beside that of the import."""
    floor = [sys.executable, "-c", "import typer"]

    def run(command: list[str]) -> Sample:
        return run_command(command, cwd=folder, env=environment(folder))

    run(command)  # the first one compiles and fills the page cache
    print()
    print_pairs(name, "import typer", alternate(lambda: run(command), lambda: run(floor), runs))


def main() -> None:
    """Measure each command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.startup")
    parser.add_argument("--runs", type=int, default=20, help="of each")
    options = parser.parse_args()
    print_machine()
    print("minimum / median / maximum")
    with tempfile.TemporaryDirectory() as name, chat_process() as base_url:
        folder = Path(name)
        write_prompts(folder / "prompts.jsonl", ROWS)
        again = run_command_line(base_url)
        run_command(again, cwd=folder, env=environment(folder))
        insist(folder / "out.jsonl", ROWS)
        compare("llmscale --help", [program(), "--help"], folder, options.runs)
        compare("llmscale run --help", [program(), "run", "--help"], folder, options.runs)
        compare(f"a finished job of {ROWS:,} rows again", again, folder, options.runs)


if __name__ == "__main__":
    main()
