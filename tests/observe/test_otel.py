"""A span for each call, by the GenAI conventions: how it went, and never what was said."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from llmscale.core.errors import CallFailed, ConfigError
from llmscale.core.records import Failure, Quota, Reply, Request, Usage
from llmscale.observe import otel as tracing
from llmscale.observe.otel import Traced, Tracing
from tests.observe.alerts import said
from tests.servers.chat import ChatServer, Step

SECRET = "what is asked and what is answered"
URL = "https://api.example:8443/v1"
ASKED = Request(
    model="openai/gpt-x",
    messages=[{"role": "user", "content": SECRET}],
    max_tokens=9,
    temperature=0.5,
    top_p=0.9,
    seed=3,
    stop=[SECRET],
    extra={"user": SECRET},
)


def reply(**fields: Any) -> Reply:
    known: dict[str, Any] = {"text": SECRET, "finish_reason": "length", "model": "gpt-x-2"}
    return Reply(**known | {"usage": Usage(100, 20, 30, 4, 5)} | fields)


class Provider:
    """Answers, or fails, as it is told to."""

    def __init__(self, result: Sequence[Reply] | BaseException, latency_s: float = 0.0) -> None:
        self._result = result
        self._latency_s = latency_s
        self.quota = Quota(requests_per_min=7)
        self.is_closed = False

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        await asyncio.sleep(self._latency_s)
        if isinstance(self._result, BaseException):
            raise self._result
        return list(self._result)

    async def aclose(self) -> None:
        self.is_closed = True


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Put the loggers back that `Tracing` listens to."""
    loggers = [logging.getLogger(name) for name in ("opentelemetry", "urllib3")]
    before = [(log.handlers[:], log.propagate) for log in loggers]
    yield
    for log, (handlers, propagate) in zip(loggers, before, strict=True):
        log.handlers[:], log.propagate = handlers, propagate


@contextmanager
def spans_of(
    result: Sequence[Reply] | BaseException,
    latency_s: float = 0.0,
    base_url: str | None = URL,
    model: str = "openai/gpt-x",
) -> Iterator[tuple[Traced, Callable[[], ReadableSpan]]]:
    """Yield a traced provider, and what returns the only span after a call."""
    exporter = InMemorySpanExporter()
    traced = Tracing(SimpleSpanProcessor(exporter)).around(
        Provider(result, latency_s), model, base_url, timeout_s=2.0
    )

    def span() -> ReadableSpan:
        (only,) = exporter.get_finished_spans()
        assert SECRET not in only.to_json()
        return only

    yield traced, span


async def test_a_call_is_a_span_with_what_was_asked_for_and_what_it_took() -> None:
    with spans_of([reply()]) as (traced, span):
        assert await traced.send([ASKED]) == [reply()]
    found = span()
    assert (found.name, found.kind) == ("chat gpt-x", SpanKind.CLIENT)
    assert found.status.status_code is StatusCode.UNSET
    assert dict(found.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-x",
        "server.address": "api.example",
        "server.port": 8443,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.seed": 3,
        "gen_ai.response.model": "gpt-x-2",
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 30,
        "gen_ai.usage.cache_write.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 5,
    }


async def test_a_call_for_vectors_is_one_span_with_the_tokens_of_all_texts() -> None:
    requests = [Request(model="openai/e", text=SECRET, dimensions=8) for _ in range(3)]
    answers = [reply(text=None, vector=b"1234", usage=Usage(10), model="e-1") for _ in requests]
    with spans_of(answers, base_url="http://127.0.0.1/v1") as (traced, span):
        await traced.send(requests)
    found = span()
    assert found.name == "embeddings e"
    assert dict(found.attributes or {}) == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "e",
        "gen_ai.embeddings.dimension.count": 8,
        "server.address": "127.0.0.1",
        "server.port": 80,
        "gen_ai.response.model": "e-1",
        "gen_ai.usage.input_tokens": 30,
    }


async def test_a_model_in_this_process_has_no_address() -> None:
    with spans_of([reply()], base_url=None, model="local/smollm2") as (traced, span):
        await traced.send([Request(model="local/smollm2", messages=[])])
    found = span()
    assert found.kind is SpanKind.INTERNAL
    assert found.attributes is not None
    assert found.attributes["gen_ai.provider.name"] == "local"
    assert "server.address" not in found.attributes


