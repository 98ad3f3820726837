"""What every `CacheBackend` and every `CacheAdmin` promise, wherever they keep replies.

class TestOnDisk(CacheBackendContract, CacheAdminContract):
    @pytest.fixture
    def backend(self, tmp_path): ...
"""

import asyncio
import time
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest
from msgspec.structs import replace

from llmscale.core.cache_records import Entry
from llmscale.core.protocols import CacheAdmin, CacheBackend
from llmscale.core.records import Request
from llmscale.engine.cache.entry import seal
from llmscale.engine.cache.keys import fingerprint, key_of
from tests.engine.cache import (
    DAY_S,
    ROOMY_BYTES,
    answer_to,
    entry_of,
    found_in,
    questions,
    reply,
    request,
    safe,
)


class Backend(Protocol):
    """One place for replies, and what a test does to it behind the store's back."""

    def opened(
        self, *, replaces: bool = True, ttl_s: float | None = None
    ) -> AbstractAsyncContextManager[CacheBackend]:
        """Open a store on the place, as often as wanted, and close it."""
        ...

    def administered(
        self, *, ttl_s: float | None = None, max_bytes: int = ROOMY_BYTES
    ) -> AbstractAsyncContextManager[CacheAdmin]:
        """Open the place as a command does, and close it."""
        ...

    def read(self, key: str) -> bytes:
        """Return the bytes that are stored under a key."""
        ...

    def write(self, key: str, value: bytes) -> None:
        """Put other bytes where those of a stored key are."""
        ...

    def ruin(self) -> None:
        """Make the place unusable, under the hands of who has it open."""
        ...


async def put(store: CacheBackend, *asked: Request, age_s: float = 0.0) -> None:
    """Store the right answers to questions, all at once, and wait until they are safe."""
    for one in asked:
        store.put(key_of(one), entry_of(one, age_s=age_s), one.model)
    await safe(store)


async def is_right(store: CacheBackend, asked: Request) -> bool:
    """Tell whether a question is a hit; fail where the answer is not its own."""
    entry = await found_in(store, asked)
    assert entry is None or entry.reply == answer_to(asked)
    return entry is not None


