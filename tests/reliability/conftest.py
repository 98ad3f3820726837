"""What the cases share: a way into the table at the end."""

from tests.reliability.figures import shows

__all__ = ["shows"]
