"""What became of a run as JUnit XML, which CI systems show: a test case for each thing to check."""

from llmscale.observe.junit.examples import Examples
from llmscale.observe.junit.xml import Cases, junit_xml

__all__ = ["Cases", "Examples", "junit_xml"]