class CacheBackendContract(ABC):
    """The promises. It fails by missing, never by raising and never by a wrong answer."""

    @pytest.fixture
    @abstractmethod
    def backend(self) -> Backend:
        """Return an empty place."""

    async def test_what_was_never_stored_is_none(self, backend: Backend) -> None:
        async with backend.opened() as store:
            assert await found_in(store, request()) is None

    async def test_what_is_asked_together_is_found_but_for_what_is_not_there(
        self, backend: Backend
    ) -> None:
        asked = questions(100)
        async with backend.opened() as store:
            await put(store, *asked[::2])
            found = await store.get_many([key_of(one) for one in asked])
        replies = {key: entry.reply for key, entry in found.items()}
        assert replies == {key_of(one): answer_to(one) for one in asked[::2]}

    async def test_where_nothing_is_asked_nothing_is_found(self, backend: Backend) -> None:
        async with backend.opened() as store:
            await put(store, request())
            assert await store.get_many([]) == {}

    async def test_what_was_stored_is_found_whole(self, backend: Backend) -> None:
        asked = request("é\u2028\U0001f600\x00")
        calls = [{"id": "c", "function": {"name": "f", "arguments": '{"x": 1}'}}]
        answer = reply(None, finish_reason="tool_calls", tool_calls=calls, cost_usd=0.25)
        entry = Entry(answer, time.time(), fingerprint(asked))
        async with backend.opened() as store:
            store.put(key_of(asked), entry, asked.model)
            await safe(store)
            assert await found_in(store, asked) == entry

    async def test_a_large_answer_is_found_whole(self, backend: Backend) -> None:
        entry = Entry(reply("word " * 400_000), time.time(), {})
        async with backend.opened() as store:
            store.put(key_of(request()), entry, "openai/m")
            await safe(store)
            assert await found_in(store, request()) == entry

    async def test_what_is_said_to_be_safe_is_found_by_another(self, backend: Backend) -> None:
        async with backend.opened() as one, backend.opened() as other:
            for asked in questions(20):
                await put(one, asked)
                assert await is_right(other, asked)

    async def test_what_was_put_is_found_from_then_on(self, backend: Backend) -> None:
        asked = questions(20)
        async with backend.opened() as store:
            for one in asked:
                store.put(key_of(one), entry_of(one), one.model)
                assert await is_right(store, one)
            await safe(store)
            for one in asked:
                assert await is_right(store, one)

    async def test_where_nothing_is_on_its_way_all_is_safe_at_once(self, backend: Backend) -> None:
        calls: list[str] = []
        async with backend.opened() as store:
            store.when_safe(lambda: calls.append("before"))
            assert calls == ["before"]
            await put(store, request())
            store.when_safe(lambda: calls.append("after"))
            assert calls == ["before", "after"]

    async def test_it_is_there_when_it_is_opened_again(self, backend: Backend) -> None:
        asked = questions(20)
        async with backend.opened() as store:
            await put(store, *asked)
        async with backend.opened() as store:
            for one in asked:
                assert await is_right(store, one)

    async def test_every_question_has_its_own_answer(self, backend: Backend) -> None:
        asked = [
            *questions(500),
            *(request(model=model) for model in ("openai/m", "openai/M", 'sim/it\'s "m"')),
            *(request("Aa"), request("BB"), request(sample=1), request(temperature=0.0)),
        ]
        async with backend.opened() as store:
            await put(store, *asked)
            for one in asked:
                assert await is_right(store, one)

    async def test_the_later_answer_wins(self, backend: Backend) -> None:
        asked = request()
        async with backend.opened() as store:
            await put(store, asked)
            later = replace(entry_of(asked), reply=reply("later"))
            store.put(key_of(asked), later, asked.model)
            await safe(store)
            assert await found_in(store, asked) == later

    async def test_the_first_answer_stays_where_nothing_is_replaced(self, backend: Backend) -> None:
        asked = request()
        async with backend.opened(replaces=False) as store:
            await put(store, asked)
            later = replace(entry_of(asked), reply=reply("later"))
            store.put(key_of(asked), later, asked.model)
            await safe(store)
            assert await is_right(store, asked)

    async def test_an_answer_is_a_miss_after_its_time(self, backend: Backend) -> None:
        old, young = questions(2)
        async with backend.opened(ttl_s=DAY_S) as store:
            await put(store, old, age_s=DAY_S + 60)
            await put(store, young, age_s=DAY_S - 60)
            assert not await is_right(store, old)
            assert await is_right(store, young)

    async def test_an_answer_that_was_stored_for_ever_is_a_miss_under_a_shorter_life(
        self, backend: Backend
    ) -> None:
        async with backend.opened() as store:
            await put(store, request(), age_s=DAY_S + 60)
        async with backend.opened(ttl_s=DAY_S) as store:
            assert not await is_right(store, request())

    async def test_a_changed_value_is_a_miss(self, backend: Backend) -> None:
        changed, intact = questions(2)
        async with backend.opened() as store:
            await put(store, changed, intact)
        value = bytearray(backend.read(key_of(changed)))
        value[-2] ^= 1
        backend.write(key_of(changed), bytes(value))
        async with backend.opened() as store:
            assert not await is_right(store, changed)
            assert await is_right(store, intact)

    async def test_a_value_of_another_key_is_a_miss(self, backend: Backend) -> None:
        one, other = questions(2)
        async with backend.opened() as store:
            await put(store, one, other)
        backend.write(key_of(one), backend.read(key_of(other)))
        async with backend.opened() as store:
            assert await found_in(store, one) is None
            assert await is_right(store, other)

    async def test_a_value_of_another_version_is_a_miss(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = request()
        async with backend.opened() as store:
            await put(store, asked)
        with monkeypatch.context() as patched:
            patched.setattr("llmscale.engine.cache.entry.VERSION", 99)
            backend.write(key_of(asked), seal(key_of(asked), entry_of(asked)))
        async with backend.opened() as store:
            assert await found_in(store, asked) is None

    @pytest.mark.parametrize(
        "value",
        [b"", b"x", b"{}", b"\x80\x04K\x01.", b"\x01\x00" * 50],
        ids=["empty", "short", "JSON", "pickle", "version and noise"],
    )
    async def test_a_value_that_is_not_ours_is_a_miss(self, backend: Backend, value: bytes) -> None:
        async with backend.opened() as store:
            await put(store, request())
        backend.write(key_of(request()), value)
        async with backend.opened() as store:
            assert await found_in(store, request()) is None

    async def test_a_miss_can_be_stored_anew(self, backend: Backend) -> None:
        asked = request()
        async with backend.opened() as store:
            await put(store, asked)
        backend.write(key_of(asked), b"damaged")
        async with backend.opened() as store:
            await put(store, asked)
            assert await is_right(store, asked)

    async def test_two_that_store_at_once_lose_nothing(self, backend: Backend) -> None:
        asked = questions(200)
        async with backend.opened() as one, backend.opened() as other:
            await asyncio.gather(put(one, *asked[:120]), put(other, *asked[80:]))
            for question in asked:
                assert await is_right(one, question)
                assert await is_right(other, question)

    async def test_ruin_costs_hits_and_raises_nothing(self, backend: Backend) -> None:
        asked = questions(30)
        async with backend.opened() as store:
            await put(store, *asked)
            backend.ruin()
            async with asyncio.timeout(10):
                for one in asked:
                    await is_right(store, one)
                    await put(store, one)


class CacheAdminContract(ABC):
    """The promises to commands. Entries are stored by a `CacheBackend` on the same place."""

    @pytest.fixture
    @abstractmethod
    def backend(self) -> Backend:
        """Return an empty place."""

    async def stored(self, backend: Backend, *asked: Request, age_s: float = 0.0) -> None:
        async with backend.opened() as store:
            await put(store, *asked, age_s=age_s)

    async def test_an_empty_cache_has_nothing_to_count_find_or_remove(
        self, backend: Backend
    ) -> None:
        async with backend.administered() as cache:
            contents = await cache.contents()
            assert (contents.entries, contents.models, contents.ages_s) == (0, {}, [])
            assert [one async for one in cache.entries()] == []
            assert await cache.get_many([key_of(request())]) == {}
            assert await cache.clear("*", None) == 0
            assert await cache.prune() == (0, 0)

    async def test_entries_are_counted_by_model_with_their_bytes_and_ages(
        self, backend: Backend
    ) -> None:
        asked = [*questions(3), request(model="sim/other")]
        await self.stored(backend, *asked, age_s=100)
        async with backend.administered() as cache:
            contents = await cache.contents()
        assert contents.entries == 4
        assert {model: count for model, (count, _) in contents.models.items()} == {
            asked[0].model: 3,
            "sim/other": 1,
        }
        assert all(size > 0 for _, size in contents.models.values())
        assert contents.ages_s == pytest.approx([100] * 4, abs=10)

    async def test_several_keys_are_looked_up_at_once(self, backend: Backend) -> None:
        asked = questions(20)
        await self.stored(backend, *asked[:10])
        async with backend.administered() as cache:
            found = await cache.get_many([key_of(one) for one in asked])
        replies = {key: entry.reply for key, entry in found.items()}
        assert replies == {key_of(one): answer_to(one) for one in asked[:10]}

    async def test_a_damaged_entry_is_held_and_is_neither_found_nor_listed(
        self, backend: Backend
    ) -> None:
        damaged, intact = questions(2)
        await self.stored(backend, damaged, intact)
        backend.write(key_of(damaged), b"noise")
        keys = [key_of(damaged), key_of(intact)]
        async with backend.administered() as cache:
            assert await cache.holds([*keys, key_of(request("never"))]) == set(keys)
            assert (await cache.get_many(keys)).keys() == {key_of(intact)}
            assert [one.key async for one in cache.entries()] == [key_of(intact)]

    async def test_what_is_listed_can_be_added_to_another_cache_and_is_found_there(
        self, backend: Backend
    ) -> None:
        asked = questions(30)
        await self.stored(backend, *asked)
        async with backend.administered() as cache:
            listed = [one async for one in cache.entries()]
            assert [one.key for one in listed] == sorted(key_of(one) for one in asked)
            await cache.clear("*", None)
            assert await cache.add(listed) == 30
        async with backend.opened() as store:
            for one in asked:
                assert await is_right(store, one)

    async def test_clear_removes_by_model_pattern_and_age_what_count_counts(
        self, backend: Backend
    ) -> None:
        old, new, other = request("old"), request("new"), request(model="sim/other")
        await self.stored(backend, old, other, age_s=DAY_S)
        await self.stored(backend, new)
        async with backend.administered() as cache:
            chosen = (old.model.split("/")[0] + "/*", DAY_S / 2)
            assert await cache.count(*chosen) == await cache.clear(*chosen) == 1
            assert await cache.holds([key_of(one) for one in (old, new, other)]) == {
                key_of(new),
                key_of(other),
            }

    async def test_prune_removes_expired_entries_and_counts_them(self, backend: Backend) -> None:
        old, young = questions(2)
        await self.stored(backend, old, age_s=2 * DAY_S)
        await self.stored(backend, young)
        async with backend.administered(ttl_s=DAY_S) as cache:
            assert await cache.prune() == (1, 0)
            assert await cache.holds([key_of(old), key_of(young)]) == {key_of(young)}
