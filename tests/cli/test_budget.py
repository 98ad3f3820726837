"""`--max-cost` as a user has it: the spend never passes it, and nothing is paid twice (P14).

The judge is the server's own ledger: every call that arrived is taken to be billed.
"""

import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.tool import (
    Process,
    Run,
    arrived,
    lines_in,
    llmscale,
    prompts,
    read_rows,
    report_of,
    start,
    stop,
    wait_until,
    write_rows,
)
from tests.servers.chat import COMPLETION_TOKENS, chat_process, prompt_tokens, request_key
from tests.servers.embeddings import embedding_process

INPUT_USD, OUTPUT_USD = 10.0, 1_000.0  # a million tokens
PRICES = f"""
[[price]]
model = "openai/m*"
input = {INPUT_USD}
output = {OUTPUT_USD}
"""
ROWS = 600
JOB = ("run", "in.jsonl", "-o", "out.jsonl", "--model", "openai/m", "--concurrency", 64)
BOUNDED = (*JOB, "--max-tokens", 16)


def write_job(folder: Path, rows: Sequence[Any] = (), config: str = PRICES) -> None:
    write_rows(folder / "in.jsonl", rows or prompts(ROWS))
    (folder / "llmscale.toml").write_text(config)


def cost_usd(row: dict[str, str]) -> float:
    """Return what the server's usage comes to, worked out apart from the product."""
    messages = [{"role": "user", "content": row["prompt"]}]
    return (prompt_tokens(messages) * INPUT_USD + COMPLETION_TOKENS * OUTPUT_USD) / 1e6


COST_OF_KEY = {
    request_key("m", [{"role": "user", "content": row["prompt"]}]): cost_usd(row)
    for row in prompts(ROWS)
}


def billed_usd(ledger: Path, event: str = "arrived") -> float:
    """Return what all calls have cost that arrived, or that were `ended` with an answer."""
    calls = [e for e in read_rows(ledger) if e["event"] == event and e.get("answered", True)]
    return sum(COST_OF_KEY[call["key"]] for call in calls)


def report(folder: Path) -> dict[str, Any]:
    return report_of(folder / "out.jsonl")


def run(folder: Path, url: str, *args: object, code: int) -> Run:
    ended = llmscale(*BOUNDED, "--base-url", url, *args, cwd=folder)
    assert ended.returncode == code, ended.stderr
    return ended


def ended_at(process: Process, folder: Path, rows: int, number: signal.Signals) -> Run:
    """Send a signal when so many rows are there, and wait for the end."""
    try:
        wait_until(lambda: lines_in(folder / "out.jsonl.partial") >= rows)
    except BaseException:
        stop(process, signal.SIGKILL)
        raise
    return stop(process, number)


@pytest.mark.parametrize(("max_usd", "faults"), [(0.3, ""), (2.0, "reset:0.03,cut:0.03")])
def test_with_64_in_flight_the_spend_never_passes_the_cap_and_nothing_is_paid_twice(
    tmp_path: Path, max_usd: float, faults: str
) -> None:
    """P14: the whole job costs $4.9; a call that is reset or cut is taken to be billed too."""
    write_job(tmp_path)
    ledger = tmp_path / "ledger"
    options = ("--latency", 0.01, "--jitter", 0.03, "--ledger", ledger, "--faults", faults)
    with chat_process(*options) as url:
        ended = run(tmp_path, url, "--max-cost", max_usd, code=4)
        assert 0 < billed_usd(ledger) <= max_usd
        job, rows = report(tmp_path)["job"], report(tmp_path)["rows"]
        assert 0 < rows["pending"] == ROWS - rows["answered"] < ROWS
        assert job["max_cost_usd"] == max_usd
        assert job["spend"]["cost_usd"] + job["unconfirmed_usd"] + job["left_usd"] == pytest.approx(
            max_usd
        )
        assert job["left_usd"] < 0.06, "all that is left is less than a call can cost"
        assert report(tmp_path)["max_repeated_calls"] == 0
        assert f"of --max-cost {max_usd:g} is spent" in ended.stderr
        assert f"; {rows['pending']} rows are left, and the same command with" in ended.stderr
        assert "to resume" not in ended.stderr, "that command line would stop at once"

        before = billed_usd(ledger)
        run(tmp_path, url, "--max-cost", max_usd, code=4)
        assert billed_usd(ledger) == before, "the same cap again buys nothing"
        run(tmp_path, url, "--max-cost", 100, code=0)
    answered = Counter(
        e["key"] for e in read_rows(ledger) if e["event"] == "ended" and e["answered"]
    )
    assert len(answered) == ROWS
    assert set(answered.values()) == {1}
    assert report(tmp_path)["job"]["spend"]["cost_usd"] == pytest.approx(
        billed_usd(ledger, "ended")
    )
    assert not (tmp_path / "out.jsonl.lock").exists()


