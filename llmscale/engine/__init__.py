"""What answers a row, in the order of its path: feed, pipeline, layers, cache, balance, limits."""
