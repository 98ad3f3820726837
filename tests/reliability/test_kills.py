"""C01: SIGKILL at random moments. A few kills by default, 200 in the campaign."""

import subprocess
import sys

import pytest

from tests.servers.chat import ROOT


def kill(*options: object) -> str:
    """Run the campaign and return what it prints; it fails when a row is lost or paid for twice."""
    command = [sys.executable, "-m", "tests.reliability.kills", *map(str, options)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_five_kills_lose_duplicate_and_change_nothing() -> None:
    assert "0 of 400 rows" in kill("--kills", 5, "--rows", 400)


@pytest.mark.campaign
def test_two_hundred_kills_lose_duplicate_and_change_nothing() -> None:
    print(kill("--kills", 200, "--rows", 2000))
