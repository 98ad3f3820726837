"""A span for each call, by the GenAI conventions of OpenTelemetry; with the extra `otel`.

https://github.com/open-telemetry/semantic-conventions-genai - where spans go is said by the
variables OTEL_EXPORTER_OTLP_* of the environment, as for every program; a file can't say it. No
span holds a text of a row, of an answer or a key; a collector that is down does not hurt the run.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from llmscale import __version__
from llmscale.core.errors import CallFailed, ConfigError
from llmscale.core.model_name import name_at_provider, provider_of
from llmscale.core.protocols import Provider
from llmscale.core.records import Quota, Reply, Request, Usage

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span, Tracer

log = logging.getLogger(__name__)

FLUSH_S = 5.0  # for the last spans, at the end of a run

Attributes = dict[str, str | int | float]

_OF_REQUEST = ("max_tokens", "temperature", "top_p", "seed")
_INSTALL = '--otel needs an extra: pip install "llmscale[otel]"'


class Tracing:
    """Makes the spans of a run; they are sent by a thread of their own."""

    def __init__(self, processor: "SpanProcessor | None" = None) -> None:
        """`processor` None: to where the environment says.

        Raises `ConfigError` without the extra, or for variables that can't be used.
        """
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
        except ImportError:
            raise ConfigError(_INSTALL) from None
        self._sdk_log = _listen_to_sdk()
        named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "llmscale"}
        try:
            # closed by `aclose`, in bounded time; the SDK would do it unbounded at the very end
            self._sdk = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
            self._sdk.add_span_processor(processor or _processor())
        except ValueError as error:
            name = type(error).__name__  # the text may hold what is in a variable: a key, perhaps
            raise ConfigError(f"--otel: a variable OTEL_... can't be used ({name})") from None
        self._tracer = self._sdk.get_tracer("llmscale", __version__)

    def around(
        self, provider: Provider, model: str, base_url: str | None, timeout_s: float
    ) -> "Traced":
        """Return the provider of an endpoint, with a span around each of its calls.

        `base_url` None: it is in this process.
        """
        where: Attributes = {"gen_ai.provider.name": provider_of(model)}
        if base_url is not None:
            parts = urlsplit(base_url)
            where["server.address"] = parts.hostname or ""
            where["server.port"] = parts.port or (443 if parts.scheme == "https" else 80)
        return Traced(provider, self._tracer, where, timeout_s)

    async def aclose(self) -> None:
        """Send the last spans, in bounded time."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            self._sdk.shutdown()
            with contextlib.suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=close, daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_S):
                await done.wait()
        except TimeoutError:
            self._sdk_log.was_said = True  # nothing is said after the end
            log.warning("the last spans could not be sent within %g s", FLUSH_S)


class Traced:
    """A provider with a span around each call."""

    def __init__(
        self, provider: Provider, tracer: "Tracer", where: Attributes, timeout_s: float
    ) -> None:
        """`where`: what is the same in all spans. `timeout_s`: after which calls are cancelled."""
        from opentelemetry.trace import SpanKind

        self._provider = provider
        self._tracer = tracer
        self._where = where
        self._timeout_s = timeout_s
        self._kind = SpanKind.CLIENT if "server.address" in where else SpanKind.INTERNAL

    @property
    def quota(self) -> Quota | None:
        """What the endpoint has last said about its limits."""
        return self._provider.quota

    async def aclose(self) -> None:
        """Let go of what the provider holds."""
        await self._provider.aclose()

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Send, and note how it went. Raises what the provider raises."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        span = self._span(requests[0])
        try:
            replies = await self._provider.send(requests)
            _note_replies(span, replies)
        except CallFailed as error:
            failure = error.failure
            if failure.status is not None:
                span.set_attribute("http.response.status_code", failure.status)
            if failure.reply is not None:
                _note_replies(span, [failure.reply])
            _note_error(span, failure.kind)
            raise
        except asyncio.CancelledError:
            is_late = loop.time() - began_s > 0.99 * self._timeout_s
            _note_error(span, "timeout" if is_late else "cancelled")
            raise
        except BaseException as error:
            _note_error(span, type(error).__name__)
            raise
        finally:
            span.end()
        return replies

    def _span(self, request: Request) -> "Span":
        operation = "chat" if request.text is None else "embeddings"
        name = name_at_provider(request.model)
        known = {field: getattr(request, field) for field in _OF_REQUEST}
        attributes: Attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.request.model": name,
            **self._where,
            **{f"gen_ai.request.{n}": value for n, value in known.items() if value is not None},
        }
        if request.dimensions is not None:
            attributes["gen_ai.embeddings.dimension.count"] = request.dimensions
        return self._tracer.start_span(
            f"{operation} {name}", kind=self._kind, attributes=attributes
        )


def _note_replies(span: "Span", replies: Sequence[Reply]) -> None:
    if not span.is_recording() or not replies:
        return
    usage = sum((reply.usage for reply in replies), Usage())
    first = replies[0]
    span.set_attribute("gen_ai.usage.input_tokens", usage.input_tokens)
    if first.vector is None:
        span.set_attribute("gen_ai.usage.output_tokens", usage.output_tokens)
        reasons = list(dict.fromkeys(reply.finish_reason for reply in replies))
        span.set_attribute("gen_ai.response.finish_reasons", reasons)
    for name, count in (
        ("cache_read.input_tokens", usage.cached_input_tokens),
        ("cache_write.input_tokens", usage.cache_write_tokens),
        ("reasoning.output_tokens", usage.reasoning_tokens),
    ):
        if count:
            span.set_attribute(f"gen_ai.usage.{name}", count)
    if first.model:
        span.set_attribute("gen_ai.response.model", first.model)


def _note_error(span: "Span", kind: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))  # without words: a provider's may quote the row


def _processor() -> "SpanProcessor":
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigError(_INSTALL) from None
    return BatchSpanProcessor(OTLPSpanExporter())


class _SaidOnce(logging.Handler):
    """Says the first trouble of the SDK; its words are left out, which may hold its headers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.was_said = False

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        if self.was_said:
            return
        self.was_said = True
        args = record.args if isinstance(record.args, tuple) else ()
        facts = [f"HTTP {a}" if isinstance(a, int) else type(a).__name__ for a in args if _tells(a)]
        why = f" ({', '.join(facts)})" if facts else ""
        log.warning("not all spans can be sent%s; look at the variables OTEL_... and there", why)


def _tells(arg: object) -> bool:
    return isinstance(arg, int | Exception)


def _listen_to_sdk() -> _SaidOnce:
    """Or its log would go to stderr as it is."""
    once = _SaidOnce()
    for name in ("opentelemetry", "urllib3"):
        sdk = logging.getLogger(name)
        sdk.handlers[:] = [once]
        sdk.propagate = False
    return once
