"""Rows of chats: the shapes of input differ by their keys.

Prompt (`{"prompt": ...}`), messages (`{"messages": [...]}`), a template over any object, and the
line of an OpenAI batch file (`custom_id`, `method`, `url`, `body`). A line that is none of them
becomes a row that says so: it never stops the job and never vanishes.
"""

from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from llmscale.config import SamplingConfig
from llmscale.core.records import SAMPLING_FIELDS, Request, Row
from llmscale.rows.row_parser import BadRow, RowParser, id_of, user_of
from llmscale.rows.template import MissingField, SystemText, Template

BATCH_PATH = "/chat/completions"
"""How the url of a batch line ends, whatever stands before it: a version, a host."""

_OTHER_PATHS = {
    "/embeddings": "llmscale embed answers it",
    "/responses": "write it as messages, for /v1/chat/completions",
}

REQUEST_FIELDS = frozenset({*SAMPLING_FIELDS, "sample"})
"""Fields of a row that are fields of `Request`."""

PASSED_FIELDS = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "min_p",
        "modalities",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "repeat_penalty",
        "repetition_penalty",
        "safety_identifier",
        "service_tier",
        "store",
        "thinking",
        "top_k",
        "top_logprobs",
        "verbosity",
        "web_search_options",
    }
)
"""Fields of a row that are passed to the provider unchanged."""

MAX_IGNORED_FIELDS = 20

_ROW_FIELDS = frozenset(
    {"id", "custom_id", "prompt", "messages", "user", "model", "system", "metadata"}
)


class ResolveModel(Protocol):
    """Returns the full name of a model of a row. Raises `LookupError` with a sentence."""

    def __call__(self, model: str, *, is_literal: bool) -> str:
        """`is_literal`: it is the name that the server knows."""
        ...


def as_written(model: str, *, is_literal: bool) -> str:  # noqa: ARG001
    """Return a full name as it is."""
    return model


class ChatParser(RowParser):
    """Reads lines under the defaults of the settings; a field of a row takes precedence."""

    def __init__(
        self,
        model: str,
        sampling: SamplingConfig,
        response_format: dict[str, Any] | None = None,
        resolve_model: ResolveModel = as_written,
    ) -> None:
        """`model`: of rows that name none. The model of a batch line is literal."""
        super().__init__()
        self._model = model
        self._resolve_model = resolve_model
        self._system = None if sampling.system is None else SystemText(sampling.system)
        self._template = None if sampling.template is None else Template(sampling.template)
        self._defaults: dict[str, Any] = {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stop": list(sampling.stop) or None,
            "response_format": response_format,
        }
        self._extra = dict(sampling.param) or None

    def row_of(self, index: int, fields: dict[str, Any]) -> Row:
        """Return the row of a prompt, of messages, of a template's fields or of a batch line."""
        if self._template is not None:
            request = self._request_from_template(self._template, fields)
        elif fields.get("body") is not None:
            request = self._request_from_batch(fields)
        else:
            request = self._request(fields)
            self._note_ignored(fields)
        return Row(
            index=index,
            id=id_of(fields),
            request=request,
            user=user_of(fields),
            metadata=fields.get("metadata"),
        )

    def _request(self, fields: dict[str, Any]) -> Request:
        passed = {n: fields[n] for n in fields.keys() & PASSED_FIELDS if fields[n] is not None}
        return self._build(fields, _messages(fields), passed, row=fields)

    def _request_from_template(self, template: Template, fields: dict[str, Any]) -> Request:
        """Take every field as data, except id, user and metadata."""
        try:
            prompt = template.fill(fields)
        except MissingField as missing:
            raise BadRow(f"the template needs {missing}") from None
        return self._build({}, [{"role": "user", "content": prompt}], {}, row=fields)

    def _request_from_batch(self, fields: dict[str, Any]) -> Request:
        body = fields["body"]
        if not isinstance(body, dict):
            raise BadRow("body is not an object")
        _check_call(fields.get("method"), fields.get("url"))
        if body.get("messages") is None:
            raise BadRow("body has no messages")
        known = {*REQUEST_FIELDS, "model", "messages", "system"}
        passed = {n: value for n, value in body.items() if n not in known and value is not None}
        return self._build(body, _messages(body), passed, row=fields, is_batch=True)

    def _build(
        self,
        fields: dict[str, Any],
        messages: list[Any],
        passed: dict[str, Any],
        *,
        row: dict[str, Any],
        is_batch: bool = False,
    ) -> Request:
        settings = self._defaults
        given = {n: fields[n] for n in fields.keys() & REQUEST_FIELDS if fields[n] is not None}
        if "max_completion_tokens" in passed and "max_tokens" not in given:
            given["max_tokens"] = passed.pop("max_completion_tokens")  # one setting, two names
        if given:
            given |= {n: int(given[n]) for n in _WHOLE & given.keys() if _is_whole(given[n])}
            settings = settings | given
            if isinstance(settings["stop"], str):
                settings["stop"] = [settings["stop"]]
        extra = {**(self._extra or {}), **passed} if passed else self._extra
        if extra and "max_tokens" in given and "max_completion_tokens" not in passed:
            extra = {n: value for n, value in extra.items() if n != "max_completion_tokens"} or None
        if extra and (extra.get("stream") or extra.get("n", 1) != 1):
            raise BadRow("stream and n are not supported: a row has one whole answer")
        system = fields.get("system")
        if system is None and self._system is not None:
            try:
                system = self._system.fill(row)
            except MissingField as missing:
                raise BadRow(f"--system needs {missing}") from None
        if system is not None and not isinstance(system, str):
            raise BadRow("system is not text")
        if system is not None and not _has_system(messages):
            messages = [{"role": "system", "content": system}, *messages]
        model = fields.get("model")
        request = Request(
            model=self._model if model is None else self._model_of_row(model, is_literal=is_batch),
            messages=messages,
            extra=extra,
            **settings,
        )
        return _checked(request) if given else request

    def _model_of_row(self, model: Any, *, is_literal: bool) -> str:
        if not isinstance(model, str) or not model:
            raise BadRow("model is not text, or is empty")
        try:
            return self._resolve_model(model, is_literal=is_literal)
        except LookupError as error:
            raise BadRow(str(error.args[0])) from None

    def _note_ignored(self, fields: dict[str, Any]) -> None:
        if fields.keys() <= _ROW_FIELDS or len(self.ignored_fields) >= MAX_IGNORED_FIELDS:
            return
        ignored = fields.keys() - _ROW_FIELDS - PASSED_FIELDS - REQUEST_FIELDS
        self.ignored_fields |= set(sorted(ignored)[: MAX_IGNORED_FIELDS - len(self.ignored_fields)])


