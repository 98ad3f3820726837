"""Numbers that add up: tokens, prices, a budget, the counts of a run, and what they project to."""
