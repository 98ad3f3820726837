"""What `llmscale estimate` stands on: all rows looked at once, a sample, and what both come to."""
