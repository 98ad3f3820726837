"""Where a report lies, and what is said of a file that is none."""

from pathlib import Path

import pytest

from llmscale.core.errors import ConfigError
from llmscale.report.builder import encode
from llmscale.report.report_paths import default_path, load
from tests.report import built, mixed_stats


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ("x.results.jsonl", "x.report.json"),
        ("x.jsonl", "x.report.json"),
        ("x.json", "x.report.json"),
        ("x.out", "x.out.report.json"),
        ("x", "x.report.json"),
        ("a.jsonl/x.y.results.jsonl", "a.jsonl/x.y.report.json"),
        ("x.jsonl.results.jsonl", "x.jsonl.report.json"),
        ("/abs/x.jsonl", "/abs/x.report.json"),
    ],
)
def test_the_report_lies_beside_the_output_under_its_name(output: str, path: str) -> None:
    assert default_path(Path(output)) == Path(path)


def test_a_report_is_found_by_its_output_and_by_its_own_name(tmp_path: Path) -> None:
    report = built(mixed_stats(), 5)
    for name in ("x.report.json", "named.json"):
        (tmp_path / name).write_bytes(encode(report))
    for path in ("x.results.jsonl", "x.jsonl", "x.report.json", "named.json"):
        assert load(tmp_path / path)["rows"] == report["rows"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "there is no report"),
        (b"{", "is not JSON"),
        (b"[1]", "is not a report"),
        (b'{"rows": {}}', "is not a report"),
        (b'{"bottleneck": {}, "schema": 99}', "has the form 99, and this llmscale reads form 1"),
    ],
)
def test_what_is_no_report_is_refused_with_a_sentence(
    content: bytes | None, complaint: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "x.report.json").write_bytes(content)
    with pytest.raises(ConfigError, match=complaint):
        load(tmp_path / "x.jsonl")
