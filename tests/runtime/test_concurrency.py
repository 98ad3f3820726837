"""Calls in flight within the open files of the process: fewer for all, and said."""

import logging

import pytest

from llmscale.config import EndpointConfig
from llmscale.runtime import concurrency as connections
from llmscale.runtime.concurrency import capacities
from llmscale.runtime.open_files import Connections

ONE = EndpointConfig(model="openai/a", base_url="http://127.0.0.1:1/v1", capacity=300)
OTHER = EndpointConfig(model="anthropic/a", capacity=100)
SIM = EndpointConfig(model="sim/a", capacity=900)


def room(monkeypatch: pytest.MonkeyPatch, connections_at_once: int) -> list[int]:
    asked: list[int] = []

    def connections_for(wanted: int) -> Connections:
        asked.append(wanted)
        return Connections(min(wanted, connections_at_once), 128)

    monkeypatch.setattr(connections, "connections_for", connections_for)
    return asked


def test_with_connections_for_all_each_has_what_is_set(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = room(monkeypatch, 400)
    assert capacities(None, (ONE, OTHER, SIM), "chat") == {ONE: 300, OTHER: 100, SIM: 900}
    assert asked == [400], "a simulation needs no file"
    assert not caplog.records


def test_with_too_few_files_each_has_its_share_and_a_warning_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    room(monkeypatch, 40)
    with caplog.at_level(logging.WARNING):
        assert capacities(None, (ONE, OTHER, SIM), "chat") == {ONE: 30, OTHER: 10, SIM: 900}
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        "of 400 calls at once only 40 are made, since this process may open only 128 files; "
        "raise that with ulimit -n 488, or lower --concurrency"
    )


def test_no_endpoint_is_left_without_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, 1)
    assert capacities(None, (ONE, OTHER), "chat") == {ONE: 1, OTHER: 1}
