"""What providers on the network share: connections, keys, failures, quota headers."""
