"""What the rows of each user came to. Bounded: users beyond the first thousands are one."""

from collections.abc import Iterable

from llmscale.accounting.stats.summaries import UsersSummary, UserSummary
from llmscale.core.records import Outcome

MAX_USERS = 10_000  # counted each for himself
TOP = 20  # of them are reported


class UserRows:
    """What became of the rows of one user, or of many."""

    __slots__ = ("cost_usd", "failed", "rows", "tokens", "unpriced")

    def __init__(self) -> None:
        self.rows = 0
        self.failed = 0
        self.tokens = 0  # that were paid for: not those of shared and stored answers
        self.cost_usd = 0.0
        self.unpriced = 0

    def add(self, outcome: Outcome) -> None:
        """Count one row."""
        self.rows += 1
        self.failed += outcome.failure is not None
        reply = outcome.reply if outcome.failure is None else outcome.failure.reply
        if reply is None or reply.cached or reply.deduped:
            return
        self.tokens += reply.usage.total_tokens
        self.cost_usd += reply.cost_usd or 0.0
        self.unpriced += reply.cost_usd is None

    def merge(self, other: "UserRows") -> None:
        """Take in another count."""
        self.rows += other.rows
        self.failed += other.failed
        self.tokens += other.tokens
        self.cost_usd += other.cost_usd
        self.unpriced += other.unpriced

    def summary(self, user: str | None = None) -> UserSummary:
        """Return the numbers; the cost is None where no price is known."""
        known = self.cost_usd or not self.unpriced
        return UserSummary(
            user=user,
            rows=self.rows,
            failed=self.failed,
            tokens=self.tokens,
            cost_usd=round(self.cost_usd, 9) if known else None,
        )


class Users:
    """The counts of all users that rows name."""

    def __init__(self) -> None:
        self._known: dict[str, UserRows] = {}
        self._others = UserRows()

    def add(self, user: str, outcome: Outcome) -> None:
        """Count a row of a user."""
        self._of(user).add(outcome)

    def merge(self, other: "Users") -> None:
        """Take in another count."""
        for user, rows in other._known.items():
            self._of(user).merge(rows)
        self._others.merge(other._others)

    def summary(self) -> UsersSummary:
        """Return those with the highest cost, then tokens, by name, and all others together."""
        ranked = sorted(self._known.items(), key=lambda u: (-u[1].cost_usd, -u[1].tokens, u[0]))
        others = _sum([rows for _, rows in ranked[TOP:]] + [self._others])
        return UsersSummary(
            [rows.summary(user) for user, rows in ranked[:TOP]],
            others.summary() if others.rows else None,
        )

    def _of(self, user: str) -> UserRows:
        rows = self._known.get(user)
        if rows is None:
            if len(self._known) >= MAX_USERS:
                return self._others
            rows = self._known[user] = UserRows()
        return rows


def _sum(parts: Iterable[UserRows]) -> UserRows:
    total = UserRows()
    for part in parts:
        total.merge(part)
    return total
