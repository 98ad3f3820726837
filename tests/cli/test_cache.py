"""The cache as a user has it: what is asked twice is paid once, and what breaks costs only hits."""

import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from llmscale.core.records import Request
from llmscale.providers.sim import simulated_answer
from tests.cli.tool import (
    Run,
    arrived,
    command,
    environment,
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
from tests.engine.cache import pickle_that_touches, sql
from tests.servers.chat import chat_process, expected_answer

SIM = ("--model", "sim/test")


class Server:
    """The chat server, and what it was asked."""

    def __init__(self, url: str, ledger: Path) -> None:
        self.model = ("--model", "openai/m", "--base-url", url)
        self._ledger = ledger

    @property
    def calls(self) -> int:
        """How often it was asked, since it is there."""
        return len(arrived(self._ledger))

    def calls_of(self, run: Callable[[], Run]) -> int:
        """Run to the end, insist that this went well, and return how many calls it made."""
        before = self.calls
        ended = run()
        assert ended.returncode == 0, ended.stderr
        return self.calls - before


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    ledger = tmp_path_factory.mktemp("server") / "ledger"
    with chat_process("--ledger", ledger) as url:
        yield Server(url, ledger)


def caching(folder: Path) -> dict[str, str]:
    """Return the settings of a cache in a folder."""
    return {"LLMSCALE_CACHE_MODE": "on", "LLMSCALE_CACHE_DIR": str(folder / "cache")}


def tool(*args: object, cwd: Path, stdin: str | None = None, **env: str) -> Run:
    """Run the tool with a cache in the folder."""
    return llmscale(*args, cwd=cwd, stdin=stdin, **(caching(cwd) | env))


def run(cwd: Path, output: str, *options: object, **env: str) -> Run:
    """Take `in.jsonl` to an output of its own, which no earlier run has answers for."""
    return tool("run", "in.jsonl", "-o", output, *options, cwd=cwd, **env)


def stats_of(cwd: Path) -> dict[str, Any]:
    ended = tool("cache", "stats", "--json", cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = orjson.loads(ended.stdout)
    return found


def entries_in(cwd: Path) -> int:
    ((count,),) = sql(cwd / "cache", "SELECT COUNT(*) FROM Cache")
    return int(count)


def insist_on_right_answers(
    cwd: Path, output: str, rows: list[dict[str, str]], model: str = "openai/m"
) -> None:
    """Hold every line against the one right answer to its row."""
    answers = read_rows(cwd / output)
    assert [answer["index"] for answer in answers] == list(range(len(rows)))
    for row, answer in zip(rows, answers, strict=True):
        messages = [{"role": "user", "content": row["prompt"]}]
        if model.startswith("sim/"):
            right = simulated_answer(Request(model=model, messages=messages))
        else:
            right = expected_answer(model.partition("/")[2], messages)
        assert answer["output"] == right


# --- runs


def test_a_second_run_makes_no_call_and_costs_nothing(tmp_path: Path, server: Server) -> None:
    rows = prompts(50)
    write_rows(tmp_path / "in.jsonl", rows)
    assert server.calls_of(lambda: run(tmp_path, "cold.jsonl", *server.model)) == 50
    assert server.calls_of(lambda: run(tmp_path, "warm.jsonl", *server.model)) == 0
    for output in ("cold.jsonl", "warm.jsonl"):
        insist_on_right_answers(tmp_path, output, rows)
    cold, warm = (read_rows(tmp_path / output) for output in ("cold.jsonl", "warm.jsonl"))
    assert {(line["cached"], line["attempts"]) for line in cold} == {(False, 1)}
    assert {(line["cached"], line["attempts"], line["cost_usd"]) for line in warm} == {
        (True, 0, 0.0)
    }
    asked_again = {"cached", "attempts", "cost_usd", "latency_s"}
    for one, other in zip(cold, warm, strict=True):
        assert {name: one[name] for name in one.keys() - asked_again} == {
            name: other[name] for name in other.keys() - asked_again
        }
    first, second = (report_of(tmp_path / output) for output in ("cold.jsonl", "warm.jsonl"))
    tokens = first["calls"]["tokens"]
    all_tokens = tokens["input_tokens"] + tokens["output_tokens"]
    assert first["cache"] == {
        "mode": "on",
        "hits": 0,
        "misses": 50,
        "hit_rate": 0,
        "deduped": 0,
        "saved_tokens": 0,
        "saved_usd": 0,
        "saved_by_cache": {"tokens": 0, "usd": 0},
        "saved_by_sharing": {"tokens": 0, "usd": 0},
        "stored": 50,
        "dropped": 0,
        "evicted": 0,
        "refused": 0,
        "errors": 0,
    }
    assert second["cache"] == first["cache"] | {
        "hits": 50,
        "misses": 0,
        "hit_rate": 1,
        "stored": 0,
        "saved_tokens": all_tokens,
        "saved_by_cache": {"tokens": all_tokens, "usd": 0},
    }
    assert second["rows"]["cached"] == second["rows"]["answered"] == 50
    assert second["calls"]["attempts"] == 0


def test_each_cache_mode_reads_and_writes_as_documented(tmp_path: Path, server: Server) -> None:
    rows = prompts(5)
    write_rows(tmp_path / "in.jsonl", rows)
    expected = [
        ("read", 5),  # there is nothing yet; nor does this store,
        ("write", 5),  # which this does; but it does not look up,
        ("write", 5),  # or this would make no call;
        ("read", 0),  # this does look up
        ("refresh", 5),
        ("on", 0),
        ("off", 5),
    ]
    for number, (mode, calls) in enumerate(expected):
        output = f"{number}.jsonl"
        options = (*server.model, "--cache", mode)
        assert server.calls_of(lambda: run(tmp_path, output, *options)) == calls, number  # noqa: B023
        insist_on_right_answers(tmp_path, output, rows)
        assert report_of(tmp_path / output)["cache"]["mode"] == mode
        if number == 0:
            assert entries_in(tmp_path) == 0


def test_identical_rows_in_flight_make_one_call_and_answer_every_row(
    tmp_path: Path, server: Server
) -> None:
    rows = [{"prompt": "the same"}] * 64
    write_rows(tmp_path / "in.jsonl", rows)
    with chat_process("--latency", 0.2, "--ledger", tmp_path / "ledger") as url:
        slow = Server(url, tmp_path / "ledger")
        options = (*slow.model, "--concurrency", 64)
        assert slow.calls_of(lambda: run(tmp_path, "out.jsonl", *options)) == 1
    insist_on_right_answers(tmp_path, "out.jsonl", rows)
    report = report_of(tmp_path / "out.jsonl")
    assert report["cache"]["deduped"] == report["rows"]["deduped"] == 63
    assert report["rows"]["answered"] == 64
    lines = read_rows(tmp_path / "out.jsonl")
    assert sorted(line["attempts"] for line in lines) == [0] * 63 + [1]
    assert [line["cost_usd"] for line in lines].count(0.0) == 63
    assert not any(line["cached"] for line in lines)


def test_a_refused_key_is_not_hammered_by_rows_that_wait_for_the_same_answer(
    tmp_path: Path,
) -> None:
    write_rows(tmp_path / "in.jsonl", [{"prompt": "the same"}] * 64)
    with chat_process("--faults", "401:1", "--ledger", tmp_path / "ledger") as url:
        refusing = Server(url, tmp_path / "ledger")
        ended = run(tmp_path, "out.jsonl", *refusing.model, "--concurrency", 64)
        assert ended.returncode == 3
        assert refusing.calls == 1


def test_neither_a_cut_answer_nor_one_that_does_not_fit_its_schema_is_stored(
    tmp_path: Path,
) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(3))
    (tmp_path / "s.json").write_text('{"type": "object"}')
    assert run(tmp_path, "cut.jsonl", *SIM, "--max-tokens", 3).returncode == 0
    assert run(tmp_path, "misfit.jsonl", *SIM, "--json-schema", "s.json").returncode == 1
    assert report_of(tmp_path / "cut.jsonl")["rows"]["truncated"] == 3
    assert report_of(tmp_path / "misfit.jsonl")["rows"]["failures"] == {"schema_mismatch": 3}
    assert entries_in(tmp_path) == 0


def test_an_answer_is_asked_for_again_after_its_time(tmp_path: Path, server: Server) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(2))
    run(tmp_path, "first.jsonl", *server.model)
    late = (*server.model, "--cache-ttl", "1ms")
    assert server.calls_of(lambda: run(tmp_path, "late.jsonl", *late)) == 2


