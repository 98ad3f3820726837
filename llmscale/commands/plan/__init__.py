"""What `llmscale plan` stands on: an earlier run, and a function for each line."""
