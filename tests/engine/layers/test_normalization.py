"""Vectors of the length 1 in the same direction, and nothing else changed."""

import numpy as np
import pytest
from msgspec.structs import replace

from llmscale.core.errors import CallFailed
from llmscale.core.records import Failure, Reply, Request, Usage
from llmscale.engine.layers.normalization import NormalizationLayer
from tests.engine.answering import RowByRow, answer, ends

REPLY = Reply(text=None, finish_reason="stop", model="v", usage=Usage(7), attempts=2)
REQUEST = Request(model="sim/v", text="x")


class Gives(RowByRow):
    """Answers with one vector."""

    def __init__(self, *numbers: float) -> None:
        self._vector = np.array(numbers, "<f4").tobytes() if numbers else None

    async def answer(self, request: Request) -> Reply:
        assert request is REQUEST
        return replace(REPLY, vector=self._vector)


@pytest.mark.parametrize("numbers", [(3.0, 4.0), (1e-30, 2e-30), (1e30, -1e30), (0.0, 5.0)])
async def test_a_vector_gets_the_length_one_and_keeps_its_direction(
    numbers: tuple[float, ...],
) -> None:
    reply = await answer(NormalizationLayer(Gives(*numbers)), REQUEST)
    assert reply.vector is not None
    found = np.frombuffer(reply.vector, "<f4").astype(float)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    assert found == pytest.approx(np.array(numbers) / np.linalg.norm(numbers), abs=1e-6)
    assert replace(reply, vector=None) == REPLY


async def test_a_reply_without_a_vector_stays_as_it_is() -> None:
    assert await answer(NormalizationLayer(Gives()), REQUEST) == REPLY


async def test_each_row_of_a_group_has_its_own_vector_and_what_failed_stays_as_it_is() -> None:
    late = CallFailed(Failure(kind="timeout", message="late"))

    class Lengths(RowByRow):
        async def answer(self, request: Request) -> Reply:
            if request.text == "late":
                raise late
            return replace(REPLY, vector=np.array([0.0, float(request.text or 0)], "<f4").tobytes())

    asked = [Request(model="sim/v", text=text) for text in ("3", "late", "-5")]
    up, failed, down = await ends(NormalizationLayer(Lengths()), asked)
    assert failed is late
    vectors = [one.vector for one in (up, down) if isinstance(one, Reply)]
    assert vectors == [np.array([0.0, one], "<f4").tobytes() for one in (1.0, -1.0)]
