"""A document that CI systems take: by the rules that their schemas share, whatever is in a text."""

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from llmscale.accounting.run_numbers import Report
from llmscale.accounting.stats import Stats
from llmscale.core.records import FailureKind
from llmscale.observe.junit import Cases, junit_xml
from llmscale.observe.junit.examples import Example
from llmscale.observe.junit.xml import MAX_CHARACTERS
from tests.observe.alerts import add_rows
from tests.observe.junit import report_of

NO_CASES = Cases(rules=(), examples={})


def mixed(answered: int, failed: int, total: int, exit_code: int = 1) -> Report:
    stats = Stats()
    add_rows(stats, answered, failed)
    return report_of(stats, total, exit_code=exit_code)


def suite_of(document: bytes) -> ElementTree.Element:
    """Return the only suite of a document that keeps to what the schemas have in common.

    Those of Ant (the strictest), Jenkins and Maven Surefire.
    """
    suites = ElementTree.fromstring(document)
    (suite,) = suites
    assert (suites.tag, suite.tag) == ("testsuites", "testsuite")
    required = {"id", "name", "package", "hostname", "timestamp", "time", "tests"}
    counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    assert set(suite.attrib) == required | set(counts)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
    assert float(suite.attrib["time"]) >= 0
    cases = suite.findall("testcase")
    expected = ["properties", *["testcase"] * len(cases), "system-out", "system-err"]
    assert [child.tag for child in suite] == expected
    assert suite.attrib["tests"] == str(len(cases))
    for name, tag in counts.items():
        assert suite.attrib[name] == str(len(suite.findall(f"testcase/{tag}")))
    for one in suite[0]:
        assert (one.tag, set(one.attrib)) == ("property", {"name", "value"})
    for case in cases:
        assert set(case.attrib) == {"classname", "name", "time"}
        assert len(case) <= 1
        for fault in case:
            wanted = {"message"} if fault.tag == "skipped" else {"message", "type"}
            assert set(fault.attrib) == wanted
    assert len({case.attrib["name"] for case in cases}) == len(cases)
    return suite


def cases_of(document: bytes) -> dict[str, tuple[str, str, str] | None]:
    """Return each case with its fault: the tag, the message and the text; None: it has passed."""
    found: dict[str, tuple[str, str, str] | None] = {}
    for case in suite_of(document).findall("testcase"):
        faults = [(f.tag, f.attrib["message"], f.text or "") for f in case]
        found[case.attrib["name"]] = faults[0] if faults else None
    return found


def test_a_run_without_a_fault_passes() -> None:
    document = junit_xml(mixed(3, 0, 3, exit_code=0), NO_CASES)
    assert cases_of(document) == {"all rows are answered": None}
    suite = suite_of(document)
    assert suite.attrib["name"] == "llmscale out.jsonl"
    assert (suite.attrib["timestamp"], suite.attrib["time"]) == ("2026-01-02T03:04:05", "2.000")
    properties = {p.attrib["name"]: p.attrib["value"] for p in suite[0]}
    assert properties["exit_code"] == "0"


def test_rows_that_failed_are_a_case_for_each_type_with_a_few_of_them() -> None:
    examples = {"timeout": [Example(7, "x", "no answer"), Example(9, None, "none either")]}
    document = junit_xml(mixed(5, 4, 10), Cases(rules=(), examples=examples))
    said = "of 10 rows, 4 failed and 1 pending"
    assert cases_of(document) == {
        "all rows are answered": ("failure", said, said),
        "timeout": (
            "failure",
            "4 rows failed: timeout",
            "row 7 (x): no answer\nrow 9: none either",
        ),
    }


def test_each_rule_is_a_case_that_fails_passes_or_has_no_number() -> None:
    rules = [("errors>1%", True, "2 % failed"), ("p95>3s", False, "1 s"), ("cost>1", False, "")]
    assert cases_of(junit_xml(mixed(3, 0, 3), Cases(rules, {}))) == {
        "all rows are answered": None,
        "--fail-on errors>1%": ("failure", "2 % failed", "2 % failed"),
        "--fail-on p95>3s": None,
        "--fail-on cost>1": ("skipped", "there is no such number", ""),
    }


def test_what_ended_the_run_is_an_error() -> None:
    why = "the key is refused"
    found = cases_of(junit_xml(mixed(0, 0, 3, 3), Cases(rules=(), examples={}, error=why)))
    assert found["the run comes to its end"] == ("error", why, why)


def test_many_rows_are_few_cases() -> None:
    document = junit_xml(mixed(10, 5_000, 5_010), NO_CASES)
    assert len(cases_of(document)) == 2
    assert len(document) < 2_000


@given(st.text(), st.text(), st.text())
def test_any_text_makes_a_document_that_can_be_read(name: str, id_: str, message: str) -> None:
    stats = Stats()
    add_rows(stats, failed=1)
    kind: FailureKind = "timeout"
    cases = Cases([("errors>1%", True, message)], {kind: [Example(0, id_, message)]}, error=message)
    found = cases_of(junit_xml(report_of(stats, 1, output=name), cases))
    fault = found["timeout"]
    assert fault is not None
    assert fault[2].startswith("row 0 (")


def test_no_text_steers_a_terminal_or_is_endless() -> None:
    ugly = "\x1b]52;c;x\x07 ]]> <b> \x00 \ufffe" + "x" * 10_000
    examples = {"timeout": [Example(0, None, ugly)]}
    document = junit_xml(mixed(0, 1, 1), Cases((), examples, error=ugly)).decode()
    assert not {"\x1b", "\x07", "\x00", "\ufffe"} & set(document)
    assert "]]&gt; &lt;b&gt;" in document
    assert len(document) < 10 * MAX_CHARACTERS
