"""What is said of a file that is no report."""

from pathlib import Path

import pytest

from llmscale.core.errors import ConfigError
from llmscale.report.report_file import load


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "there is no report"),
        (b"{", "is not JSON"),
        (b"[1]", "is not a report"),
        (b'{"rows": {}}', "is not a report"),
        (b'{"bottleneck": {}, "schema": 99}', "has schema 99, and this llmscale reads schema 2"),
    ],
)
def test_what_is_no_report_is_refused_with_a_sentence(
    content: bytes | None, complaint: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "x.report.json").write_bytes(content)
    with pytest.raises(ConfigError, match=complaint):
        load(tmp_path / "x.report.json")
