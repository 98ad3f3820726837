"""Alerts reach every target without the run waiting for one; what can't be told is said once."""

import threading

import pytest

from llmscale.observe.alerts import Delivery
from llmscale.observe.alerts import delivery as telling
from llmscale.observe.alerts.targets import DeliveryFailed
from tests.observe.alerts import said


class Listener:
    """A target that keeps what it is told."""

    def __init__(self, name: str = "a listener") -> None:
        self.name = name
        self.heard: list[bytes] = []

    async def tell(self, payload: bytes) -> None:
        self.heard.append(payload)


class Refuser(Listener):
    """A target that takes nothing."""

    def __init__(self, error: Exception) -> None:
        super().__init__("a refuser")
        self.error = error

    async def tell(self, payload: bytes) -> None:
        await super().tell(payload)
        raise self.error


def test_every_target_gets_every_alert() -> None:
    one, other = Listener(), Listener()
    alerts = Delivery([one, other])
    for number in range(5):
        alerts.tell(b"%d" % number)
    alerts.finish()
    assert set(one.heard) == set(other.heard) == {b"0", b"1", b"2", b"3", b"4"}


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (DeliveryFailed("answered HTTP 500"), "answered HTTP 500"),
        (KeyError("secret"), "failed (KeyError)"),
    ],
)
def test_a_target_that_takes_none_is_complained_of_once_and_the_others_hear_it(
    error: Exception, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    refuser, listener = Refuser(error), Listener()
    alerts = Delivery([refuser, listener])
    for number in range(3):
        alerts.tell(b"%d" % number)
    alerts.finish()
    assert len(refuser.heard) == len(listener.heard) == 3
    assert said(caplog.records) == [f"WARNING: a refuser {why}; an alert was not delivered"]


def test_without_a_target_or_an_alert_there_is_no_thread() -> None:
    before = threading.active_count()
    silent = Delivery([])
    silent.tell(b"x")
    silent.finish()
    Delivery([Listener()]).finish()
    assert threading.active_count() == before


def test_nobody_waits_for_a_target_that_hangs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    freed = threading.Event()

    class Hanging(Listener):
        async def tell(self, payload: bytes) -> None:
            freed.wait(30)
            raise DeliveryFailed("was slow")

    monkeypatch.setattr(telling, "LAST_S", 0.05)
    alerts = Delivery([Hanging()])
    alerts.tell(b"x")
    alerts.finish()
    freed.set()
    for thread in threading.enumerate():
        if thread.name == "alerts":
            thread.join(30)
    # and nothing after that, though the target has failed by now
    assert said(caplog.records) == ["WARNING: not all alerts could be delivered within 0.05 s"]
