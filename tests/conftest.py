"""What all tests share: how Hypothesis searches, and an event loop that is closed at the end."""

import asyncio
import os
from collections.abc import AsyncIterator, Generator, Iterator

import pytest
from diskcache.core import DEFAULT_SETTINGS
from hypothesis import settings

from tests.reliability.figures import shown, shows, table
from tests.reliability.not_built import NOT_BUILT
from tests.servers.chat import ChatServer

__all__ = ["shows"]

# timings are never judged: machines are shared and noisy
settings.register_profile("llmscale", deadline=None)
settings.load_profile("llmscale")


DEFAULT_SETTINGS["sqlite_synchronous"] = 0  # of caches: no test in this process cuts the power

for variable in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
    os.environ.pop(variable, None)  # of whoever runs the tests


LONGEST = {"test_commands.py", "test_samples.py", "test_faults.py"}
"""Files that take longest; they stay together, and what begins last ends last."""


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Run one process more than there are cores: a quarter of the time tests wait."""
    return (yield) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that all processes end at about the same time."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session", autouse=True)
def _outer_loop() -> Iterator[None]:
    """Close the loop that pytest-asyncio puts back after each test; it would make one itself."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    """Return a server on loopback that answers chats, as scripted or by itself."""
    async with ChatServer() as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of what the reliability cases have shown, if any ran."""
    if figures := shown(terminalreporter.stats):
        terminalreporter.section("reliability")
        for line in table(figures):
            terminalreporter.line(line)
        for case, reason in NOT_BUILT.items():
            terminalreporter.line(f"{case:9}not built: {reason}")
