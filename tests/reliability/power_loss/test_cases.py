"""Power is lost at any moment: a few of them here, hundreds in the campaign."""

import pytest

from tests.reliability.figures import Shows
from tests.reliability.power_loss.cases import power
from tests.reliability.syscalls import has_strace

needs_strace = pytest.mark.skipif(not has_strace(), reason="needs strace")


@needs_strace
def test_what_a_power_loss_leaves_is_resumed_from(shows: Shows) -> None:
    shows(power("off", 8))


@needs_strace
@pytest.mark.campaign
@pytest.mark.parametrize("cache", ["off", "on"])
def test_whatever_a_power_loss_leaves_is_resumed_from(cache: str, shows: Shows) -> None:
    shows(power(cache, 300))
