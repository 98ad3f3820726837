"""What CI installs is locked to the hash, and is what pyproject.toml asks for."""

import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from llmscale.providers import local
from tests.servers.chat import ROOT

LOCK = (ROOT / ".ci" / "requirements.txt").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
STALE = "pyproject.toml has changed: run .ci/lock, and commit what it writes"
PYTHONS = ("3.11", "3.12", "3.13")
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