def test_answers_stored_before_a_kill_are_hits_afterwards(tmp_path: Path) -> None:
    rows = prompts(60)
    write_rows(tmp_path / "in.jsonl", rows)
    pace = ("--latency", 0.03, "--ledger", tmp_path / "ledger")
    with chat_process(*pace) as url:
        slow = Server(url, tmp_path / "ledger")
        job = ("run", "in.jsonl", "-o", "killed.jsonl", *slow.model, "--concurrency", 4)
        process = start(*job, cwd=tmp_path, env=caching(tmp_path))
        wait_until(lambda: lines_in(tmp_path / "killed.jsonl.partial") >= 20)
        stop(process, signal.SIGKILL)
        stored, asked = entries_in(tmp_path), slow.calls
        assert 0 < stored < 60
        assert run(tmp_path, "out.jsonl", *slow.model).returncode == 0
        assert slow.calls == asked + 60 - stored
    insist_on_right_answers(tmp_path, "out.jsonl", rows)
    assert report_of(tmp_path / "out.jsonl")["cache"]["hits"] == stored


def test_two_runs_at_once_share_a_new_cache(tmp_path: Path) -> None:
    rows = prompts(300)
    write_rows(tmp_path / "in.jsonl", rows)
    job = ("run", "in.jsonl", "--model", "sim/latency=0.005", "-o")
    outputs = ("a.jsonl", "b.jsonl")
    runs = [start(*job, output, cwd=tmp_path, env=caching(tmp_path)) for output in outputs]
    for process, output in zip(runs, outputs, strict=True):
        _, said = process.communicate(timeout=60)
        assert process.wait() == 0, said
        assert "warning" not in said
        insist_on_right_answers(tmp_path, output, rows, "sim/latency=0.005")
    assert entries_in(tmp_path) == 300


