"""Which model answers a row: above the cache, so that a changed policy keeps every paid answer."""
