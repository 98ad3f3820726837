"""What the design forbids: imports up or sideways, vague names, modules untold, slow starts."""

import ast
import graphlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmscale

PACKAGE = Path(llmscale.__file__).parent

RANKS = {
    0: {"core"},
    1: {"config", "accounting", "vector_files"},
    2: {"rows", "job", "engine", "providers", "observe", "report", "mock"},
    3: {"runtime"},
    4: {"commands"},
    5: {"cli"},
    6: {"__main__"},
}
"""A room is a package of the top level. An import goes to a room of a lower rank only."""

RANK_OF = {room: rank for rank, rooms in RANKS.items() for room in rooms}

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "litellm", "tiktoken"}
FORBIDDEN_CALLS = {"eval", "exec", "compile"}
VAGUE_NAMES = {"util", "utils", "helper", "helpers", "manager", "handler", "base", "common", "misc"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(tree: ast.Module) -> Iterator[str]:
    """Yield what a module imports, at its top or in a function, by full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the package"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_rooms(tree: ast.Module) -> set[str]:
    """Return the rooms of the package that a module imports."""
    parts = [name.split(".") for name in imported_names(tree)]
    return {p[1] for p in parts if p[0] == "llmscale" and len(p) > 1 and p[1] != "__version__"}


def module_of(path: Path) -> str:
    """Return the full name of a module; a package has that of its folder."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(tree: ast.Module) -> set[str]:
    """Return the modules of the package that a module imports."""
    names = {module_of(path) for path in MODULES} - {"llmscale"}
    return {
        name if name in names else name.rpartition(".")[0]
        for name in imported_names(tree)
        if name.startswith("llmscale.") and {name, name.rpartition(".")[0]} & names
    }


def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"), str(module))


every_module = pytest.mark.parametrize("module", MODULES, ids=name_of)


@every_module
def test_every_module_has_a_rank(module: Path) -> None:
    assert room_of(module) in RANK_OF or name_of(module) == "__init__.py"


@every_module
def test_imports_go_to_lower_ranks_only(module: Path) -> None:
    room = room_of(module)
    imported = imported_rooms(parsed(module)) - {room}
    assert imported <= RANK_OF.keys()
    assert not {other for other in imported if RANK_OF[other] >= RANK_OF.get(room, -1)}


def test_no_circle_between_files() -> None:
    """Imports in functions and for typing alone count too."""
    imports = {module_of(path): imported_modules(parsed(path)) for path in MODULES}
    order = graphlib.TopologicalSorter(imports)
    order.prepare()  # raises CycleError, which names the circle


def test_the_check_of_imports_sees_every_form() -> None:
    tree = ast.parse(
        "import llmscale.job.job\n"
        "from llmscale import __version__, report as reports\n"
        "from llmscale.accounting.stats import Stats\n"
        "def late():\n    from llmscale.commands.run import run\n"
    )
    assert imported_rooms(tree) == {"job", "report", "accounting", "commands"}


@every_module
def test_nothing_that_executes_data_is_imported_or_called(module: Path) -> None:
    tree = parsed(module)
    assert not {name.partition(".")[0] for name in imported_names(tree)} & FORBIDDEN_MODULES
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not {call.id for call in calls if isinstance(call, ast.Name)} & FORBIDDEN_CALLS


@every_module
def test_no_error_is_raised_in_an_except_star(module: Path) -> None:
    """In Python 3.11.2, which is Debian's, it comes out in a group, and not with its exit code."""
    stars = [node for node in ast.walk(parsed(module)) if isinstance(node, ast.TryStar)]
    within = [node for star in stars for handler in star.handlers for node in ast.walk(handler)]
    assert not any(isinstance(node, ast.Raise) for node in within)


@every_module
def test_no_module_has_a_vague_name(module: Path) -> None:
    words = {word for part in module.relative_to(PACKAGE).parts for word in part[:-3].split("_")}
    assert not words & VAGUE_NAMES
    assert not set(module.relative_to(PACKAGE).parts) & VAGUE_NAMES


@every_module
def test_every_module_and_all_that_is_public_in_it_says_what_it_is_for(module: Path) -> None:
    tree = parsed(module)
    assert ast.get_docstring(tree), "the module"
    untold = [node.name for node in public_definitions(tree) if not ast.get_docstring(node)]
    assert not untold


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public_definitions(tree: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    """Yield public classes and functions, and those inside of public classes."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node)


HEAVY = {
    "aiohttp",
    "asyncio",
    "ddsketch",
    "diskcache",
    "genai_prices",
    "jsonschema",
    "msgspec",
    "orjson",
    "pydantic",
    "rich",
    "tqdm",
    "uvloop",
    "xllamacpp",
}

UNUSED_BY_A_FINISHED_JOB = HEAVY - {"ddsketch", "msgspec", "orjson"}


def imported_by(folder: Path, *arguments: str) -> set[str]:
    """Run llmscale as its own process and return the top-level modules that it imported."""
    environ = {n: v for n, v in os.environ.items() if not n.startswith("LLMSCALE_")}
    environ["XDG_CACHE_HOME"] = str(folder / "cache")
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "llmscale", *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    lines = [line for line in run.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    for arguments in (["--help"], ["run", "--help"], ["--version"]):
        imported = imported_by(tmp_path, *arguments)
        assert "typer" in imported
        assert not imported & HEAVY


def test_a_finished_job_is_found_finished_without_network_and_event_loop(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "hello"}\n')
    first = imported_by(tmp_path, "run", "in.jsonl", "--model", "sim/a")
    assert {"asyncio", "uvloop"} <= first, "or the check below checks nothing"
    assert "aiohttp" not in first, "a simulated model has no network"
    second = imported_by(tmp_path, "run", "in.jsonl", "--model", "sim/a")
    assert "orjson" in second
    assert not second & UNUSED_BY_A_FINISHED_JOB


def test_a_folder_in_which_nothing_has_changed_needs_no_network_and_no_numbers(
    tmp_path: Path,
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("hello")
    first = imported_by(tmp_path, "embed", "docs", "--model", "sim/a")
    assert {"asyncio", "numpy"} <= first, "or the check below checks nothing"
    second = imported_by(tmp_path, "embed", "docs", "--model", "sim/a")
    assert "semantic_text_splitter" in second
    assert not second & (UNUSED_BY_A_FINISHED_JOB | {"numpy"})
