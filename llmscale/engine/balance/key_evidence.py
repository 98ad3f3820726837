"""Whether a refusal (401, 403) is about the key of an endpoint or about one request.

A status alone does not tell: a flagged prompt and a firewall have the same as a bad key. What tells
is what becomes of other requests with the same key. A refusal waits for those that are in flight;
it keeps its slot meanwhile, so that nothing more is sent with a key that may be bad.
"""

import asyncio

ENOUGH_AT_FIRST = 3  # refusals in a row with nothing answered before: it is the key
ENOUGH_LATER = 8  # refusals in a row after answers: the key is not taken any more
BAD_KEY = 401  # what is meant for keys, where there is nothing else to go by


class KeyEvidence:
    """What is known of one key at one endpoint."""

    def __init__(self) -> None:
        self._has_answered = False
        self._in_a_row = 0  # refusals
        self._undecided: list[asyncio.Future[bool]] = []

    @property
    def undecided(self) -> int:
        """Refusals that wait."""
        return len(self._undecided)

    def answered(self) -> None:
        """Note an answer: the key is right."""
        self._has_answered = True
        self._in_a_row = 0
        if self._undecided:
            self._decide(is_key=False)

    def ended(self, in_flight: int) -> None:
        """Note the end of a call; where only refusals are in flight, nobody else will tell."""
        if self._undecided and in_flight <= len(self._undecided):
            self._decide(is_key=self._is_key(alone=False))

    async def is_about_key(self, status: int | None, in_flight: int) -> bool:
        """Tell whether a refusal stops the job, as soon as that is known.

        `in_flight`: calls, with this one.
        """
        self._in_a_row += 1
        enough = ENOUGH_LATER if self._has_answered else ENOUGH_AT_FIRST
        if self._in_a_row >= enough or in_flight <= len(self._undecided) + 1:
            is_key = self._is_key(alone=status == BAD_KEY)
            self._decide(is_key=is_key)
            return is_key
        decided: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._undecided.append(decided)
        return await decided

    def _is_key(self, *, alone: bool) -> bool:
        """`alone`: whether a single refusal says that it is the key."""
        if self._has_answered:
            return self._in_a_row >= ENOUGH_LATER
        return self._in_a_row > 1 or alone

    def _decide(self, *, is_key: bool) -> None:
        undecided, self._undecided = self._undecided, []
        for decided in undecided:
            if not decided.done():
                decided.set_result(is_key)
