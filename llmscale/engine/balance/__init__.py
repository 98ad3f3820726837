"""Load balancing: `pool` picks the endpoint of a call, `retry` retries where that helps."""
