"""The composition root: settings become endpoints, layers and a session."""
