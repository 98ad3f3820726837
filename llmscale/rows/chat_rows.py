"""From a line to a `Row`: the shapes of input are told apart by their keys.

Prompt (`{"prompt": ...}`), messages (`{"messages": [...]}`), a template over any object, and the
line of an OpenAI batch file (`custom_id`, `method`, `url`, `body`). A line that is none of them
becomes a row that says so: it never stops the job and never vanishes.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec
import orjson

from llmscale.config import SamplingConfig
from llmscale.core.json_depth import MAX_LEVELS, is_too_deep
from llmscale.core.records import SAMPLING_FIELDS, Failure, Request, Row
from llmscale.rows.sources import MAX_LINE_BYTES, Line
from llmscale.rows.template import Template

BATCH_URL = "/v1/chat/completions"

REQUEST_FIELDS = frozenset({*SAMPLING_FIELDS, "sample"})
"""Fields of a row that `Request` has a place for."""

PASSED_FIELDS = frozenset(
    {
        "frequency_penalty",
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
    }
)
"""Fields of a row that go into the request's body as they are."""

MAX_IGNORED_FIELDS = 20

_ROW_FIELDS = frozenset(
    {"id", "custom_id", "prompt", "messages", "user", "model", "system", "metadata"}
)


class BadRow(Exception):
    """Why a line is no request."""


class RowParser:
    """Reads lines under the defaults of the settings; a field of a row takes precedence."""

    def __init__(
        self,
        model: str,
        sampling: SamplingConfig,
        response_format: dict[str, Any] | None = None,
        resolve_model: Callable[[str], str] = str,
    ) -> None:
        """`model`: of rows that name none. `resolve_model` raises `LookupError` with a sentence."""
        self._model = model
        self._resolve_model = resolve_model
        self._system = sampling.system
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
        self.ignored_fields: set[str] = set()  # in rows, neither sent nor used

    def parse(self, index: int, line: Line) -> Row:
        """Return the row of a line; one that can't be used carries its failure."""
        try:
            return self._row(index, json_object(line.raw))
        except BadRow as error:
            return bad_row(index, line, error)

    def _row(self, index: int, fields: dict[str, Any]) -> Row:
        if self._template is not None:
            request = self._request_from_template(self._template, fields)
        elif "body" in fields:
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
        passed = {name: fields[name] for name in fields.keys() & PASSED_FIELDS}
        return self._build(fields, _messages(fields), passed)

    def _request_from_template(self, template: Template, fields: dict[str, Any]) -> Request:
        """Take every field as data, whatever its name, but for id, user and metadata."""
        try:
            prompt = template.fill(fields)
        except KeyError as error:
            raise BadRow(f"the template needs a field {error}") from None
        return self._build({}, [{"role": "user", "content": prompt}], {})

    def _request_from_batch(self, fields: dict[str, Any]) -> Request:
        body = fields["body"]
        if not isinstance(body, dict):
            raise BadRow("body is not an object")
        if fields.get("method", "POST") != "POST" or fields.get("url", BATCH_URL) != BATCH_URL:
            method, url = fields.get("method"), fields.get("url")
            raise BadRow(f"only POST {BATCH_URL} is answered here, not {method} {url}")
        if "messages" not in body:
            raise BadRow("body has no messages")
        known = {*REQUEST_FIELDS, "model", "messages", "system"}
        passed = {name: value for name, value in body.items() if name not in known}
        return self._build(body, _messages(body), passed)

    def _build(
        self, fields: dict[str, Any], messages: list[Any], passed: dict[str, Any]
    ) -> Request:
        settings = self._defaults
        given = {n: fields[n] for n in fields.keys() & REQUEST_FIELDS if fields[n] is not None}
        if given:
            settings = settings | given
            if isinstance(settings["stop"], str):
                settings["stop"] = [settings["stop"]]
        extra = {**(self._extra or {}), **passed} if passed else self._extra
        if extra and (extra.get("stream") or extra.get("n", 1) != 1):
            raise BadRow("stream and n are not supported: a row has one whole answer")
        system = fields.get("system", self._system)
        if system is not None and not isinstance(system, str):
            raise BadRow("system is not text")
        if system is not None and not _has_system(messages):
            messages = [{"role": "system", "content": system}, *messages]
        model = fields.get("model")
        request = Request(
            model=self._model if model is None else self._model_of_row(model),
            messages=messages,
            extra=extra,
            **settings,
        )
        return _checked(request) if given else request

    def _model_of_row(self, model: Any) -> str:
        if not isinstance(model, str) or not model:
            raise BadRow("model is not text, or is empty")
        try:
            return self._resolve_model(model)
        except LookupError as error:
            raise BadRow(str(error.args[0])) from None

    def _note_ignored(self, fields: dict[str, Any]) -> None:
        if fields.keys() <= _ROW_FIELDS or len(self.ignored_fields) >= MAX_IGNORED_FIELDS:
            return
        ignored = fields.keys() - _ROW_FIELDS - PASSED_FIELDS - REQUEST_FIELDS
        self.ignored_fields |= set(sorted(ignored)[: MAX_IGNORED_FIELDS - len(self.ignored_fields)])


