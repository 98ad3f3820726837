"""`llmscale estimate`: count the input, run a sample, forecast the rest, project it."""
