"""Where the layers meet: `stack` builds what answers a row, `run` takes a job through it."""
