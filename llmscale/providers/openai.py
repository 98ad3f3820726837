"""Chat completions of OpenAI, and of every server that speaks the same: vLLM, Ollama, llama.cpp.

Wire format: https://platform.openai.com/docs/api-reference/chat/create
"""

from collections.abc import Mapping, Sequence
from typing import Any

from yarl import URL

from llmscale.config import EndpointConfig
from llmscale.core.errors import CallFailed
from llmscale.core.model_name import name_at_provider
from llmscale.core.output_line import EXTRA_OF_ANSWER, EXTRA_OF_CHOICE
from llmscale.core.records import SAMPLING_FIELDS, Failure, Reply, Request, Usage
from llmscale.providers.http.counts import Counts
from llmscale.providers.http.failures import bad_response, no_answer
from llmscale.providers.http.finish_reasons import (
    CONTENT_FILTER,
    ERROR,
    LENGTH,
    finish_reason_of,
    is_known,
)
from llmscale.providers.http.keys import key_for
from llmscale.providers.http.notices import Notices
from llmscale.providers.http.provider import HttpEndpoint, HttpProvider
from llmscale.providers.registry import PROVIDERS, base_url_of

SPEC = PROVIDERS["openai"]
CUT = "the answer was cut before its first word; raise --max-tokens"


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
        answers = [await self._http.post(self._body(request)) for request in requests]
        return [reply_of(answer, self._http.notices) for answer in answers]

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


def reply_of(answer: Mapping[str, Any], notices: Notices | None = None) -> Reply:
    """Read a chat completion. Raises `CallFailed` for one that answers nothing.

    `notices`: told what is odd about an answer that counts all the same.
    """
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        text = _text(message.get("content"))
        tool_calls = _tool_calls(message.get("tool_calls"))
        refusal = message.get("refusal")
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CallFailed(
            no_answer(f"not a chat completion ({reason})", answer, "choices")
        ) from None
    extra = _extra(answer, choice, message)
    usage, unknown = usage_of(answer.get("usage"))
    reply = Reply(
        text=text,
        finish_reason=finish_reason_of(choice.get("finish_reason")),
        model=text_or_empty(answer.get("model")),
        usage=usage,
        tool_calls=tool_calls,
        extra=extra,
        unknown_counts=unknown,
    )
    if reply.finish_reason == CONTENT_FILTER or refusal:
        why = text_or_empty(refusal) or "the provider withheld the answer (content_filter)"
        raise CallFailed(Failure(kind="content_filter", message=why, status=200, reply=reply))
    check_end(reply, choice.get("finish_reason"), notices)
    if not text and not tool_calls and not (extra and extra.keys() & _ANSWERS):
        raise CallFailed(_empty(reply))
    return reply


def check_end(reply: Reply, word: Any, notices: Notices | None) -> None:
    """Raise `CallFailed` where the server broke off; say what is odd.

    `word`: for which the reply has its reason.
    """
    if reply.finish_reason == ERROR:
        message = f"the server ended the answer with {word!r}"
        raise CallFailed(
            Failure(kind="server_error", message=message, retryable=True, status=200, reply=reply)
        )
    if notices is None:
        return
    if not is_known(reply.finish_reason):
        notices.once(f"unknown finish reason {word!r}: the answer is kept as it is and not cached")
    if reply.unknown_counts:
        counts = ", ".join(reply.unknown_counts)
        notices.once(f"unreadable token counts ({counts}): they are unknown in the output")


def usage_of(usage: Any) -> tuple[Usage, tuple[str, ...]]:
    """Read token counts, and name those that can't be read; absent ones are 0."""
    counts = Counts(usage)
    found = Usage(
        input_tokens=counts.read("input_tokens", "prompt_tokens"),
        output_tokens=counts.read("output_tokens", "completion_tokens"),
        cached_input_tokens=counts.within("prompt_tokens_details").read("", "cached_tokens"),
        reasoning_tokens=counts.within("completion_tokens_details").read("", "reasoning_tokens"),
    )
    return found, tuple(counts.unknown)


def text_or_empty(value: Any) -> str:
    """Return a field that should be text; what is none is left out."""
    return value if isinstance(value, str) else ""


_READ_OF_MESSAGE = frozenset({"role", "content", "tool_calls", "refusal", "name"})
_ANSWERS = frozenset(
    {"function_call", "audio", "images", "image", "reasoning_content", "reasoning", "video"}
)
"""What answers a row without any text."""


def _extra(
    answer: Mapping[str, Any], choice: Mapping[str, Any], message: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return what was asked for and has no place of its own: logprobs, audio, reasoning, ..."""
    found = {
        name: value
        for name, value in message.items()
        if name not in _READ_OF_MESSAGE and value not in (None, "", [], {})
    }
    found |= {name: choice[name] for name in EXTRA_OF_CHOICE if choice.get(name)}
    found |= {name: answer[name] for name in EXTRA_OF_ANSWER if answer.get(name)}
    return found or None


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
    if reply.finish_reason == LENGTH:
        return bad_response(CUT, retryable=False, reply=reply)
    return bad_response("the answer is empty", retryable=reply.text is None, reply=reply)