class Parses(Protocol):
    """Makes a row of a line, whatever the line is."""

    @property
    def ignored_fields(self) -> set[str]:
        """Names of fields that were neither sent nor kept."""
        ...

    def parse(self, index: int, line: Line) -> Row:
        """Return the row; one that can't be used carries its failure."""
        ...


def rows_of(
    parser: Parses,
    blocks: Iterator[list[Line]],
    limit: int | None = None,
    is_done: Callable[[int], bool] | None = None,
) -> Iterator[list[Row]]:
    """Yield the rows of blocks of lines, numbered from 0, `limit` of them at most.

    Rows that are done are left out, and not even parsed.
    """
    index = 0
    for lines in blocks:
        taken = lines if limit is None else lines[: limit - index]
        numbered = enumerate(taken, index)
        index += len(taken)
        rows = [parser.parse(i, line) for i, line in numbered if not (is_done and is_done(i))]
        if rows:
            yield rows
        if limit is not None and index >= limit:
            return


def bad_row(index: int, line: Line, error: BadRow) -> Row:
    """Return the row of a line that can't be used, which says where it is and why."""
    message = f"{line.source} line {line.number}: {error}"
    failure = Failure(kind="bad_row", message=message)
    return Row(index=index, id=row_id_of(line.raw), failure=failure)


def user_of(fields: dict[str, Any]) -> str | None:
    """Return whose limits a row counts for."""
    user = fields.get("user")
    return None if user is None else str(user)


def row_id_of(raw: bytes | None) -> str | int | None:
    """Return the id of a line, None where it has none or is no row."""
    try:
        return id_of(json_object(raw))
    except BadRow:
        return None


def json_object(raw: bytes | None) -> dict[str, Any]:
    """Return the object that a line is. Raises `BadRow`."""
    if raw is None:
        raise BadRow(f"longer than {MAX_LINE_BYTES // 1024**2} MB")
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRow(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise BadRow("not a JSON object")
    if is_too_deep(raw, fields):
        raise BadRow(f"has more than {MAX_LEVELS} levels of JSON")
    return fields


def id_of(fields: dict[str, Any]) -> str | int | None:
    """Return the id of a row. Raises `BadRow`."""
    row_id = fields.get("custom_id", fields.get("id"))
    if row_id is None or (isinstance(row_id, str | int) and not isinstance(row_id, bool)):
        return row_id
    raise BadRow("id is neither text nor a whole number")


def _messages(fields: dict[str, Any]) -> list[Any]:
    if "messages" in fields:
        messages = fields["messages"]
        if not isinstance(messages, list) or not messages:
            raise BadRow("messages is not a list with at least one message")
        for message in messages:
            if not isinstance(message, dict) or not isinstance(message.get("role"), str):
                raise BadRow('a message is not an object with a "role"')
        return messages
    if "prompt" not in fields:
        raise BadRow(
            'has neither "prompt" nor "messages"; for other fields say --template "... {field}"'
        )
    prompt = fields["prompt"]
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadRow("prompt is not text, or is empty")
    return [{"role": "user", "content": prompt}]


def _has_system(messages: list[Any]) -> bool:
    return any(message["role"] in ("system", "developer") for message in messages)


def _checked(request: Request) -> Request:
    """Hold the fields that came from a row against their types."""
    try:
        return msgspec.convert(msgspec.structs.asdict(request), Request)
    except msgspec.ValidationError as error:
        what, _, path = str(error).replace("`", "").partition(" - at $.")
        raise BadRow(f"{path}: {what[0].lower()}{what[1:]}") from None