def test_calls_that_a_server_refuses_cost_nothing(tmp_path: Path) -> None:
    write_job(tmp_path)
    ledger = tmp_path / "ledger"
    with chat_process("--faults", "500:0.1,429:0.1,503:0.05", "--ledger", ledger) as url:
        run(tmp_path, url, "--max-cost", 2.0, code=4)
    assert report(tmp_path)["job"]["unconfirmed_usd"] == 0
    assert 1.9 < billed_usd(ledger, "ended") <= 2.0


def test_a_server_that_is_not_there_does_not_use_up_the_budget(tmp_path: Path) -> None:
    write_job(tmp_path, prompts(10))
    nowhere = ("--base-url", "http://127.0.0.1:9/v1", "--max-attempts", 1, "--max-cost", 0.1)
    ended = llmscale(*BOUNDED, *nowhere, cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert report(tmp_path)["job"]["left_usd"] == 0.1


def test_calls_in_flight_at_a_kill_count_and_the_cap_holds_over_all_runs(
    tmp_path: Path,
) -> None:
    write_job(tmp_path)
    ledger = tmp_path / "ledger"
    max_usd = 3.5
    with chat_process("--latency", 0.05, "--jitter", 0.05, "--ledger", ledger) as url:
        options = ("--concurrency", 16, "--max-cost", max_usd)
        for rows in (20, 60, 100):
            process = start(*BOUNDED, "--base-url", url, *options, cwd=tmp_path)
            ended_at(process, tmp_path, rows, signal.SIGKILL)
        run(tmp_path, url, *options, code=4)
        assert billed_usd(ledger) <= max_usd, "with all that was in flight at the kills"
        job = report(tmp_path)["job"]
        assert job["unconfirmed_usd"] > 0
        assert job["spend"]["cost_usd"] + job["unconfirmed_usd"] >= billed_usd(ledger) - 1e-9
        run(tmp_path, url, "--max-cost", 100, code=0)
    assert len({e["key"] for e in read_rows(ledger)}) == ROWS


def test_a_stop_by_a_signal_keeps_what_failed_calls_have_cost(tmp_path: Path) -> None:
    """An answer that was cut is in no row, but may have been paid for."""
    write_job(tmp_path, prompts(200))
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    with chat_process("--latency", 0.05, "--faults", "cut:0.2", "--ledger", cut) as url:
        process = start(*BOUNDED, "--base-url", url, "--max-cost", 50, cwd=tmp_path)
        assert ended_at(process, tmp_path, 40, signal.SIGTERM).returncode == 143
        first = report(tmp_path)["job"]
        assert first["unconfirmed_usd"] > 0
        assert not (tmp_path / "out.jsonl.lock").exists(), "the manifest has it"
    with chat_process("--ledger", whole) as url:
        run(tmp_path, url, "--max-cost", 50, code=0)
    job, billed = report(tmp_path)["job"], billed_usd(cut) + billed_usd(whole)
    assert job["unconfirmed_usd"] >= first["unconfirmed_usd"]
    assert job["spend"]["cost_usd"] + job["unconfirmed_usd"] >= billed - 1e-9


def test_rows_from_the_cache_and_rows_that_share_a_call_cost_nothing(tmp_path: Path) -> None:
    write_job(tmp_path, prompts(50))
    cached = ("--cache", "on", "--cache-dir", tmp_path / "cache")
    with chat_process() as url:
        run(tmp_path, url, *cached, "--max-cost", 5, code=0)
        write_rows(tmp_path / "in.jsonl", [*prompts(50), *[{"prompt": "a new one"}] * 30])
        run(tmp_path, url, *cached, "--overwrite", "--max-cost", 0.06, code=0)
    rows = report(tmp_path)["rows"]
    assert (rows["answered"], rows["cached"]) == (80, 50)
    assert report(tmp_path)["calls"]["attempts"] == 1


def test_overwrite_starts_with_the_whole_budget(tmp_path: Path) -> None:
    write_job(tmp_path)
    with chat_process() as url:
        run(tmp_path, url, "--max-cost", 0.3, code=4)
        run(tmp_path, url, "--max-cost", 0.3, "--overwrite", code=4)
    assert report(tmp_path)["job"]["spend"]["cost_usd"] > 0.2
    assert report(tmp_path)["job"]["runs"] == 1


def test_the_cap_also_limits_a_stream(tmp_path: Path) -> None:
    write_job(tmp_path)
    ledger = tmp_path / "ledger"
    with chat_process("--latency", 0.01, "--ledger", ledger) as url:
        options = ("--base-url", url, "--max-cost", 1.0)
        stream = ("run", "in.jsonl", "-o", "-", *BOUNDED[4:])
        ended = llmscale(*stream, *options, cwd=tmp_path)
    assert ended.returncode == 4, ended.stderr
    assert 0.9 < billed_usd(ledger) <= 1.0
    assert len(ended.stdout.splitlines()) == len(read_rows(ledger)) / 2


def test_the_cap_limits_batches_of_embeddings(tmp_path: Path) -> None:
    rows = [{"text": f"text number {number} " + "word " * 40} for number in range(2_000)]
    write_rows(tmp_path / "in.jsonl", rows)
    (tmp_path / "llmscale.toml").write_text('[[price]]\nmodel = "openai/e"\ninput = 100\n')
    ledger = tmp_path / "ledger"
    job = ("embed", "in.jsonl", "-o", "out.jsonl", "--model", "openai/e")
    max_usd = 4.0
    with embedding_process("--latency", 0.02, "--ledger", ledger) as url:
        ended = llmscale(*job, "--base-url", url, "--max-cost", max_usd, cwd=tmp_path)
        assert ended.returncode == 4, ended.stderr
        a_lot_usd = 50 * sum(len(row["text"]) // 4 for row in rows[:50]) / 50 * 100 / 1e6
        batches = len(arrived(ledger))
        assert 0.5 * max_usd < batches * a_lot_usd <= max_usd
        assert report(tmp_path)["job"]["spend"]["cost_usd"] <= max_usd
        ended = llmscale(*job, "--base-url", url, "--max-cost", 100, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert len(arrived(ledger)) == 40, "no batch twice"


@pytest.mark.parametrize(
    ("args", "config", "sentence"),
    [
        (BOUNDED, "", "the price of openai/m at URL, which is not known; set it in llmscale.toml"),
        (JOB, PRICES, "a bound of what an answer of openai/m can cost; set --max-tokens, or max_"),
        (("embed", *JOB[1:4], "--model", "openai/e"), PRICES, "the price of openai/e at URL"),
        (
            BOUNDED,
            f'{PRICES}[fallback]\n"openai/m" = ["openai/other"]\n',
            "the price of openai/other at URL",
        ),
    ],
)
def test_a_job_without_an_upper_bound_of_its_cost_is_refused_before_anything_is_sent(
    tmp_path: Path, args: tuple[str, ...], config: str, sentence: str
) -> None:
    write_job(tmp_path, prompts(3), config)
    ledger = tmp_path / "ledger"
    with chat_process("--ledger", ledger) as url:
        options = ("--base-url", url, "--max-cost", 1)
        ended = llmscale(*args, *options, cwd=tmp_path)
        assert ended.returncode == 2
        assert sentence.replace("URL", url) in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl", "ledger", "llmscale.toml"]
        if args[0] == "run":
            assert llmscale(*args, *options, "--dry-run", cwd=tmp_path).returncode == 2
    assert not read_rows(ledger)


def test_max_output_of_a_model_replaces_max_tokens(tmp_path: Path) -> None:
    """So that a job that was begun without a bound can be held to a cap later on."""
    write_job(tmp_path, config=f"{PRICES}max_output = 20\n")
    ledger = tmp_path / "ledger"
    with chat_process("--latency", 0.01, "--ledger", ledger) as url:
        process = start(*JOB, "--base-url", url, cwd=tmp_path)
        ended_at(process, tmp_path, 10, signal.SIGTERM)
        begun_usd = billed_usd(ledger)
        ended = llmscale(
            *JOB, "--base-url", url, "--max-cost", f"{begun_usd + 0.5:.6f}", cwd=tmp_path
        )
    assert ended.returncode == 4, ended.stderr
    assert begun_usd + 0.4 < billed_usd(ledger) <= begun_usd + 0.5


def test_a_row_without_an_upper_bound_of_its_cost_fails_alone(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": "fine"},
        {"prompt": "another model", "model": "openai/unknown"},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
        {"prompt": "a model with a price", "model": "openai/m2"},
    ]
    write_job(tmp_path, rows)
    ledger = tmp_path / "ledger"
    with chat_process("--ledger", ledger) as url:
        run(tmp_path, url, "--max-cost", 5, code=1)
    lines = read_rows(tmp_path / "out.jsonl")
    assert [line["error"] and line["error"]["type"] for line in lines] == [
        None,
        "invalid_request",
        "invalid_request",
        None,
    ]
    assert "the price of openai/unknown is unknown" in lines[1]["error"]["message"]
    assert "'file' is neither text nor a picture" in lines[2]["error"]["message"]
    assert [lines[1]["attempts"], lines[2]["attempts"]] == [0, 0]
    assert len(arrived(ledger)) == 2


def test_the_cap_comes_from_flag_environment_or_file_and_a_free_model_needs_no_price(
    tmp_path: Path,
) -> None:
    write_job(tmp_path, prompts(5), "max_cost = 0.5\n")
    free = (*JOB[:4], "--model", "sim/a")
    assert llmscale(*free, cwd=tmp_path).returncode == 0
    assert report(tmp_path)["job"]["max_cost_usd"] == 0.5
    for args, env, cap in (((), {"LLMSCALE_MAX_COST": "2"}, 2), (("--max-cost", 3), {}, 3)):
        again = llmscale(*free, "--overwrite", *args, cwd=tmp_path, **env)
        assert again.returncode == 0, again.stderr
        assert report(tmp_path)["job"]["max_cost_usd"] == cap
    for wrong in ("0", "-1", "nan", "inf", "much"):
        assert llmscale(*free, "--max-cost", wrong, cwd=tmp_path).returncode == 2
