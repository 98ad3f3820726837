"""A check in a process of its own: right, and stopped where it takes too long."""

import asyncio
import time
from pathlib import Path

import pytest

from llmscale.engine.json_schema.worker import SchemaTimeout, SchemaWorkers
from tests.engine.json_schema.test_validators import exponential

EVIL = {"type": "string", "pattern": "^(a|a){1,60}$"}


async def test_a_worker_says_what_does_not_fit() -> None:
    workers = SchemaWorkers()
    try:
        assert await workers.misfit(EVIL, '"aaa"') is None
        assert "does not match" in (await workers.misfit(EVIL, '"b"') or "")
        assert "not JSON" in (await workers.misfit({"type": "object"}, "{") or "")
    finally:
        await workers.aclose()


@pytest.mark.parametrize(
    ("schema", "text"), [(EVIL, '"' + "a" * 40 + '!"'), (exponential(30), "{}")]
)
async def test_a_check_that_takes_for_ever_is_stopped_and_the_loop_goes_on(
    schema: object, text: str
) -> None:
    workers = SchemaWorkers()
    longest_s = 0.0

    async def beat() -> None:
        nonlocal longest_s
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(0.01)
            longest_s = max(longest_s, time.monotonic() - began_s)

    beating = asyncio.create_task(beat())
    try:
        with pytest.raises(SchemaTimeout):
            await workers.misfit(schema, text)
        assert await workers.misfit({"type": "string"}, '"a"') is None
    finally:
        beating.cancel()
        await workers.aclose()
    assert longest_s < 0.9, "the loop stood still while the check went on"


async def test_a_worker_runs_no_module_of_the_current_folder_and_gets_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("orjson", "json", "llmscale", "jsonschema"):
        (tmp_path / f"{name}.py").write_text("open('was_run', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    workers = SchemaWorkers()
    try:
        assert await workers.misfit({"type": "string"}, '"a"') is None
        (process,) = workers._idle
        assert b"sk-canary" not in Path(f"/proc/{process.pid}/environ").read_bytes()
    finally:
        await workers.aclose()
    assert not (tmp_path / "was_run").exists()
