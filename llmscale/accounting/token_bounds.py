"""The most tokens that a call can take: what has to be set aside before it goes out.

Not an estimate (that is `tokens`, and it may be too low): tokenizers whose last resort is a byte
make no more tokens of a text than it has bytes. So the margin is four for English prose, two for
code, and one where nothing less would do. What has no such bound is refused with a sentence.
"""

from collections.abc import Iterator
from typing import Any

from llmscale.core.json_text import dumps
from llmscale.core.records import Request

CALL_TOKENS = 1_000  # what a server puts around messages: its template, its words about tools
TEXT_TOKENS = 16  # what it puts around a text that is embedded
IMAGE_TOKENS = 50_000  # the dearest that a picture is counted anywhere is just below

# tuples, since what a row has there may be anything, and not hashable
_TEXT_PARTS = (
    "text",
    "input_text",
    "output_text",
    "refusal",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "tool_result",
)
_IMAGE_PARTS = ("image", "image_url", "input_image")
_IMAGE_DATA = ("url", "data")  # of what describes it
_OWN_TOOLS = ("function", "custom")  # others run at the provider, and are billed
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "container": (),
    "inference_geo": (),
    "mcp_servers": (),
    "modalities": (["text"],),
    "plugins": (),
    "prediction": (),
    "service_tier": ("auto", "default", "flex", "standard", "standard_only"),
    "speed": ("standard",),
    "web_search_options": (),
}
"""Fields that change what a call costs, with the values that do not make it dearer."""


class Unbounded(Exception):
    """Why nothing bounds what a request takes, as the end of a sentence."""


def max_input_tokens(request: Request) -> int:
    """Return a number of tokens that the input can't be above. Raises `Unbounded`."""
    for name in _HARMLESS.keys() & (request.extra or {}).keys():
        value = (request.extra or {})[name]
        if value and value not in _HARMLESS[name]:
            raise Unbounded(f"{name} is billed apart from tokens, or changes their price")
    extra_bytes = _size_bytes(request.extra)
    if request.text is not None:
        return len(request.text.encode(errors="surrogatepass")) + TEXT_TOKENS + extra_bytes
    for tool in request.tools or ():
        kind = tool.get("type", "function") if isinstance(tool, dict) else "function"
        if kind not in _OWN_TOOLS:
            raise Unbounded(f"a tool of type {kind!r} runs at the provider, with a bill of its own")
    images = list(_images(request.messages))
    sent_bytes = sum(map(_size_bytes, (request.messages, request.tools, request.response_format)))
    text_bytes = sent_bytes - sum(images)
    return CALL_TOKENS + text_bytes + extra_bytes + len(images) * IMAGE_TOKENS


def max_output_tokens(request: Request, max_of_model: int | None) -> int:
    """Return a number of tokens that the answer can't be above. Raises `Unbounded`.

    `max_of_model`: of a request that sets no bound itself; None: not known.
    """
    if request.text is not None:
        return 0
    in_body = (request.extra or {}).get("max_completion_tokens")
    bounds = [n for n in (request.max_tokens, in_body) if type(n) is int and n > 0]
    if bounds:
        return max(bounds)  # which of two a server goes by is its own affair
    if max_of_model is None:
        raise Unbounded("its answer has no bound; set max_tokens")
    return max_of_model


def _images(messages: list[Any]) -> Iterator[int]:
    """Yield for each picture the bytes that are no text: its address, or itself in base64.

    Raises `Unbounded` for what is neither text nor picture.
    """
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            kind = part.get("type", "text") if isinstance(part, dict) else "text"
            if kind in _IMAGE_PARTS:
                yield _image_bytes(part)
            elif kind not in _TEXT_PARTS:
                raise Unbounded(f"a part of type {kind!r} is neither text nor a picture")
            elif isinstance(part, dict):  # the result of a tool may hold pictures
                yield from _images([part])


def _image_bytes(part: dict[str, Any]) -> int:
    found = [part.get(name) for name in ("image", "image_url", "source")]
    inner = [value.get(name) for value in found if isinstance(value, dict) for name in _IMAGE_DATA]
    return sum(len(value) for value in (*found, *inner) if isinstance(value, str))


def _size_bytes(value: Any) -> int:
    return len(dumps(value)) if value else 0
