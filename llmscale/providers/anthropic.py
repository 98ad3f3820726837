"""The Messages API of Anthropic, for requests written as chat completions.

Wire format: https://docs.anthropic.com/en/api/messages
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from llmscale.config import EndpointConfig
from llmscale.core.errors import CallFailed
from llmscale.core.model_name import name_at_provider
from llmscale.core.records import Failure, Reply, Request, Usage
from llmscale.providers.http.counts import Counts
from llmscale.providers.http.failures import bad_response, no_answer
from llmscale.providers.http.finish_reasons import CONTENT_FILTER, LENGTH, finish_reason_of
from llmscale.providers.http.keys import key_for
from llmscale.providers.http.notices import Notices
from llmscale.providers.http.provider import HttpEndpoint, HttpProvider
from llmscale.providers.openai import CUT, check_end, text_or_empty
from llmscale.providers.registry import PROVIDERS, base_url_of

SPEC = PROVIDERS["anthropic"]
API_VERSION = "2023-06-01"


class AnthropicMessages(HttpProvider):
    """One address that answers the Messages API."""

    def __init__(self, base_url: str, key: str | None = None) -> None:
        headers = {"anthropic-version": API_VERSION} | ({"x-api-key": key} if key else {})
        super().__init__(HttpEndpoint(f"{base_url.rstrip('/')}/messages", headers, key))

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer each request with one call. Raises `CallFailed`."""
        answers = [await self._http.post(body_of(request)) for request in requests]
        return [reply_of(answer, self._http.notices) for answer in answers]


def open_endpoint(
    name: str, endpoint: EndpointConfig, capacity: int, allow_hosts: frozenset[str]
) -> AnthropicMessages:
    """Open the endpoint; the name and the capacity are the caller's business."""
    del name, capacity
    base_url = base_url_of(endpoint) or ""
    return AnthropicMessages(base_url, key_for(endpoint, base_url, SPEC, allow_hosts))


def body_of(request: Request) -> dict[str, Any]:
    """Write a request in the words of this API. Raises `CallFailed` for what it has no word for."""
    if request.seed is not None:
        raise CallFailed(_inexpressible("Anthropic's API has no seed; leave it out"))
    try:
        body = _conversation(request.messages) | _options(request)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        message = f"messages or tools do not translate to Anthropic's API ({reason})"
        raise CallFailed(_inexpressible(message)) from None
    body["model"] = name_at_provider(request.model)
    body["max_tokens"] = request.max_tokens or SPEC.default_max_tokens
    return body | (request.extra or {})


def _options(request: Request) -> dict[str, Any]:
    options = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop_sequences": request.stop,
        "tools": [_tool(tool) for tool in request.tools] if request.tools else None,
        "tool_choice": _tool_choice(request.tool_choice),
        "output_config": _output_config(request.response_format),
    }
    return {name: value for name, value in options.items() if value is not None}


def _conversation(messages: list[Any]) -> dict[str, Any]:
    """Take the system messages out, and turn tool calls and their results into content blocks."""
    system = [_plain_text(m["content"]) for m in messages if m["role"] in ("system", "developer")]
    turns = [_turn(m) for m in messages if m["role"] not in ("system", "developer")]
    conversation: dict[str, Any] = {"messages": turns}
    if system:
        conversation["system"] = "\n\n".join(system)
    return conversation


def _turn(message: dict[str, Any]) -> dict[str, Any]:
    if message["role"] == "tool":
        result = {
            "type": "tool_result",
            "tool_use_id": message["tool_call_id"],
            "content": message["content"],
        }
        return {"role": "user", "content": [result]}
    calls = message.get("tool_calls")
    if not calls:
        return {"role": message["role"], "content": message["content"]}
    blocks: list[dict[str, Any]] = []
    if message.get("content"):
        blocks.append({"type": "text", "text": _plain_text(message["content"])})
    blocks += [
        {
            "type": "tool_use",
            "id": call["id"],
            "name": call["function"]["name"],
            "input": orjson.loads(call["function"]["arguments"] or "{}"),
        }
        for call in calls
    ]
    return {"role": "assistant", "content": blocks}


def _plain_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content)


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if "function" not in tool:  # in Anthropic's words already
        return tool
    function = tool["function"]
    translated = {
        "name": function["name"],
        "description": function.get("description"),
        "input_schema": function.get("parameters") or {"type": "object"},
    }
    return {name: value for name, value in translated.items() if value is not None}


def _tool_choice(choice: Any) -> dict[str, Any] | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        return {"type": {"auto": "auto", "required": "any", "none": "none"}[choice]}
    if "function" in choice:
        return {"type": "tool", "name": choice["function"]["name"]}
    return dict(choice)


def _output_config(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    if response_format is None or response_format.get("type") == "text":
        return None
    if response_format.get("type") != "json_schema":
        raise ValueError("response_format other than json_schema")
    schema = response_format["json_schema"]["schema"]
    return {"format": {"type": "json_schema", "schema": schema}}


def reply_of(answer: Mapping[str, Any], notices: Notices | None = None) -> Reply:
    """Read a message. Raises `CallFailed` for one that answers nothing.

    `notices`: told what is odd about an answer that counts all the same.
    """
    try:
        blocks = answer["content"] or []
        text = "".join(b["text"] for b in blocks if b["type"] == "text")
        tool_calls = [_tool_call(b) for b in blocks if b["type"] == "tool_use"]
        others = [b for b in blocks if b["type"] not in ("text", "tool_use")]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CallFailed(no_answer(f"not a message ({reason})", answer, "content")) from None
    usage, unknown = usage_of(answer.get("usage"))
    reply = Reply(
        text=text or None,
        finish_reason=finish_reason_of(answer.get("stop_reason")),
        model=text_or_empty(answer.get("model")),
        usage=usage,
        tool_calls=tool_calls or None,
        extra={"content_blocks": others} if others else None,
        unknown_counts=unknown,
    )
    if reply.finish_reason == CONTENT_FILTER:
        message = "the model refused to answer"
        raise CallFailed(Failure(kind="content_filter", message=message, status=200, reply=reply))
    check_end(reply, answer.get("stop_reason"), notices)
    if not text and not tool_calls:
        message = CUT if reply.finish_reason == LENGTH else "the answer is empty"
        raise CallFailed(bad_response(message, retryable=False, reply=reply))
    return reply


def usage_of(usage: Any) -> tuple[Usage, tuple[str, ...]]:
    """Read token counts, and name those that can't be read.

    This API counts cached input apart; `Usage` holds the sum.
    """
    counts = Counts(usage)
    fresh = counts.read("input_tokens", "input_tokens")
    cached = counts.read("input_tokens", "cache_read_input_tokens")
    written = counts.read("input_tokens", "cache_creation_input_tokens")
    output_tokens = counts.read("output_tokens", "output_tokens")
    found = Usage(
        input_tokens=fresh + cached + written,
        output_tokens=output_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=written,
    )
    return found, tuple(dict.fromkeys(counts.unknown))


def _tool_call(block: Mapping[str, Any]) -> dict[str, Any]:
    arguments = orjson.dumps(block["input"]).decode()
    function = {"name": block["name"], "arguments": arguments}
    return {"id": block["id"], "type": "function", "function": function}


def _inexpressible(message: str) -> Failure:
    return Failure(kind="invalid_request", message=message)
