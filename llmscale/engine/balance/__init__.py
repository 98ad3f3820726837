"""Load balancing: `pool` picks the endpoint of a call, `retrying` tries again where that helps."""
