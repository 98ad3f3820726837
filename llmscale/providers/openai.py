"""Chat completions of OpenAI, and of every server that speaks the same: vLLM, Ollama, llama.cpp.

Wire format: https://platform.openai.com/docs/api-reference/chat/create
"""

from collections.abc import Mapping, Sequence
from typing import Any

from yarl import URL

from llmscale.config import EndpointConfig
from llmscale.core.errors import CallFailed
from llmscale.core.model_name import name_at_provider
from llmscale.core.records import SAMPLING_FIELDS, Failure, FinishReason, Reply, Request, Usage
from llmscale.providers.http.failures import bad_response
from llmscale.providers.http.keys import key_for
from llmscale.providers.http.provider import HttpEndpoint, HttpProvider
from llmscale.providers.registry import PROVIDERS, base_url_of

SPEC = PROVIDERS["openai"]
MAX_COUNT = 10**9  # tokens of a call; more is no count, and sums stay within 64 bits
CUT = "the answer was cut before its first word; raise --max-tokens"

_FINISH_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class OpenAIChat(HttpProvider):
    """One address that answers chat completions."""

    def __init__(self, base_url: str, key: str | None = None) -> None:
        # reasoning models refuse the old name, most other servers do not know the new one
        own = URL(base_url).host == SPEC.host
        self._max_tokens_field = "max_completion_tokens" if own else "max_tokens"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        super().__init__(HttpEndpoint(f"{base_url.rstrip('/')}/chat/completions", headers, key))

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer each request with one call. Raises `CallFailed`."""
        return [reply_of(await self._http.post(self._body(request))) for request in requests]

    def _body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": name_at_provider(request.model),
            "messages": request.messages,
        }
        if request.max_tokens is not None:
            body[self._max_tokens_field] = request.max_tokens
        for name in _OPTIONAL_FIELDS:
            value = getattr(request, name)
            if value is not None:
                body[name] = value
        if request.extra:
            body.update(request.extra)
        return body


_OPTIONAL_FIELDS = tuple(name for name in SAMPLING_FIELDS if name != "max_tokens")


def open_endpoint(
    name: str, endpoint: EndpointConfig, capacity: int, allow_hosts: frozenset[str]
) -> OpenAIChat:
    """Open the endpoint; the name and the capacity are the caller's business."""
    del name, capacity
    return OpenAIChat(*address_of(endpoint, allow_hosts))


def address_of(endpoint: EndpointConfig, allow_hosts: frozenset[str]) -> tuple[str, str | None]:
    """Return the base URL of an endpoint, and the key for it. Raises `ConfigError`."""
    base_url = base_url_of(endpoint) or ""
    return base_url, key_for(endpoint, base_url, SPEC, allow_hosts)


def reply_of(answer: Mapping[str, Any]) -> Reply:
    """Read a chat completion. Raises `CallFailed` for one that answers nothing."""
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        text = _text(message.get("content"))
        tool_calls = _tool_calls(message.get("tool_calls"))
        refusal = message.get("refusal")
        finish = _FINISH_REASONS.get(choice.get("finish_reason") or "stop", "stop")
        usage = usage_of(answer.get("usage") or {})
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CallFailed(bad_response(f"not a chat completion ({reason})")) from None
    reply = Reply(
        text=text,
        finish_reason=finish,
        model=text_or_empty(answer.get("model")),
        usage=usage,
        tool_calls=tool_calls,
    )
    if finish == "content_filter" or refusal:
        why = text_or_empty(refusal) or "the provider withheld the answer (content_filter)"
        raise CallFailed(Failure(kind="content_filter", message=why, status=200, reply=reply))
    if not text and not tool_calls:
        raise CallFailed(_empty(reply))
    return reply


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Read token counts; absent ones are 0. Raises `ValueError` for what is no count."""
    prompt_details = usage.get("prompt_tokens_details") or {}
    completion_details = usage.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=count(usage.get("prompt_tokens")),
        output_tokens=count(usage.get("completion_tokens")),
        cached_input_tokens=count(prompt_details.get("cached_tokens")),
        reasoning_tokens=count(completion_details.get("reasoning_tokens")),
    )


def count(value: Any) -> int:
    """Return a token count. Raises `ValueError` for what no call can have used."""
    if value is None:
        return 0
    if type(value) is not int:  # a bool is an int too
        raise ValueError(f"a token count is a {type(value).__name__}")
    if not 0 <= value <= MAX_COUNT:
        raise ValueError(f"a token count is {value}")
    return value


def text_or_empty(value: Any) -> str:
    """Return a field that should be text; what is none is left out."""
    return value if isinstance(value, str) else ""


def _text(content: Any) -> str | None:
    """Content is text, or with some servers a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    if content is not None and not isinstance(content, str):
        raise ValueError(f"content is a {type(content).__name__}")
    return content


def _tool_calls(calls: Any) -> list[Any] | None:
    if calls and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
        raise ValueError("tool_calls is no list of objects")
    return calls or None


def _empty(reply: Reply) -> Failure:
    """No text: worth another try where it is null, not where the model chose to say nothing."""
    if reply.finish_reason == "length":
        return bad_response(CUT, retryable=False, reply=reply)
    return bad_response("the answer is empty", retryable=reply.text is None, reply=reply)
