"""The numbers of a run for Prometheus: a file for the node exporter's textfile collector."""

from llmscale.observe.metrics.families import Facts, families_of
from llmscale.observe.metrics.metrics_file import MetricsFile

__all__ = ["Facts", "MetricsFile", "families_of"]
