"""Fallback through the real command line, against servers on loopback: what comes out of it."""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from llmscale.core.records import Request
from llmscale.engine.cache.keys import key_of
from llmscale.runtime.cache import open_store
from tests.cli.tool import Run, llmscale, prompts, read_rows, write_rows
from tests.servers.chat import ChatServer, expected_answer
from tests.settings import config_of

MODELS = "openai/first", "openai/second"


def settings(servers: list[ChatServer], fallback: str, **more: object) -> str:
    """Return a file with an endpoint for each server: first, second."""
    named = zip(MODELS, servers, strict=False)
    blocks = [f'[[endpoint]]\nmodel = "{m}"\nbase_url = "{s.base_url}"\n' for m, s in named]
    plain = "".join(f"{name} = {value}\n" for name, value in more.items())
    return plain + f"[fallback]\n{fallback}\n" + "".join(blocks)


async def run_with(
    folder: Path, servers: list[ChatServer], *options: object, **more: object
) -> Run:
    """Run 100 rows against servers that are open, the second in for the first."""
    text = settings(servers, '"openai/first" = ["openai/second"]', **more)
    (folder / "llmscale.toml").write_text(text)
    write_rows(folder / "in.jsonl", prompts(100))
    return await asyncio.to_thread(
        llmscale, "run", "in.jsonl", "-o", "out.jsonl", *options, cwd=folder
    )


def right_answer(index: int, model: str = "second") -> str:
    messages = [{"role": "user", "content": prompts(index + 1)[index]["prompt"]}]
    return expected_answer(model, messages)


def report(folder: Path) -> Any:
    return orjson.loads((folder / "out.report.json").read_bytes())


async def test_where_the_first_endpoint_is_out_for_good_the_second_model_answers_all_rows(
    tmp_path: Path,
) -> None:
    async with ChatServer(faults="503:1.0") as first, ChatServer() as second:
        ended = await run_with(tmp_path, [first, second], fallback_after=1.0)
        assert ended.returncode == 0, ended.stderr
        assert len(second.requests) == 100
        assert len(first.requests) <= 20, "it rests, and gets probes only"
    lines = read_rows(tmp_path / "out.jsonl")
    assert [line["model"] for line in lines] == ["openai/second"] * 100
    assert [line["output"] for line in lines] == [right_answer(i) for i in range(100)]
    assert max(line["attempts"] for line in lines) >= 2, "those that were tried there too"
    rows = report(tmp_path)["rows"]
    assert (rows["answered"], rows["fallback"]) == (100, 100)


async def test_where_nobody_listens_the_second_model_answers_all_rows(tmp_path: Path) -> None:
    async with ChatServer() as gone, ChatServer() as second:
        gone._server.close()
        ended = await run_with(tmp_path, [gone, second], fallback_after=1.0)
        assert ended.returncode == 0, ended.stderr
    assert {line["model"] for line in read_rows(tmp_path / "out.jsonl")} == {"openai/second"}


async def test_where_the_first_answers_nobody_else_is_asked(tmp_path: Path) -> None:
    async with ChatServer() as first, ChatServer() as second:
        ended = await run_with(tmp_path, [first, second])
        assert ended.returncode == 0, ended.stderr
        assert (len(first.requests), len(second.requests)) == (100, 0)
    rows = report(tmp_path)["rows"]
    assert (rows["answered"], rows["fallback"]) == (100, 0)


async def test_a_row_that_is_refused_for_what_it_says_fails_and_is_not_asked_elsewhere(
    tmp_path: Path,
) -> None:
    async with ChatServer(faults="422:1.0") as first, ChatServer() as second:
        ended = await run_with(tmp_path, [first, second])
        assert ended.returncode == 1
        assert (len(first.requests), len(second.requests)) == (100, 0)


async def test_the_answer_of_a_stand_in_is_cached_under_its_own_model(tmp_path: Path) -> None:
    """When the first model is back it is asked: its key has no answer yet."""
    cache = ("--cache", "on", "--cache-dir", tmp_path / "cache")
    async with ChatServer(faults="503:1.0") as first, ChatServer() as second:
        ended = await run_with(tmp_path, [first, second], *cache, fallback_after=1.0)
        assert ended.returncode == 0, ended.stderr
    messages = [{"role": "user", "content": prompts(1)[0]["prompt"]}]
    store = open_store(config_of(cache_dir=str(tmp_path / "cache")).cache)
    try:
        there = [
            store.get_many([key_of(Request(model=model, messages=messages))]) for model in MODELS
        ]
    finally:
        store.close()
    assert [len(found) for found in there] == [0, 1]
    async with ChatServer() as back, ChatServer() as second:
        ended = await run_with(tmp_path, [back, second], *cache, "--overwrite")
        assert ended.returncode == 0, ended.stderr
        assert (len(back.requests), len(second.requests)) == (100, 0)


def run_of_sim(folder: Path, fallback: str) -> Run:
    """Run a row with a simulated endpoint and a fallback."""
    text = f'[fallback]\n{fallback}\n[[endpoint]]\nmodel = "sim/a"\n'
    (folder / "llmscale.toml").write_text(text)
    write_rows(folder / "in.jsonl", prompts(1))
    return llmscale("run", "in.jsonl", "-o", "out.jsonl", cwd=folder)


def test_a_fallback_to_a_model_without_endpoint_is_refused_at_the_start_by_name(
    tmp_path: Path,
) -> None:
    ended = run_of_sim(tmp_path, '"sim/a" = ["local/none"]')
    assert ended.returncode == 2
    assert "fallback of sim/a: no endpoint answers for model local/none" in ended.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_a_fallback_of_a_model_that_is_not_of_this_run_is_passed_over(tmp_path: Path) -> None:
    ended = run_of_sim(tmp_path, '"openai/x" = ["local/none"]')
    assert ended.returncode == 0, ended.stderr
