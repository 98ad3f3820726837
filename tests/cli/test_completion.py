"""Shell completion, with a real bash and with what scripts of other shells send."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.tool import environment, llmscale

BASH = """
source "$1"
complete -p llmscale
complete_words() { # WORDS...: prints what Tab offers for the last of them
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    COMPREPLY=()
    _llmscale_completion llmscale
    echo "$*: ${COMPREPLY[*]}"
}
complete_words llmscale ""
complete_words llmscale ru
complete_words llmscale run --max-
complete_words llmscale run x --cache re
complete_words llmscale cache e
"""


def test_bash_completes_commands_options_and_values(tmp_path: Path) -> None:
    script = llmscale("completion", "bash", cwd=tmp_path).stdout
    (tmp_path / "llmscale.bash").write_text(script)
    tool = tmp_path / "llmscale"
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m llmscale "$@"\n')
    tool.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    ended = subprocess.run(
        [shutil.which("bash") or "bash", "-c", BASH, "bash", "llmscale.bash"],
        cwd=tmp_path,
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = ended.stdout.splitlines()
    assert lines[0] == "complete -o default -F _llmscale_completion llmscale"
    assert lines[1].startswith("llmscale : run embed search ")
    assert lines[2:] == [
        "llmscale ru: run",
        "llmscale run --max-: --max-tokens --max-cost --max-attempts --max-failures",
        "llmscale run x --cache re: read refresh",
        "llmscale cache e: explain export",
    ]
    assert ended.stderr == ""


@pytest.mark.parametrize(
    ("shell", "registers", "offers"),
    [
        ("zsh", "compdef _llmscale_completion llmscale", '"--max-cost":"Maximum dollars'),
        ("fish", "complete --command llmscale", "--max-cost\tMaximum dollars"),
    ],
)
def test_zsh_and_fish_get_words_with_what_they_mean(
    tmp_path: Path, shell: str, registers: str, offers: str
) -> None:
    script = llmscale("completion", shell, cwd=tmp_path).stdout
    assert registers in script
    ended = llmscale(
        cwd=tmp_path,
        _LLMSCALE_COMPLETE=f"complete_{shell}",
        _TYPER_COMPLETE_ARGS="llmscale run --max-c",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert offers in ended.stdout
    assert f"_LLMSCALE_COMPLETE=complete_{shell}" in script
    assert ended.stderr == ""


def test_an_unknown_shell_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    ended = llmscale("completion", "tcsh", cwd=tmp_path)
    assert ended.returncode == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in ended.stderr
