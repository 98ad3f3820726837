"""Why an answer ended, in one set of words for all providers.

The set of words is open: servers add their own. What is not known here is kept as it came, warned
of once and never stored in the cache, for half an answer must not pass for a whole one.

Words from the references of OpenAI, Azure, Anthropic, Gemini, Mistral, Cohere, Bedrock and
DeepSeek, and from the sources of vLLM, SGLang, TGI, llama.cpp and Ollama.
"""

from typing import Any

STOP, LENGTH, TOOL_CALLS, CONTENT_FILTER = "stop", "length", "tool_calls", "content_filter"
ERROR = "error"
"""The server broke off: the attempt has failed, whatever text came with it."""

_WORDS = {
    STOP: (
        "stop end_turn stop_sequence eos eos_token end_of_text end complete completed done normal "
        "finished natural endofturn"
    ),
    LENGTH: (
        "length max_tokens max_output_tokens max_new_tokens max_length max_completion_tokens "
        "model_length token_limit limit truncated incomplete context_length context_window "
        "context_length_exceeded model_context_window_exceeded max_context_length length_capped "
        "output_limit error_limit"
    ),
    TOOL_CALLS: "tool_calls tool_call tool_use function_call function_calls tools",
    CONTENT_FILTER: (
        "content_filter content_filtered content_filtering filter filtered safety refusal refused "
        "recitation blocklist blocked prohibited_content spii image_safety image_recitation "
        "image_prohibited_content guardrail guardrails guardrail_intervened sensitive moderation "
        "content_policy content_policy_violation policy_violation model_armor error_toxic toxic "
        "unsafe flagged"
    ),
    ERROR: (
        "error errored abort aborted cancel cancelled canceled failed failure timeout timed_out "
        "interrupted insufficient_system_resource insufficient_resources server_error "
        "internal_error internal_server_error engine_error network_error malformed_function_call "
        "malformed_response unexpected_tool_call malformed_model_output malformed_tool_use "
        "exception overloaded rejected"
    ),
}

_KNOWN = {word: meaning for meaning, words in _WORDS.items() for word in words.split()}


def finish_reason_of(word: Any) -> str:
    """Return the reason behind a provider's word; null is `stop`, an unknown word itself."""
    if word is None or word == "":
        return STOP
    if not isinstance(word, str):
        return str(word)[:100]
    plain = word.strip().lower().replace("-", "_").replace(" ", "_")
    plain = plain.removeprefix("finish_reason_")
    return _KNOWN.get(plain, word[:100])


def is_known(reason: str) -> bool:
    """Tell whether a reason is one of those above."""
    return reason in _WORDS
