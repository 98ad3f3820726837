"""What users came to: the dearest by name, the others together, and never more than so many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.accounting.stats import users
from llmscale.accounting.stats.summaries import UserSummary
from llmscale.accounting.stats.users import TOP, Users
from llmscale.core.records import Failure, Outcome, Reply, Request, Row, Usage

ROW = Row(index=0, request=Request(model="sim/a", messages=[]))


def answered(cost_usd: float | None = 1.0, tokens: int = 10, *, cached: bool = False) -> Outcome:
    usage = Usage(tokens - 1, 1)
    reply = Reply(
        text="x", finish_reason="stop", model="a", usage=usage, cost_usd=cost_usd, cached=cached
    )
    return Outcome(row=ROW, reply=reply)


def failed(reply: Reply | None = None) -> Outcome:
    return Outcome(row=ROW, failure=Failure(kind="bad_response", message="", reply=reply))


def users_of(**outcomes: list[Outcome]) -> Users:
    counted = Users()
    for user, each in outcomes.items():
        for outcome in each:
            counted.add(user, outcome)
    return counted


def test_a_user_has_rows_tokens_and_dollars() -> None:
    (anna,) = users_of(anna=[answered(0.5), answered(0.25), failed()]).summary().top
    assert anna == UserSummary(user="anna", rows=3, failed=1, tokens=20, cost_usd=0.75)


def test_what_was_not_paid_again_costs_a_user_nothing() -> None:
    (anna,) = users_of(anna=[answered(cached=True)]).summary().top
    assert (anna.rows, anna.tokens, anna.cost_usd) == (1, 0, 0)


def test_an_answer_that_was_paid_for_and_can_not_be_used_costs() -> None:
    (anna,) = users_of(anna=[failed(answered(0.5).reply)]).summary().top
    assert (anna.failed, anna.tokens, anna.cost_usd) == (1, 10, 0.5)


def test_an_unknown_price_is_never_zero_dollars() -> None:
    found = users_of(anna=[answered(None)], bert=[answered(None), answered(2.0)]).summary()
    assert {user.user: user.cost_usd for user in found.top} == {"anna": None, "bert": 2.0}


def test_the_dearest_come_first_then_those_with_the_most_tokens_then_by_name() -> None:
    found = users_of(
        d=[answered(0.0)], c=[answered(0.0)], b=[answered(0.0, 99)], a=[answered(5.0, 2)]
    )
    assert [user.user for user in found.summary().top] == ["a", "b", "c", "d"]


def test_beyond_the_top_all_others_are_one() -> None:
    found = users_of(**{f"u{n:03}": [answered(float(n))] for n in range(TOP + 5)}).summary()
    assert [user.user for user in found.top[:2]] == ["u024", "u023"]
    assert len(found.top) == TOP
    assert found.others == UserSummary(rows=5, failed=0, tokens=50, cost_usd=10.0)
    assert users_of(anna=[answered()]).summary().others is None


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=100), st.integers(1, 10))
def test_however_many_users_there_are_few_are_kept_and_none_of_their_rows_is_lost(
    rows: list[tuple[int, bool]], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(users, "MAX_USERS", most)
        shards = [Users(), Users()]
        for user, second in rows:
            shards[second].add(str(user), answered())
        shards[0].merge(shards[1])
    for shard in shards:
        assert len(shard._known) <= most
    found = shards[0].summary()
    counted = [*found.top, *([found.others] if found.others else [])]
    assert sum(user.rows for user in counted) == len(rows)
    assert sum(user.tokens for user in counted) == 10 * len(rows)


def test_a_merge_leaves_the_other_count_as_it_was() -> None:
    one, other = users_of(anna=[answered()]), users_of(anna=[answered()], bert=[answered()])
    before = other.summary()
    one.merge(other)
    one.add("bert", answered())
    assert other.summary() == before
    assert [user.rows for user in one.summary().top] == [2, 2]
