"""What a server says of its limits, through the real command line: kept to, warned of, reported."""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from tests.cli.tool import Run, llmscale, prompts, read_rows, write_rows
from tests.servers.chat import ChatServer, Step

MODEL = "openai/test"
LOWER = {
    "x-ratelimit-limit-requests": "600",
    "x-ratelimit-remaining-requests": "300",
    "x-ratelimit-reset-requests": "30s",
    "x-ratelimit-limit-tokens": "1000000",
    "x-ratelimit-remaining-tokens": "500000",
    "x-ratelimit-reset-tokens": "30s",
}


async def run_with(folder: Path, steps: list[Step], *options: object) -> tuple[Run, list[float]]:
    """Run a row for each step; return also when each call arrived."""
    write_rows(folder / "in.jsonl", prompts(len(steps)))
    async with ChatServer() as server:
        server.script(steps)
        to = ("--model", MODEL, "--base-url", server.base_url)
        ended = await asyncio.to_thread(
            llmscale, "run", "in.jsonl", "-o", "out.jsonl", *to, *options, cwd=folder
        )
        return ended, [received.time_s for received in server.requests]


def limits(folder: Path) -> Any:
    report = orjson.loads((folder / "out.report.json").read_bytes())
    return report["endpoints"][MODEL]["limits"]


async def test_a_limit_below_the_configured_one_is_kept_to_warned_of_and_reported(
    tmp_path: Path,
) -> None:
    steps = [Step(headers=LOWER)] * 20
    ended, arrived_s = await run_with(tmp_path, steps, "--rpm", 6_000, "--concurrency", 2)
    assert ended.returncode == 0, ended.stderr
    said = "openai/test reports a limit of 600 requests a minute, where 6000 are set"
    assert ended.stderr.count(said) == 1
    assert arrived_s[-1] - arrived_s[0] > 1, "of 20 calls, six at once and ten a second"
    assert limits(tmp_path) == {
        "rpm": 6_000,
        "tpm": None,
        "provider_rpm": 600,
        "provider_tpm": 1_000_000,
        "adaptive_rpm": None,
    }


async def test_without_a_word_of_the_server_the_report_has_what_is_set(tmp_path: Path) -> None:
    ended, _ = await run_with(tmp_path, [Step()] * 3, "--rpm", "100/s", "--tpm", 90_000)
    assert ended.returncode == 0, ended.stderr
    assert "reports a limit" not in ended.stderr
    assert limits(tmp_path) == {
        "rpm": 6_000,
        "tpm": 90_000,
        "provider_rpm": None,
        "provider_tpm": None,
        "adaptive_rpm": None,
    }


async def test_a_pace_that_refusals_have_taught_is_warned_of_and_reported(tmp_path: Path) -> None:
    refusal = Step(status=429, headers={"retry-after-ms": "20"})
    steps = [Step()] * 40 + [refusal]
    ended, _ = await run_with(tmp_path, steps, "--concurrency", 4)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("openai/test is rate limiting (429); throttled to about ") == 1
    assert limits(tmp_path)["adaptive_rpm"] > 100
    assert all(line["error"] is None for line in read_rows(tmp_path / "out.jsonl"))