_WHOLE = frozenset({"max_tokens", "seed", "sample"})


def _is_whole(value: Any) -> bool:
    """Tell whether a number is whole, but written with a fraction: 256.0."""
    return isinstance(value, float) and value.is_integer()


def _check_call(method: Any, url: Any) -> None:
    """Raise `BadRow` for the line of a batch file that asks for something else than a chat."""
    path = urlsplit(url if isinstance(url, str) else BATCH_PATH).path.rstrip("/")
    if (method is None or str(method).upper() == "POST") and path.endswith(BATCH_PATH):
        return
    for ending, hint in _OTHER_PATHS.items():
        if path.endswith(ending):
            raise BadRow(f"{url} is no chat completion; {hint}")
    raise BadRow(f"only POST /v1{BATCH_PATH} is supported, not {method} {url}")


def _messages(fields: dict[str, Any]) -> list[Any]:
    messages = fields.get("messages")
    if messages is not None:
        if not isinstance(messages, list) or not messages:
            raise BadRow("messages is not a list with at least one message")
        for message in messages:
            if not isinstance(message, dict) or not isinstance(message.get("role"), str):
                raise BadRow('a message is not an object with a "role"')
        return messages
    prompt = fields.get("prompt")
    if prompt is None:
        raise BadRow(
            'has neither "prompt" nor "messages"; for other fields use --template "... {field}"'
        )
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadRow("prompt is not text, or is empty")
    return [{"role": "user", "content": prompt}]


def _has_system(messages: list[Any]) -> bool:
    return any(message["role"] in ("system", "developer") for message in messages)


def _checked(request: Request) -> Request:
    """Check the fields that came from a row against their types."""
    try:
        return msgspec.convert(msgspec.structs.asdict(request), Request)
    except msgspec.ValidationError as error:
        what, _, path = str(error).replace("`", "").partition(" - at $.")
        raise BadRow(f"{path}: {what[0].lower()}{what[1:]}") from None
