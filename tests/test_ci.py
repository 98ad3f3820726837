"""What CI runs and on which Pythons; what it installs is locked to the hash."""

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from llmscale.providers import local
from tests.servers.chat import ROOT

LOCK = (ROOT / ".ci" / "requirements.txt").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
STALE = "pyproject.toml has changed: run .ci/lock, and commit what it writes"
CLASSIFIERS = PROJECT["project"]["classifiers"]
PYTHONS = [c.rpartition(" ")[2] for c in CLASSIFIERS if re.search(r" :: Python :: 3\.", c)]
MACHINES = ("x86_64", "aarch64")


@cache
def locked() -> list[tuple[Requirement, list[str]]]:
    """Return each version with its hashes."""
    found = []
    for entry in LOCK.replace("\\\n", " ").splitlines():
        if not entry.startswith("#"):
            wanted, *hashes = re.split(r"\s+--hash=", entry.strip())
            found.append((Requirement(wanted), hashes))
    return found


def asked_for() -> Iterator[Requirement]:
    """Yield what pyproject.toml asks for, through the extras that an extra is made of."""
    extras = PROJECT["project"]["optional-dependencies"]
    pending = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    pending += [f"{PROJECT['project']['name']}[dev]"]
    while pending:
        requirement = Requirement(pending.pop())
        if requirement.name == PROJECT["project"]["name"]:
            pending += [text for extra in requirement.extras for text in extras[extra]]
        else:
            yield requirement


def versions(name: str, environment: dict[str, str]) -> list[str]:
    """Return the versions that are installed for a Python on a machine."""
    return [
        next(iter(found.specifier)).version
        for found, _ in locked()
        if canonicalize_name(found.name) == canonicalize_name(name)
        and (found.marker is None or found.marker.evaluate(environment))
    ]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_locked_to_a_version_that_fits(python: str, machine: str) -> None:
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "extra": "",
    }
    for requirement in asked_for():
        found = versions(requirement.name, environment)
        assert len(found) == 1, f"{requirement}: {STALE}"
        assert requirement.specifier.contains(found[0]), f"{requirement}: {STALE}"
    for entry, _ in locked():
        assert len(versions(entry.name, environment)) <= 1, f"{entry.name} in two versions"


def test_the_weights_are_those_that_the_provider_names() -> None:
    wanted = {requirement for _, _, requirement in local._WEIGHTS.values()}
    assert wanted <= {str(found) for found, _ in locked()}


def test_every_version_is_exact_and_has_hashes_and_comes_from_nowhere_in_particular() -> None:
    assert len(locked()) > 50
    for found, hashes in locked():
        assert str(found.specifier).startswith("=="), found
        assert found.url is None
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), found
    assert "://" not in LOCK
    assert not re.search(r"^-", LOCK, re.MULTILINE), "no option of pip"


def test_the_supported_pythons_are_named_one_by_one() -> None:
    assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"
    assert len(PYTHONS) >= 3


FAKE_PYTHON = """#!/bin/sh
# `-m venv DIR` makes an environment of tools that do nothing but say so; else: the version
if [ "$1" = -m ]; then
    mkdir -p "$3/bin"
    for tool in ruff mypy; do printf '#!/bin/sh\\n' > "$3/bin/$tool"; done
    printf '#!/bin/sh\\necho "%s in 1.50s"\\nexit %s\\n' "{closing}" {code} > "$3/bin/pytest"
    chmod +x "$3"/bin/*
else
    echo {version}
fi
"""

TOOLS = "awk bash cat chmod cp dirname env grep mkdir mktemp rm sed sh tee"
"""All that `.ci/run` needs beside Python, so that no Python of this machine is found."""


def run_ci(clone: Path, pythons: dict[str, tuple[str, int]]) -> subprocess.CompletedProcess[str]:
    """Run `.ci/run` on Pythons that do nothing; each has a closing line and an exit code."""
    path = clone / "path"
    for name, (closing, code) in pythons.items():
        (version,) = re.findall(r"3\.\d+", name) or [PYTHONS[0]]
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FAKE_PYTHON.format(version=version, closing=closing, code=code))
        file.chmod(0o755)
    (path / "pyenv").write_text(f'#!/bin/sh\necho "{path}/pyenv-root"\n')
    (path / "pyenv").chmod(0o755)
    for tool in TOOLS.split():
        (path / tool).symlink_to(shutil.which(tool) or tool)
    (clone / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", clone / ".ci" / "run")
    (clone / ".ci" / "audit").write_text("#!/bin/sh\n")
    (clone / ".ci" / "audit").chmod(0o755)
    shutil.copy(ROOT / "pyproject.toml", clone / "pyproject.toml")
    (clone / "README.md").write_text("python3 -m venv .venv && .venv/bin/pytest -q\n")
    return subprocess.run(
        [clone / ".ci" / "run"],
        env={"PATH": f"{path}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_ci_runs_the_tests_on_each_python_here_and_sums_them_in_its_last_line(
    tmp_path: Path,
) -> None:
    pythons = {
        "python3": ("5 passed, 1 skipped", 0),
        "python3.12": ("6 passed", 0),
        "pyenv-root/versions/3.13.0/bin/python3": ("4 passed, 2 skipped", 0),
    }
    ended = run_ci(tmp_path, pythons)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "15 passed, 3 skipped in 4.50s"
    assert "not found here" not in ended.stderr
    assert {path.name for path in tmp_path.glob(".venv*")} == {
        ".venv",
        ".venv-3.12",
        ".venv-3.13",
    }


def test_ci_names_the_pythons_that_are_not_here_and_what_failed(tmp_path: Path) -> None:
    pythons = {"python3": ("5 passed", 0), "python3.12": ("1 failed, 4 passed, 2 errors", 1)}
    ended = run_ci(tmp_path, pythons)
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1] == "1 failed, 9 passed, 2 error in 3.00s"
    assert "not found here: 3.13\n" in ended.stderr
    failed = ".venv-3.12 && .venv-3.12/bin/pytest -q"
    assert f"failed: logged bash -c python3.12 -m venv {failed}\n" in ended.stderr


def test_an_audit_that_can_not_run_says_so_and_is_no_failure() -> None:
    nowhere = "http://127.0.0.1:1"
    ended = subprocess.run(
        [ROOT / ".ci" / "audit"],
        env=os.environ | {"https_proxy": nowhere, "HTTPS_PROXY": nowhere},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0
    said = "audit: could not run (no vulnerability service can be reached)\n"
    assert (ended.stdout, ended.stderr) == ("", said)
