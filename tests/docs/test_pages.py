"""The manual says what is so: its tables and figures are those of the code."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec
import orjson
import pytest

from llmscale import config
from llmscale import vector_files as exports
from llmscale.accounting.forecast.drift import MIN_ROWS, MIN_S, MIN_SHARE
from llmscale.accounting.forecast.drift_summary import DriftSummary
from llmscale.accounting.forecast.strata import MIN_DRAWN
from llmscale.accounting.run_numbers import SCHEMA_VERSION
from llmscale.accounting.stats import BOTTLENECKS, Spend
from llmscale.accounting.tokens import BYTES_PER_TOKEN, OUTPUT_TOKENS, PICTURE_BYTES
from llmscale.commands import help as manual
from llmscale.commands.estimate.forecast_from_counts import MAX_CHARACTERS_PER_TOKEN
from llmscale.commands.plan.advice import STAGES
from llmscale.commands.status import JobStatus, State
from llmscale.config import (
    DEFAULT_EMBEDDING_MODEL,
    FLAG_ONLY,
    SETTINGS,
    Config,
    EndpointConfig,
    UserLimit,
)
from llmscale.config.settings import FILE_ONLY
from llmscale.core.choices import CacheMode, StrategyName
from llmscale.core.records import FailureKind, Usage
from llmscale.engine import limits
from llmscale.engine.balance import adaptive_window as window
from llmscale.engine.balance import circuit_breaker as breaker
from llmscale.engine.balance import retry_budget
from llmscale.engine.cache.keys import KEY_FIELDS
from llmscale.engine.feed.fair_queue import LOOKAHEAD
from llmscale.providers import PROVIDERS, SPECS, anthropic, local, static_vectors
from llmscale.providers.http.failures import _STOPS_JOB
from llmscale.providers.http.finish_reasons import is_known
from llmscale.providers.sim import SimSettings
from llmscale.rows.chat_rows import PASSED_FIELDS, REQUEST_FIELDS
from llmscale.rows.documents import MAX_FILE_BYTES, SkipReason
from llmscale.runtime import models
from llmscale.runtime.models import Models
from tests.cli import help_pages
from tests.cli.tool import llmscale, read_rows
from tests.docs import generate
from tests.docs.pages import code, commands, everything, fences, flat, section, table, texts
from tests.servers.chat import ROOT
from tests.test_architecture import RANKS


def page(topic: str) -> str:
    return texts()[topic]


def told(text: str, start: str, end: str) -> list[str]:
    """Return what stands in backquotes between two pieces of a text."""
    assert start in flat(text), f"nobody says {start!r}"
    return code(flat(text).partition(start)[2].partition(end)[0])


# ---- words -------------------------------------------------------------------------------------


def test_every_topic_that_is_named_exists() -> None:
    topics = {*manual.topics(), *help_pages.command_names()}
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "llmscale").rglob("*.py")]
    for text in (everything(), *sources):
        for named in re.findall(r"llmscale help (?!llmscale)([a-z]+(?:-[a-z]+)*)", flat(text)):
            assert named in topics


def test_no_message_names_a_section_of_the_readme() -> None:
    for path in (ROOT / "llmscale").rglob("*.py"):
        assert "README" not in path.read_text(encoding="utf-8").replace('"README"', ""), path


def test_the_promise_stands_as_it_was_decided() -> None:
    promise = (
        "no finished row is lost or duplicated when the process dies; a call is paid again only "
        "if it was in flight at that moment, and the report counts those."
    )
    assert promise in flat(page("resume"))
    assert promise in flat(page("reliability")).replace("*No finished", "*no finished")
    prose = everything().replace("every input row is in the output exactly once", "")
    assert not re.search(r"exactly[\s-]once", prose, flags=re.IGNORECASE)


def test_the_messages_of_the_troubleshooting_page_exist() -> None:
    quoted = [row[0].strip('"') for row in table(page("troubleshooting")) if row[0].startswith('"')]
    assert quoted
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "llmscale").rglob("*.py")]
    for message in quoted:
        assert any(message in source for source in sources), message


def test_commands_name_only_samples_that_are_there() -> None:
    for path in re.findall(r"(?<!`)samples/[\w./-]*\w", everything()):
        assert (ROOT / path).is_file() or path == "samples/docs"


def test_the_tests_that_are_named_are_there() -> None:
    named = re.findall(r"`(tests/[\w./]+\.py)", everything())
    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(
    "text", [text for topic in texts() for text in fences(topic, "toml")], ids=str.splitlines
)
def test_the_settings_that_are_shown_can_be_used(text: str, tmp_path: Path) -> None:
    (tmp_path / "llmscale.toml").write_text(text, encoding="utf-8")
    loaded = config.load({}, {}, str(tmp_path / "llmscale.toml"))
    Models(loaded.models)
    assert loaded != Config()


# ---- flags, settings, commands -----------------------------------------------------------------


def test_the_page_of_flags_is_made_from_the_commands() -> None:
    assert page("flags") == generate.flags_page(), "python -m tests.docs.generate"


def test_the_flags_of_the_mock_server_are_those_of_its_table() -> None:
    rows = table(section("mock", "Options"))
    flags = {word for row in rows for word in code(row[0].replace(" ", "` `"))}
    named = {flag for flag in flags if flag.startswith("--")}
    assert named == help_pages.flags_of("mock") - {"--help"}


def test_every_flag_that_is_named_exists() -> None:
    prose = re.sub(r"^```(sh|text)\n.*?^```$", "", everything(), flags=re.MULTILINE | re.DOTALL)
    ours = "\n".join([prose, *(command.line for command in commands())])
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", ours))
    known = ("", *help_pages.command_names())
    assert named <= {flag for command in known for flag in help_pages.flags_of(command)}


def test_every_setting_is_a_flag_or_explained() -> None:
    without = set(SETTINGS) - FLAG_ONLY - FILE_ONLY
    written = re.findall(r"\| `([\w.]+)[^`]*` \|$", page("flags"), re.MULTILINE)
    assert {name.replace(".", "_") for name in written} == without - {"fallback_after"}
    for name in ("[[endpoint]]", "[[price]]", "[fallback]", "[limits.user]", "[limits.users.NAME]"):
        assert name in page("config")
    assert f"fallback_after = {Config().balance.fallback_after:g}\n" in page("routing")


def test_every_command_is_run_and_in_the_changelog() -> None:
    lines = [command.line for command in commands()]
    for name in help_pages.command_names():
        is_group = bool(help_pages.command_names(name))
        assert is_group or any(line.startswith(f"llmscale {name}") for line in lines), name
        assert " " in name or f"`llmscale {name}`" in page("changelog")


# ---- input and output --------------------------------------------------------------------------


def test_the_fields_of_rows_are_those_of_the_reader() -> None:
    text = page("input")
    assert sorted(told(text, "the flag of the same name:", ".")) == sorted(REQUEST_FIELDS)
    assert set(told(text, "sent unchanged:", ".")) == PASSED_FIELDS


def test_the_shapes_of_rows_are_shapes_of_rows(tmp_path: Path) -> None:
    for shape, example in table(page("input")):
        (tmp_path / "in.jsonl").write_text(code(example)[0] + "\n", encoding="utf-8")
        template = ("--template", "{name}") if "--template" in shape else ()
        options = ("--dry-run", "-m", "sim/a", *template)
        ended = llmscale("run", "in.jsonl", *options, cwd=tmp_path)
        assert ended.returncode == 0, ended.stdout


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which prompts and a batch were answered, and documents embedded."""
    folder = tmp_path_factory.mktemp("example")
    samples = ROOT / "samples"
    cached = ("--cache", "on", "--cache-dir", tmp_path_factory.mktemp("cache"), "-m", "sim/a")
    for name in ("prompts", "batch"):
        options = ("-o", f"{name}.out.jsonl", *cached, "--rpm", "60000")
        ended = llmscale("run", samples / f"{name}.jsonl", *options, cwd=folder)
        assert ended.returncode == 0, ended.stderr
    ended = llmscale("embed", samples / "docs", "-m", "sim/a", "-o", "v.out.jsonl", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return folder


def report_of(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((folder / f"{name}.out.report.json").read_bytes())
    return found


def test_the_fields_of_an_output_line_are_those_of_the_table(example: Path) -> None:
    rows = table(section("output", "Fields"))
    for line in read_rows(example / "prompts.out.jsonl"):
        assert list(line) == [code(row[0])[0] for row in rows]
    meaning = {code(row[0])[0]: row[1] for row in rows}
    assert set(code(meaning["usage"])) == set(Usage.__struct_fields__)
    assert all(map(is_known, code(meaning["finish_reason"])))
    assert code(meaning["error"]) == ["type", "message", "retryable"]


def test_the_fields_of_a_batch_line_are_those_of_the_text(example: Path) -> None:
    fields = told(page("output"), "each output line is an OpenAI batch line:", ".")
    for line in read_rows(example / "batch.out.jsonl"):
        assert list(line) == fields


def test_the_files_of_a_job_are_those_of_the_table(example: Path) -> None:
    named = {code(row[0])[0] for row in table(section("output", "Files"))}
    for path in example.iterdir():
        pattern = re.sub(r"^\w+\.out\.jsonl", "OUT", path.name)
        assert re.sub(r".*\.report\.json", "NAME.report.json", pattern) in named
        assert path.stat().st_mode & 0o777 == 0o600


# ---- models and endpoints ----------------------------------------------------------------------


def test_the_providers_are_all_there() -> None:
    named = {code(row[0])[0].partition("/")[0] for row in table(page("models"))}
    assert named == set(PROVIDERS)
    assert f"stops at {local.DEFAULT_MAX_TOKENS} tokens" in flat(page("models"))
    assert f"`anthropic/...` at {anthropic.SPEC.default_max_tokens}." in flat(page("models"))
    settings = flat(section("models", "Simulated models")).partition("`llmscale help")[0]
    assert set(code(settings)) == set(SimSettings.__struct_fields__)
    embed = {code(row[0])[0]: row[1] for row in table(page("embed"))}
    embedding = {spec.name for spec in SPECS if spec.embedding}
    assert {model.partition("/")[0] for model in embed} == embedding
    *cut, whole = static_vectors.DIMENSIONS
    assert f"of {whole} numbers" in embed[DEFAULT_EMBEDDING_MODEL]
    assert f"{' or '.join(map(str, cut))} with `--dimensions`" in embed[DEFAULT_EMBEDDING_MODEL]


def test_the_settings_of_endpoints_and_users_are_all_there() -> None:
    rows = table(section("models", "Several endpoints"))
    assert [n for row in rows for n in code(row[0])] == list(EndpointConfig.__struct_fields__)
    defaults = {code(row[0])[0]: row[2] for row in rows}
    assert defaults["weight"] == f"{EndpointConfig(model='').weight:g}"
    assert f" {models.DEFAULT_CONCURRENCY};" in defaults["capacity"]
    assert defaults["burst"].startswith(f"{limits.BURST_SHARE:.0%} ".replace("%", " %"))
    assert f"| {models.DEFAULT_CONCURRENCY}; local models" in page("flags")
    assert f"| {models.DEFAULT_BATCHES}; local models" in page("flags")
    shown = tomllib.loads(fences("limits", "toml")[0])["limits"]
    used = {name for user in (shown["user"], *shown["users"].values()) for name in user}
    assert used == set(UserLimit.__struct_fields__)


def test_the_strategies_are_all_there() -> None:
    assert [code(row[0])[0] for row in table(page("balancing"))] == list(get_args(StrategyName))


def test_every_kind_of_failure_is_in_the_table() -> None:
    rows = table(section("retries", "Error types"))
    assert {code(row[0])[0] for row in rows} == set(get_args(FailureKind))
    assert {code(row[0])[0] for row in rows if "exit code 3" in row[2]} == _STOPS_JOB


def test_the_cache_is_described_as_it_is() -> None:
    fields = told(page("cache"), "is the SHA-256 of", "The address")
    assert set(fields) == set(KEY_FIELDS)
    assert {code(row[0])[0] for row in table(page("cache"))} == set(get_args(CacheMode))
    named = {name for row in table(section("cache", "Commands")) for name in code(row[0])}
    assert {f"cache {name}" for name in named} == set(help_pages.command_names("cache"))


# ---- embeddings --------------------------------------------------------------------------------


def test_the_row_that_embed_takes_is_one(tmp_path: Path) -> None:
    (row,) = (text for text in code(page("embed")) if text.startswith('{"text"'))
    options = ("-m", "sim/a", "-o", "v.jsonl")
    ended = llmscale("embed", "-", *options, stdin=f"{row}\n", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (line,) = read_rows(tmp_path / "v.jsonl")
    assert line["text"] == orjson.loads(row)["text"]


def test_the_fields_of_a_line_of_vectors_are_those_of_the_table(example: Path) -> None:
    fields = [field for row in table(section("embed", "Output")) for field in code(row[0])]
    for line in read_rows(example / "v.out.jsonl"):
        assert list(line) == fields


def test_what_embed_skips_is_all_there() -> None:
    reasons = told(page("embed"), "skipped and counted:", "A file that you name")
    assert set(reasons) >= set(get_args(SkipReason))


def test_the_exports_are_those_of_the_code_and_their_extras_exist() -> None:
    rows = table(section("embed", "Other formats"))
    endings = {ending for row in rows for ending in code(row[0])}
    assert endings == exports.NPY | exports.PARQUET | exports.SQLITE
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    assert {extra for row in rows for extra in code(row[2])} <= extras
    for listed in re.findall(r'"\.\[([\w,]+)\]"', everything()):
        assert set(listed.split(",")) <= extras


def test_the_states_and_fields_of_a_status_are_those_of_the_tables() -> None:
    states, fields = table(page("status")), table(page("status"), 1)
    assert [code(row[0])[0] for row in states] == list(get_args(State))
    assert {n for row in fields for n in code(row[0])} == set(JobStatus.__struct_fields__)


# ---- before and after a run --------------------------------------------------------------------


def test_the_checks_of_the_plan_are_those_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "a"}\n')
    shown = llmscale("plan", "in.jsonl", "-m", "sim/a", "--json", cwd=tmp_path).stdout
    found = [(one["name"], one["required"]) for one in orjson.loads(shown)["lines"]]
    assert [(code(row[0])[0], row[2] == "yes") for row in table(page("plan"))] == found


PARTS = {"rows", "calls", "cache", "batches", "users", "bottleneck", "timeline", "job"}


def paths_of(report: dict[str, Any]) -> list[str]:
    """Return the fields of a report as the table names them."""
    paths = []
    for name, value in report.items():
        if name in PARTS:
            paths += [f"{name}.{field}" for field in value]
        elif name == "models":
            (model,) = value.values()
            paths += [f"models.NAME.{field}" for field in model]
        elif name == "endpoints":
            (endpoint,) = value.values()
            own = set(endpoint) - set(report["calls"])
            paths += ["endpoints.NAME", *(f"endpoints.NAME.{field}" for field in own)]
        else:
            paths.append(name)
    return paths


def test_the_fields_of_the_report_are_those_of_the_table(example: Path) -> None:
    report = report_of(example, "prompts")
    rows = table(section("report", "Fields of NAME.report.json"))
    assert {code(row[0])[0] for row in rows} == set(paths_of(report))
    assert rows[0][1].endswith(f": {SCHEMA_VERSION}")
    (model,) = report["models"].values()
    assert set(model["rows"]) == set(report["rows"]) - {"total", "kept", "pending"}
    (endpoint,) = report["endpoints"].values()
    assert set(model["calls"]) == set(report["calls"])
    assert set(endpoint) >= set(report["calls"])


def test_the_objects_of_the_report_are_those_of_the_text(example: Path) -> None:
    report = report_of(example, "prompts")
    (endpoint,) = report["endpoints"].values()
    for name, fields in {
        "latency_s": report["rows"]["latency_s"],
        "latency_histogram": report["rows"]["latency_histogram"],
        "tokens": report["calls"]["tokens"],
        "spend": report["job"]["spend"],
        "limits": endpoint["limits"],
        "estimate": DriftSummary.__struct_fields__,
        "documents": report_of(example, "v")["documents"],
    }.items():
        line = re.search(rf"^`{name}` has (.+)$", page("report"), flags=re.MULTILINE)
        assert line, name
        assert code(line[1])[: len(fields)] == list(fields)
    assert list(msgspec.structs.asdict(Spend())) == list(report["job"]["spend"])


def test_the_causes_of_bottlenecks_are_those_of_the_table() -> None:
    assert [code(row[0])[0] for row in table(page("bottleneck"))] == list(BOTTLENECKS)


# ---- development -------------------------------------------------------------------------------


def test_the_ranks_are_those_that_the_imports_keep() -> None:
    ranks = {int(rank): set(code(rooms)) for rank, rooms in table(section("development", "Layout"))}
    there = {path.stem for path in (ROOT / "llmscale").iterdir()}
    kept = {rank: rooms & there for rank, rooms in RANKS.items()}
    assert ranks == {rank: rooms for rank, rooms in kept.items() if rooms}
    packages = {code(row[0])[0] for row in table(section("development", "Layout"), 1)}
    assert packages == {path.name for path in (ROOT / "llmscale").iterdir() if is_package(path)}


def is_package(path: Path) -> bool:
    return path.is_dir() and path.name != "__pycache__"


# ---- figures -----------------------------------------------------------------------------------


def test_the_figures_in_the_text_are_those_of_the_code() -> None:
    """Bounds that nobody can set, and that a reader wants to know."""
    retries = flat(page("retries"))
    assert f"fails {breaker.FAILURES_IN_A_ROW} times in a row" in retries
    assert f"half of its last {breaker.RECENT_CALLS} calls" in retries
    assert breaker.FAILING_SHARE == 0.5
    assert f"up to {breaker.MAX_COOLDOWN_S:g} |" in retries
    assert f"{retry_budget.FLOOR:g} retries, and {retry_budget.SHARE * 100:g} % of its" in retries
    assert retry_budget.FLOOR_PER_S == 1
    balancing = flat(page("balancing"))
    assert f"gets {(1 - window.CUT_BUSY) * 100:.0f} % fewer slots" in balancing
    assert f"starts with {window.FIRST:g} calls in flight, or a quarter" in balancing
    assert window.FIRST_SHARE == 1 / 4
    assert f"up to {LOOKAHEAD:,} rows are set aside" in flat(page("limits"))
    embed = flat(page("embed"))
    assert f"A file may have {MAX_FILE_BYTES >> 20} MB" in embed
    assert f"when it has {Config().embed.batch_size} texts" in embed
    assert "a second after its first text" in embed
    assert Config().embed.batch_wait == 1
    assert f"estimated at {BYTES_PER_TOKEN:g} bytes of UTF-8 each" in embed
    estimated = (
        f"{BYTES_PER_TOKEN:g} bytes of UTF-8 are a token, a picture is "
        f"{PICTURE_BYTES / BYTES_PER_TOKEN:,.0f}, and an answer without `max_tokens` "
        f"{OUTPUT_TOKENS:g}"
    )
    assert estimated in flat(page("limits"))
    estimate = flat(page("estimate"))
    assert f"prompts of {MAX_CHARACTERS_PER_TOKEN:g} characters a token" in estimate
    assert (MIN_DRAWN, MIN_SHARE, MIN_S) == (2, 0.1, 60)
    assert f"after {MIN_ROWS} rows or a tenth of them" in estimate
    *stages, whole = (f"{stage * 100:g}" for stage in STAGES)
    assert f"stages of {', '.join(stages)} and {whole} %" in flat(page("plan"))
