"""Who watches a run and never changes it: progress, logs, alerts, metrics, JUnit, traces."""
