"""What the points share: a way into the table at the end."""

from tests.reliability.figures import shows

__all__ = ["shows"]