def test_a_dry_run_leaves_no_trace_in_the_cache(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", prompts(1))
    assert run(tmp_path, "out.jsonl", *SIM, "--dry-run").returncode == 0
    assert not (tmp_path / "cache").exists()


# --- a broken cache (S02)


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a job of a thousand rows and a cache of all its answers."""
    folder = tmp_path_factory.mktemp("thousand")
    write_rows(folder / "in.jsonl", prompts(1000))
    assert run(folder, "cold.jsonl", *SIM).returncode == 0
    return folder


def copied(thousand: Path, folder: Path) -> Path:
    """Return a copy of the job and its cache."""
    (folder / "cache").mkdir()
    for name in ("in.jsonl", "cache/cache.db"):
        (folder / name).write_bytes((thousand / name).read_bytes())
    return folder


def test_the_cache_of_a_thousand_rows_answers_them_or_the_tests_below_test_nothing(
    thousand: Path, tmp_path: Path
) -> None:
    copied(thousand, tmp_path)
    assert run(tmp_path, "out.jsonl", *SIM).returncode == 0
    assert report_of(tmp_path / "out.jsonl")["cache"]["hits"] == 1000


def test_values_of_other_rows_and_of_other_versions_are_misses_that_are_counted(
    thousand: Path, tmp_path: Path
) -> None:
    copied(thousand, tmp_path)
    cache = tmp_path / "cache"
    swap = "UPDATE Cache SET value = (SELECT value FROM Cache WHERE rowid = 999) WHERE rowid <= 100"
    sql(cache, swap)
    for value, rowid in sql(cache, "SELECT value, rowid FROM Cache WHERE rowid > 900 LIMIT 50"):
        sql(cache, "UPDATE Cache SET value = ? WHERE rowid = ?", b"\x02" + value[1:], rowid)
    touched = tmp_path / "touched"
    sql(
        cache,
        "UPDATE Cache SET mode = 4, value = ? WHERE rowid BETWEEN 500 AND 509",
        pickle_that_touches(touched),
    )
    ended = run(tmp_path, "out.jsonl", *SIM)
    assert ended.returncode == 0, ended.stderr
    insist_on_right_answers(tmp_path, "out.jsonl", prompts(1000), "sim/test")
    report = report_of(tmp_path / "out.jsonl")
    assert report["cache"]["refused"] == report["cache"]["misses"] == 160
    assert report["cache"]["hits"] == 840
    assert not touched.exists()
    assert run(tmp_path, "again.jsonl", *SIM).returncode == 0
    assert report_of(tmp_path / "again.jsonl")["cache"]["hits"] == 1000  # mended by being asked


def replace_with_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_folder_with_file(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("in the way")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "noise": (lambda path: path.write_bytes(b"\xa5" * 100_000), "off"),
    "empty": (lambda path: path.write_bytes(b""), "on"),
    "a folder in its place": (replace_with_folder, "off"),
    "a file in the place of the folder": (replace_folder_with_file, "off"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_ruined_cache_costs_hits_and_never_the_run(
    thousand: Path, tmp_path: Path, damage: str
) -> None:
    copied(thousand, tmp_path)
    do, mode = DAMAGE[damage]
    do(tmp_path / "cache" / "cache.db")
    ended = run(tmp_path, "out.jsonl", *SIM)
    assert ended.returncode == 0, ended.stderr
    insist_on_right_answers(tmp_path, "out.jsonl", prompts(1000), "sim/test")
    assert report_of(tmp_path / "out.jsonl")["cache"]["mode"] == mode
    if mode == "off":
        assert "continuing without a cache" in ended.stderr


def test_a_disk_that_is_too_full_for_the_cache_costs_hits_and_never_the_run(
    tmp_path: Path,
) -> None:
    """A limit of the size of any file: the log of SQLite reaches it, the output does not."""
    rows = prompts(600)
    write_rows(tmp_path / "in.jsonl", rows)
    bytes_at_most = 300_000  # the output has 180,000, what is to be stored over 450,000

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_at_most, bytes_at_most))

    ended = subprocess.run(
        command("run", "in.jsonl", "-o", "out.jsonl", *SIM),
        preexec_fn=limit,
        cwd=tmp_path,
        env=environment(**caching(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    insist_on_right_answers(tmp_path, "out.jsonl", rows, "sim/test")
    report = report_of(tmp_path / "out.jsonl")["cache"]
    assert report["dropped"] > 0
    assert report["stored"] + report["dropped"] == 600
    assert "the cache does not take answers" in ended.stderr
    assert "Traceback" not in ended.stderr


# --- the commands


@pytest.fixture(scope="module")
def used_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose cache was filled with ten answers and hit five times."""
    folder = tmp_path_factory.mktemp("used")
    write_rows(folder / "in.jsonl", prompts(10))
    run(folder, "first.jsonl", *SIM)
    write_rows(folder / "in.jsonl", prompts(5))
    run(folder, "second.jsonl", *SIM)
    return folder


@pytest.fixture
def used(used_once: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder."""
    shutil.copytree(used_once, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_stats_show_contents_and_history(used: Path) -> None:
    found = stats_of(used)
    assert (found["entries"], found["ages"]["1h"], found["stored"]) == (10, 10, 10)
    assert found["life"] | {"saved_tokens": 0} == {
        "hits": 5,
        "misses": 10,
        "deduped": 0,
        "saved_tokens": 0,
        "saved_usd": 0.0,
        "hit_rate": 0.333333,
        "runs": 2,
    }
    assert found["life"]["saved_tokens"] > 0
    assert found["models"]["sim/test"]["entries"] == 10
    assert [entry["output"] for entry in found["last_runs"]] == ["first.jsonl", "second.jsonl"]
    table = tool("cache", "stats", cwd=used)
    assert table.returncode == 0, table.stderr
    assert table.stderr == ""
    for fact in ("10 in ", "5 of 15 lookups (33.3%)", "sim/test", "second.jsonl", "100.0%"):
        assert fact in table.stdout


def explain(cwd: Path, row: object, *options: object) -> Run:
    return tool("cache", "explain", row, *SIM, *options, cwd=cwd)


def test_explain_names_the_field_that_differs_in_a_miss(used: Path) -> None:
    row = '{"prompt": "What is 3 squared?"}'
    hit = explain(used, row)
    assert (hit.returncode, hit.stdout) == (0, "1 hits, 0 misses, 0 invalid rows\n")
    miss = explain(used, row, "--temperature", 0.5)
    assert (miss.returncode, miss.stdout.splitlines()) == (
        1,
        [
            "row 0: miss, the nearest entry has temperature not set (here 0.5)",
            "0 hits, 1 misses, 0 invalid rows",
        ],
    )


def test_explain_takes_a_file_and_counts(used: Path) -> None:
    write_rows(used / "more.jsonl", [*prompts(40), {"nothing": 1}])
    ended = explain(used, "more.jsonl")
    lines = ended.stdout.splitlines()
    assert ended.returncode == 1
    assert lines[-1] == "10 hits, 30 misses, 1 invalid rows"
    assert lines[-2] == "... and 10 more misses"
    assert lines[0].startswith("row 10: miss, ")
    assert explain(used, "in.jsonl").returncode == 0
    assert explain(used, "absent.jsonl").returncode == 2


def test_clear_asks_first_and_removes_nothing_without_a_yes(used: Path) -> None:
    for answer in ("n\n", ""):
        refused = tool("cache", "clear", cwd=used, stdin=answer)
        assert refused.returncode == 1
        assert "Remove 10 entries?" in refused.stderr
        assert "nothing was removed" in refused.stderr
        assert refused.stdout.strip() == ""
    assert entries_in(used) == 10
    accepted = tool("cache", "clear", cwd=used, stdin="y\n")
    assert (accepted.returncode, accepted.stdout.strip()) == (0, "10 entries removed")
    assert entries_in(used) == 0


def test_clear_takes_models_and_ages(used: Path) -> None:
    run(used, "third.jsonl", "--model", "sim/other")
    for options, removed in (
        (("--older-than", "1h"), 0),
        (("--model", "sim/o*"), 5),
        (("--older-than", "1ms"), 10),
    ):
        ended = tool("cache", "clear", "--yes", *options, cwd=used)
        assert (ended.returncode, ended.stdout) == (0, f"{removed} entries removed\n")
    bad = tool("cache", "clear", "--yes", "--older-than", "yesterday", cwd=used)
    assert bad.returncode == 2
    assert "--older-than: " in bad.stderr


def test_prune_takes_a_size_and_a_time(used: Path) -> None:
    small = tool("cache", "prune", "--cache-max-size", "1kB", cwd=used)
    assert (small.returncode, small.stdout) == (0, "0 entries expired, 10 evicted\n")
    run(used, "third.jsonl", *SIM)
    late = tool("cache", "prune", "--cache-ttl", "1ms", cwd=used)
    assert (late.returncode, late.stdout) == (0, "5 entries expired, 0 evicted\n")


def test_entries_move_to_another_machine_and_are_hit_there(tmp_path: Path, server: Server) -> None:
    rows = prompts(20)
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        write_rows(folder / "in.jsonl", rows)
    run(here, "out.jsonl", *server.model)
    exported = tool("cache", "export", "../moved.jsonl", cwd=here)
    assert (exported.returncode, exported.stderr.splitlines()[-1]) == (0, "20 entries exported")
    imported = tool("cache", "import", "../moved.jsonl", cwd=there)
    assert (imported.returncode, imported.stderr.splitlines()[-1]) == (
        0,
        "20 entries imported; they are trusted as they are",
    )
    assert server.calls_of(lambda: run(there, "out.jsonl", *server.model)) == 0
    insist_on_right_answers(there, "out.jsonl", rows)


def test_an_export_can_go_through_a_pipe(used: Path) -> None:
    exported = tool("cache", "export", "-", "--model", "sim/*", cwd=used)
    assert exported.stdout.count("\n") == 10
    other = str(used / "other")
    imported = tool("cache", "import", "-", "--cache-dir", other, cwd=used, stdin=exported.stdout)
    assert imported.returncode == 0, imported.stderr
    again = tool("cache", "export", "-", "--cache-dir", other, cwd=used)
    assert again.stdout == exported.stdout


@pytest.mark.parametrize("name", ["stats", "explain"])
def test_a_cache_that_can_not_be_used_is_one_sentence_and_exit_code_5(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "cache.db").write_bytes(b"\xa5" * 10_000)
    arguments = ['{"prompt": "x"}', *SIM] if name == "explain" else []
    ended = tool("cache", name, *arguments, cwd=tmp_path)
    assert ended.returncode == 5
    (line,) = ended.stderr.splitlines()
    assert f"can't use the cache in {tmp_path}/cache: file is not a database" in line
    assert ended.stdout == ""
