"""Answers that must fit a JSON Schema: the layer that checks them, and the file they come from.

An answer that does not fit is a failed row that was paid for. A check that does not end within
`MAX_AT_ONCE_S` is made in a process of its own, so that no pattern and no schema holds up the event
loop.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from llmscale.core.asked_row import AskedRow, Result
from llmscale.core.errors import CallFailed, JobError
from llmscale.core.protocols import Answers
from llmscale.core.records import Failure, Reply, Request
from llmscale.engine.json_schema.deadline import OutOfTime
from llmscale.engine.json_schema.validators import SchemaValidator, has_slow_patterns
from llmscale.engine.json_schema.worker import CHECK_TIMEOUT_S, SchemaTimeout, SchemaWorkers

MAX_VALIDATORS = 64
MAX_AT_ONCE_S = 0.02
MAX_AT_ONCE_CHARACTERS = 50_000  # of an answer


class SchemaCheck:
    """What an answer must fit. A schema that took long once is checked elsewhere from then on."""

    def __init__(self, schema: Any) -> None:
        """Raises `ValueError` for what is no schema."""
        self.schema = schema
        self._validator = SchemaValidator(schema)
        self._is_slow = has_slow_patterns(schema)

    def misfit_at_once(self, text: str) -> str | None:
        """Say why an answer does not fit, or None when it does. Raises `OutOfTime`."""
        if self._is_slow or len(text) > MAX_AT_ONCE_CHARACTERS:
            raise OutOfTime
        try:
            return self._validator.misfit(text, MAX_AT_ONCE_S)
        except OutOfTime:
            self._is_slow = True
            raise


class SchemaLayer:
    """Lets an answer pass when it is JSON and fits the schema that its request asks for."""

    def __init__(
        self, inner: Answers, workers: SchemaWorkers | None = None, repairs: int = 0
    ) -> None:
        """`workers` are closed by who made them.

        `repairs`: how often an answer that does not fit is sent back with what is wrong.
        """
        self._inner = inner
        self._workers = workers or SchemaWorkers()
        self._repairs = repairs
        self._checks: dict[int, SchemaCheck] = {}

    async def answer_all(self, rows: Sequence[AskedRow]) -> None:
        """Deliver the answers that fit, and a `CallFailed` for each that does not.

        Raises `JobError`.
        """
        checked: list[tuple[AskedRow, SchemaCheck]] = []
        asked: list[AskedRow] = []
        for row in rows:
            schema = schema_of(row.request)
            if schema is not None:
                try:  # before the call: a bad schema costs nothing
                    checked.append((row, self._check(schema)))
                except CallFailed as error:
                    row.deliver(error)
                    continue
            asked.append(row)
        if not checked:
            await self._inner.answer_all(asked)
        elif asked:
            async with asyncio.TaskGroup() as group:
                for row, check in checked:
                    row.through(_Checking(self, check, group))
                await self._inner.answer_all(asked)

    def judged_at_once(self, check: SchemaCheck, reply: Reply) -> Result | None:
        """Return what a reply comes to; None: that takes a call, or a process of its own."""
        try:
            complaint = check.misfit_at_once(reply.text or "")
        except OutOfTime:
            return None
        return None if complaint is not None and self._repairs else _judged(reply, complaint)

    async def judge(self, row: AskedRow, check: SchemaCheck, reply: Reply) -> None:
        """Deliver what a reply comes to. Raises `JobError`."""
        try:
            result = await self._judged(row.request, check, reply)
        except JobError:
            raise
        except Exception as error:  # a fault of ours too: the rows beside this one go on
            result = error
        row.deliver(result)

    async def _judged(self, request: Request, check: SchemaCheck, reply: Reply) -> Result:
        """Send an answer back until one fits, at the most as often as is set."""
        try:
            while (complaint := await self._complaint(check, reply)) is not None:
                if reply.repairs >= self._repairs:
                    return _judged(reply, complaint)
                request = with_complaint(request, reply, complaint)
                result = await self._answer(request)
                if not isinstance(result, Reply):
                    return _with_paid(result, reply)
                reply = together(reply, result)
                if result.tool_calls:
                    break
        except SchemaTimeout:
            return _timed_out(reply)
        return reply

    async def _answer(self, request: Request) -> Result:
        last = _Last()
        await self._inner.answer_all([AskedRow(request, last)])
        return last.result

    async def _complaint(self, check: SchemaCheck, reply: Reply) -> str | None:
        try:
            return check.misfit_at_once(reply.text or "")
        except OutOfTime:
            return await self._workers.misfit(check.schema, reply.text or "")

    def _check(self, schema: Any) -> SchemaCheck:
        """One check for each schema object: the rows that share a flag share the object."""
        known = self._checks.get(id(schema))
        if known is not None:
            return known
        try:
            check = SchemaCheck(schema)
        except ValueError as error:
            raise CallFailed(Failure(kind="bad_row", message=f"json_schema: {error}"), 0) from None
        if len(self._checks) >= MAX_VALIDATORS:
            self._checks.clear()
        self._checks[id(schema)] = check  # holds the object, so its id stays its own
        return check


class _Checking:
    """Receives an answer that must fit a schema."""

    __slots__ = ("_check", "_group", "_layer")

    def __init__(self, layer: SchemaLayer, check: SchemaCheck, group: asyncio.TaskGroup) -> None:
        self._layer = layer
        self._check = check
        self._group = group

    def receive(self, row: AskedRow, result: Result) -> None:
        if not isinstance(result, Reply) or result.tool_calls:
            row.deliver(result)
            return
        judged = self._layer.judged_at_once(self._check, result)
        if judged is not None:
            row.deliver(judged)
        else:
            self._group.create_task(self._layer.judge(row, self._check, result))


class _Last:
    """Receives the result of one row and keeps it."""

    def __init__(self) -> None:
        self.result: Result = RuntimeError("a layer has not delivered a row")

    def receive(self, row: AskedRow, result: Result) -> None:
        del row
        self.result = result


def with_complaint(request: Request, reply: Reply, complaint: str) -> Request:
    """Return the request that sends an answer back."""
    messages = [
        *request.messages,
        {"role": "assistant", "content": reply.text or ""},
        {
            "role": "user",
            "content": f"That answer can't be used: {complaint}. Reply with the corrected JSON "
            "and nothing else.",
        },
    ]
    return replace(request, messages=messages)


def together(earlier: Reply, later: Reply) -> Reply:
    """Return the later reply with what both have cost."""
    costs = (earlier.cost_usd, later.cost_usd)
    return replace(
        later,
        usage=earlier.usage + later.usage,
        cost_usd=None if costs[0] is None or costs[1] is None else costs[0] + costs[1],
        attempts=earlier.attempts + later.attempts,
        repairs=earlier.repairs + 1,
    )


def _with_paid(result: Result, paid: Reply) -> Result:
    """Return a failure with the attempts that were made before it, and what they cost."""
    if not isinstance(result, CallFailed):
        return result
    failure = result.failure
    reply = paid if failure.reply is None else together(paid, failure.reply)
    return CallFailed(replace(failure, reply=reply), paid.attempts + result.attempts)


def _judged(reply: Reply, complaint: str | None) -> Reply | CallFailed:
    """Return a reply that fits, or how it does not."""
    if complaint is None:
        return reply
    if reply.finish_reason == "length":
        complaint += "; it was cut, so raise --max-tokens"
    failure = Failure(kind="schema_mismatch", message=complaint, reply=reply)
    return CallFailed(failure, reply.attempts)


def _timed_out(reply: Reply) -> CallFailed:
    message = f"whether the answer fits the schema took more than {CHECK_TIMEOUT_S:g} s to tell"
    return CallFailed(Failure(kind="schema_timeout", message=message, reply=reply), reply.attempts)


def schema_of(request: Request) -> Any:
    """Return the JSON Schema that the answer must fit, or None."""
    response_format = request.response_format
    if response_format is None or response_format.get("type") != "json_schema":
        return None
    named = response_format.get("json_schema")
    return named.get("schema") if isinstance(named, dict) else None
