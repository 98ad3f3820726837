"""The words by which servers say what a status does not: one table for all of them.

Each line names whose words it has. Sources: the error references of OpenAI, Azure, Anthropic,
Gemini, Mistral, Cohere, Bedrock, Groq, Together, Fireworks, OpenRouter and DeepSeek, and the
sources of vLLM, SGLang, TGI, TEI, llama.cpp and Ollama. Words are compared in lower case.
"""

import re
from typing import NamedTuple

from llmscale.core.records import FailureKind

_CLIENT = frozenset({400, 402, 403, 413, 422, 429})
_SERVER = frozenset({500, 503})


class Dialect(NamedTuple):
    """What words mean, under which statuses."""

    kind: FailureKind
    statuses: frozenset[int]
    words: tuple[str, ...]


DIALECTS = (
    Dialect(
        "quota_exhausted",
        _CLIENT,
        (
            "insufficient_quota",  # OpenAI
            "billing_hard_limit",
            "billing_not_active",
            "account is not active",
            "credit balance is too low",  # Anthropic
            "specified api usage limits",
            "billing_error",
            "insufficient balance",  # DeepSeek
            "insufficient credits",  # OpenRouter
            "exceeded_current_quota",  # Moonshot
            "spending limit",  # Groq, xAI
            "spend limit",
            "out of credits",
            "credit limit",  # Together
            "arrearage",  # DashScope
        ),
    ),
    Dialect(
        "context_length",
        _CLIENT,
        (
            "context_length_exceeded",  # OpenAI, Azure, OpenRouter
            "maximum context length",  # OpenAI, vLLM, DeepSeek, SGLang, Ollama
            "context length",
            "maximum model length",  # vLLM
            "max_model_len",
            "must have less than",  # TEI: `inputs` must have less than 512 tokens
            "exceed_context_size",  # llama.cpp
            "exceeds the available context size",
            "prompt is too long",  # Anthropic, Fireworks
            "exceed context limit",
            "exceeds the maximum number of tokens",  # Gemini
            "input token count",
            "too many tokens",  # Cohere, Mistral
            "input is too long",  # Bedrock
            "reduce the length of the messages",  # Groq
            "`max_new_tokens` must be",  # TGI
            "string_above_max_length",  # OpenAI, a text of too many characters
            "too large for model with",  # Mistral
        ),
    ),
    Dialect(
        "context_length",
        _CLIENT | _SERVER,  # llama.cpp has status 500 for it
        ("input is too large to process", "input is larger than the max context size"),
    ),
    Dialect(
        "content_filter",
        _CLIENT,
        (
            "content_filter",  # Azure
            "content_policy",  # OpenAI
            "responsibleaipolicy",
            "content management policy",
            "data_inspection_failed",  # DashScope
            "flagged",  # OpenRouter, with `metadata.reasons`
            "moderation",
            "prohibited_content",  # Gemini
            "guardrail",  # Bedrock
        ),
    ),
)

_NEVER_FITS = re.compile(r"limit:?\s*([\d,_]+).*?requested:?\s*([\d,_]+)", re.DOTALL)


def kind_of_words(status: int, words: str) -> FailureKind | None:
    """Return what the words of an error mean; None where they say no more than the status."""
    for dialect in DIALECTS:
        if status in dialect.statuses and any(sign in words for sign in dialect.words):
            return dialect.kind
    return "context_length" if status == 429 and never_fits(words) else None


def never_fits(words: str) -> bool:
    """Tell whether a request is larger than the whole limit: waiting would not help it.

    OpenAI, Groq and Azure: "Request too large ... Limit 10000, Requested 22222".
    """
    found = _NEVER_FITS.search(words)
    if found is None:
        return False
    limit, requested = (int(re.sub(r"\D", "", text) or 0) for text in found.groups())
    return requested > limit > 0
