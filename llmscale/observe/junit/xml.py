"""JUnit XML as Jenkins, GitLab and others read it: one suite, and a test case for each check.

Not a case for each row, of which there may be millions: one that all rows are answered, one for
each type of failure with a few rows of it, one for each rule of --fail-on. Texts are data: what XML
1.0 or a terminal does not bear is taken out.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from llmscale.accounting.run_numbers import Report, ReportedRows
from llmscale.core.printable import printable
from llmscale.observe.junit.examples import Example

MAX_CHARACTERS = 500  # of a message

# https://www.w3.org/TR/xml/#charsets: what is left of the forbidden after `printable`
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Cases(NamedTuple):
    """What is checked beside the rows."""

    rules: Sequence[tuple[str, bool, str]]  # of --fail-on: the rule, whether it failed, its number
    examples: Mapping[str, Sequence[Example]]  # rows of each type of failure
    error: str | None = None  # the sentence that ended the run
    may_fail: bool = False  # a rule decides how many failed rows are too many

    @property
    def tag(self) -> str:
        """What a failed row is to those who read the file."""
        return "skipped" if self.may_fail else "failure"


def junit_xml(report: Report, cases: Cases) -> bytes:
    """Return the document of a run that has ended."""
    seconds = f"{report.wall_s:.3f}"
    suite = ElementTree.Element(
        "testsuite",
        id="0",
        name=_clean(f"llmscale {report.output}"),
        package="llmscale",
        hostname="localhost",
        timestamp=report.started.partition("+")[0],
        time=seconds,
    )
    facts = ElementTree.SubElement(suite, "properties")
    for name in ("llmscale", "exit_code"):
        ElementTree.SubElement(facts, "property", name=name, value=str(getattr(report, name)))
    _add_rows(suite, report.rows, cases).set("time", seconds)
    for kind, count in report.rows.failures.items():
        shown = "\n".join(map(_line, cases.examples.get(kind, ())))
        _add(suite, kind, f"{count} rows failed: {kind}", shown, cases.tag)
    for rule, failed, number in cases.rules:
        case = _add(suite, f"--fail-on {rule}", number if failed else None)
        if not failed and not number:
            ElementTree.SubElement(case, "skipped", message="there is no such number")
    if cases.error is not None:
        _add(suite, "the run comes to its end", cases.error, tag="error")
    suite.set("tests", str(len(suite.findall("testcase"))))
    for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))
    for tag in ("system-out", "system-err"):
        ElementTree.SubElement(suite, tag)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return bytes(ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _add_rows(suite: ElementTree.Element, rows: ReportedRows, cases: Cases) -> ElementTree.Element:
    counts = (("failed", rows.failed), ("pending", rows.pending))
    left = [f"{count} {name}" for name, count in counts if count]
    said = f"of {rows.total} rows, {' and '.join(left)}" if left else None
    tag = "failure" if rows.pending else cases.tag
    return _add(suite, "all rows are answered", said, tag=tag)


def _add(
    suite: ElementTree.Element,
    name: str,
    failed: str | None,
    text: str = "",
    tag: str = "failure",
) -> ElementTree.Element:
    """Add a case; `failed` None: it has passed."""
    case = ElementTree.SubElement(
        suite, "testcase", classname="llmscale", name=_clean(name), time="0"
    )
    if failed is not None:
        fault = ElementTree.SubElement(case, tag, message=_clean(failed))
        fault.text = text or _clean(failed)
        if tag != "skipped":
            fault.set("type", _clean(name))
    return case


def _line(example: Example) -> str:
    called = "" if example.id is None else f" ({example.id})"
    return _clean(f"row {example.row}{called}: {example.message}")


def _clean(text: str) -> str:
    """Return a text of the outside as one bounded line that XML and terminals bear."""
    line = _FORBIDDEN.sub("\ufffd", printable(text))
    return line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]}..."