@pytest.mark.parametrize(
    ("failure", "attributes"),
    [
        (
            Failure(kind="rate_limited", message=SECRET, status=429),
            {"error.type": "rate_limited", "http.response.status_code": 429},
        ),
        (Failure(kind="connection", message=SECRET), {"error.type": "connection"}),
        (
            Failure(kind="bad_response", message=SECRET, status=200, reply=reply()),
            {"error.type": "bad_response", "gen_ai.usage.output_tokens": 20},
        ),
    ],
)
async def test_a_failed_call_has_its_type_and_never_its_message(
    failure: Failure, attributes: dict[str, object]
) -> None:
    with spans_of(CallFailed(failure)) as (traced, span), pytest.raises(CallFailed):
        await traced.send([ASKED])
    found = span()
    assert (found.status.status_code, found.status.description) == (StatusCode.ERROR, None)
    assert attributes.items() <= dict(found.attributes or {}).items()
    assert not found.events


async def test_a_fault_of_ours_is_named_by_its_type() -> None:
    with spans_of(KeyError(SECRET)) as (traced, span), pytest.raises(KeyError):
        await traced.send([ASKED])
    assert (span().attributes or {})["error.type"] == "KeyError"


@pytest.mark.looptime
@pytest.mark.parametrize(("after_s", "kind"), [(2.0, "timeout"), (0.5, "cancelled")])
async def test_a_call_that_is_given_up_is_late_or_was_cancelled(after_s: float, kind: str) -> None:
    with spans_of([reply()], latency_s=60) as (traced, span), pytest.raises(TimeoutError):
        async with asyncio.timeout(after_s):
            await traced.send([ASKED])
    assert (span().attributes or {})["error.type"] == kind


async def test_the_rest_is_the_providers() -> None:
    provider = Provider([])
    traced = Tracing(SimpleSpanProcessor(InMemorySpanExporter())).around(provider, "sim/a", None, 1)
    assert traced.quota == Quota(requests_per_min=7)
    await traced.aclose()
    assert provider.is_closed


# ---- where they go -----------------------------------------------------------------------------


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ChatServer]:
    """A server on loopback to which the environment sends the spans."""
    for name in [n for n in os.environ if n.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    async with ChatServer() as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.base_url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20canary")
        yield server


async def one_call(opened: Tracing) -> None:
    traced = opened.around(Provider([reply()]), "openai/gpt-x", URL, 1)
    await traced.send([ASKED])


async def test_spans_arrive_where_the_environment_says(collector: ChatServer) -> None:
    collector.script([Step(body=b"")])
    opened = Tracing()
    await one_call(opened)
    await opened.aclose()
    (received,) = collector.requests
    assert received.path.endswith("/v1/traces")
    assert SECRET.encode() not in received.body_bytes
    (resource,) = ExportTraceServiceRequest.FromString(received.body_bytes).resource_spans
    attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert attributes["service.name"] == "llmscale"
    assert [span.name for scope in resource.scope_spans for span in scope.spans] == ["chat gpt-x"]


@pytest.mark.parametrize("step", [Step(status=404), Step(status=500)])
async def test_a_collector_that_takes_none_is_said_once_and_without_a_secret(
    collector: ChatServer, step: Step, caplog: pytest.LogCaptureFixture
) -> None:
    collector.script([step] * 2)
    opened = Tracing()
    await one_call(opened)
    await opened.aclose()
    (message,) = said(caplog.records)
    assert message.startswith(f"WARNING: not all spans can be sent (HTTP {step.status})")
    assert "canary" not in message


async def test_a_collector_that_hangs_is_given_up_in_bounded_time(
    collector: ChatServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "FLUSH_S", 0.1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.4")
    collector.script([Step(hang=True)] * 2)
    opened = Tracing()
    await one_call(opened)
    await opened.aclose()
    assert said(caplog.records) == ["WARNING: the last spans could not be sent within 0.1 s"]
    for thread in threading.enumerate():
        if thread.name.startswith("OtelBatch"):
            await asyncio.to_thread(thread.join)  # or the next test hears of it


async def test_headers_that_can_not_be_read_are_never_repeated(
    collector: ChatServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "canary canary")
    await Tracing().aclose()
    (message,) = said(caplog.records)
    assert message.startswith("WARNING: not all spans can be sent;")
    assert "canary" not in message


def test_variables_that_can_not_be_used_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "canary")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    with pytest.raises(ConfigError, match=r"--otel: a variable OTEL_\.\.\. can't be used") as error:
        Tracing()
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("module", ["sdk.trace", "exporter.otlp.proto.http.trace_exporter"])
def test_without_the_extra_the_install_command_is_said(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"opentelemetry.{module}", None)
    with pytest.raises(ConfigError, match=r'pip install "llmscale\[otel\]"'):
        Tracing()
