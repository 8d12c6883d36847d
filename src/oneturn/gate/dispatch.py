"""Sending an allowed call: under its deadline, with everything a tool can do wrong kept inside.

No exception of a tool leaves this module, SystemExit and KeyboardInterrupt included; only the
run's own cancellation does. What comes back is measured before it is copied, and error text is
redacted. The full text of an error goes to the host's log and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from oneturn.errors import EffectUnknown, SourceError, ToolError, ValueRefused
from oneturn.journal.redaction import Fields
from oneturn.tools.base import CURRENT, Blob, CallInfo, Result, Source, Text
from oneturn.tools.results import value_of
from oneturn.types import Answer, CallRecord, CallStatus, Failure, Limits, Tool
from oneturn.values import copy, measure

from .base import Allowed, Budget, Cached, capped, cut
from .redact import Redactor
from .schemas import Schema

log = logging.getLogger("oneturn.gate")

# Builtins a script may well want to catch by name; everything else a tool raises is a RuntimeError.
_KEPT = (
    PermissionError,
    FileNotFoundError,
    FileExistsError,
    TimeoutError,
    ConnectionError,
    OSError,
    KeyError,
    IndexError,
    LookupError,
    ZeroDivisionError,
    ArithmeticError,
    TypeError,
    ValueError,
    NotImplementedError,
)
_NO_DEADLINE = contextlib.nullcontext()
Keep = Callable[[Blob], Mapping[str, Any]]


class Shapes(Protocol):
    """Learns what tools return that do not declare it."""

    def observe(self, tool: Tool, value: Any) -> None:
        """Look at one result, and neither change nor keep it."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back from a tool, unexamined: a result, or why there is none."""

    allowed: Allowed
    result: Result
    failure: Failure | None = None
    seconds: float = 0.0
    in_doubt: bool = False
    """It was sent, is not a read, and may yet take effect or have done so."""

    def record(self, failure: Failure | None, note: str = "") -> CallRecord:
        """How the call goes on record, once it is known whether its result was taken."""
        call, tool = self.allowed.call, self.allowed.tool
        status: CallStatus = "unknown" if self.in_doubt else "failed" if failure else "ok"
        error = failure.message if failure else note
        return CallRecord(call.id, tool.name, tool.effect, status, self.seconds, call.position, error)


class Dispatcher:
    """Performs calls the guards have allowed.

    `send` runs on the event loop and only waits; `receive` does the work that grows with the size
    of a result and belongs on a worker thread.

    Args:
        redactor: Takes secrets and host paths out of error text.
        deadline: Seconds one call may take when its tool does not say.
        shapes: Is shown the structured results of tools that declare no output schema.
        fields: Are quoted in no error of ours.
    """

    def __init__(
        self,
        redactor: Redactor,
        deadline: float,
        shapes: Shapes | None = None,
        fields: Fields | None = None,
    ) -> None:
        self.redactor = redactor
        self._fields = fields
        self._deadline = deadline
        self._learned = shapes
        self._shapes: dict[str, tuple[Tool, Schema | None]] = {}

    async def send(
        self,
        allowed: Allowed,
        source: Source,
        *,
        left: float = math.inf,
        deadline: float | None = None,
        stopped: Callable[[], bool] | None = None,
        info: CallInfo | None = None,
    ) -> Reply:
        """Send one call and wait. Never raises, except for cancellation of the task itself.

        Args:
            allowed: What to send.
            source: Where to.
            left: Seconds after which whoever waits cancels this anyway.
            deadline: Seconds this call may take at most, in place of the dispatcher's own.
            stopped: Whether whoever waits has cancelled this task. A tool runs in the same task and
                can cancel it too; only the caller can tell the two apart. Without it every
                cancellation of the task counts as the caller's.
            info: What the tool may ask about this call, with `current_call`.
        """
        tool = allowed.tool
        CURRENT.set(info)
        seconds = self._deadline if deadline is None else deadline
        if tool.timeout is not None:
            seconds = tool.timeout if deadline is None else min(tool.timeout, deadline)
        # A deadline costs about as much as the rest of a quick call: none when the run's own is sooner.
        guard = asyncio.timeout(seconds) if seconds < left else _NO_DEADLINE
        began = time.monotonic()
        in_doubt = False
        try:
            async with guard:
                result = await source.call(tool, allowed.arguments)
        except asyncio.CancelledError:
            if stopped() if stopped is not None else _cancelling():
                raise
            await _uncancel()
            failure = Failure("RuntimeError", f"{tool.name}: the tool cancelled itself")
        except BaseException as error:
            late = isinstance(guard, asyncio.Timeout) and guard.expired()
            if late and issubclass(type(error), TimeoutError):
                in_doubt = tool.effect != "read"
                doubt = "; it may still take effect" if in_doubt else ""
                failure = Failure("TimeoutError", f"{tool.name} gave no answer within {seconds:g} s{doubt}")
            else:
                in_doubt = issubclass(type(error), EffectUnknown)
                failure = self._failure(tool, error)
        else:
            if stopped is not None and _cancelling() and not stopped():
                await _uncancel()  # it cancelled itself and did not wait to see
            return Reply(allowed, result, None, time.monotonic() - began)
        return Reply(allowed, Result(), capped(failure), time.monotonic() - began, in_doubt)

    def receive(self, reply: Reply, limits: Limits, budget: Budget, keep: Keep) -> Answer:
        """The answer the script gets: the result by the result rule, bounded, counted and copied."""
        call_id, tool = reply.allowed.call.id, reply.allowed.tool
        if reply.failure is not None:
            return Answer(call_id, failure=reply.failure)
        try:
            value = value_of(tool, reply.result, keep)
            size = _counted(value, limits, budget)
            fresh = copy(value)
            # Python functions have been serialised by their own return type already.
            if tool.output_schema is not None and tool.holds_output and tool.source != "python":
                self._check_shape(tool, fresh)
            if reply.allowed.remember is not None and not _has_files(reply.result):
                reply.allowed.remember(fresh, size)
        except BaseException as error:
            return Answer(call_id, failure=self._failure(tool, error))
        if self._learned is not None and tool.output_schema is None and _has_shape(tool, reply.result, fresh):
            self._learn(tool, fresh)
        return Answer(call_id, fresh)

    def recall(self, cached: Cached, limits: Limits, budget: Budget) -> Answer:
        """The answer from the cache. It is bounded and counted as the result of a sent call is."""
        call, tool = cached.allowed.call, cached.allowed.tool
        try:
            _counted(cached.value, limits, budget)
        except ValueRefused as error:
            return Answer(call.id, failure=Failure("ValueError", f"{tool.name}: {error}"))
        return Answer(call.id, cached.value)

    def _learn(self, tool: Tool, value: Any) -> None:
        assert self._learned is not None
        try:
            self._learned.observe(tool, value)
        except Exception:  # what is learned must never cost anybody the answer
            log.warning("Nothing was learned from a result of %s", tool.name, exc_info=True)

    def _check_shape(self, tool: Tool, value: Any) -> None:
        known = self._shapes.get(tool.name)
        if known is None or known[0] is not tool:
            known = self._shapes[tool.name] = (tool, _schema(tool.output_schema))
        schema = known[1]
        # A schema nobody can use, or not in reasonable time, is nothing to hold a result to.
        if schema is None or schema.too_much(value):
            return
        try:
            if schema.accepts(value):
                return
            _, why = schema.complaint(value, self._fields)
        except ValueError:
            return  # bytes in the result: JSON Schema has nothing to say about them
        raise ValueRefused(f"its result is not of the declared shape: {cut(why, 300)}")

    def _failure(self, tool: Tool, error: BaseException) -> Failure:
        """What the script is told. An exception is a stranger's code as well: nothing of it gets out."""
        try:
            log.info("%s failed", tool.name, exc_info=error)
        except BaseException:
            log.info("%s failed, and its traceback cannot be shown", tool.name)
        try:
            kind, text = _told(error)
            return capped(Failure(kind, f"{tool.name}: {self.redactor.text(text).strip() or _name(error)}"))
        except BaseException:
            return Failure("RuntimeError", f"{tool.name}: it failed, with an error that cannot be shown")


def _counted(value: Any, limits: Limits, budget: Budget) -> int:
    """The size of a result, once it is within the bounds of its run and counted towards them."""
    size = measure(value, limits, what="the result")
    if budget.result_bytes + size > limits.run_bytes:
        raise ValueRefused(
            f"the results of this run are over {limits.run_bytes:,} bytes together; ask for less."
        )
    budget.result_bytes += size
    return size


def _has_files(result: Result) -> bool:
    return any(isinstance(block, Blob) for block in result.blocks)


def _has_shape(tool: Tool, result: Result, value: Any) -> bool:
    """Whether a result is data: structured, or text that was JSON all through."""
    if tool.results == "text":
        return False
    if result.has_structured:
        return True
    parts = value if len(result.blocks) > 1 else [value]
    return bool(result.blocks) and all(
        isinstance(block, Text) and not isinstance(part, str)
        for block, part in zip(result.blocks, parts, strict=True)
    )


def _told(error: BaseException) -> tuple[str, str]:
    """The builtin exception a script sees, and the text. Trusts the type, never `__class__`."""
    cls = type(error)
    try:
        text = _text(error.args[0] if issubclass(cls, KeyError) and error.args else error)
    except BaseException:
        text = ""
    if issubclass(cls, ValueRefused):
        return "ValueError", f"the call was made, but {text}"
    kind = next((kind.__name__ for kind in _KEPT if issubclass(cls, kind)), "RuntimeError")
    if kind == "RuntimeError" and not issubclass(cls, (ToolError, SourceError)):
        text = f"{_name(error)}: {text}" if text else _name(error)
    return kind, text


def _text(thing: object) -> str:
    """`str(thing)` as a real `str`: `__str__` may return a subclass with methods of its own."""
    return str.__str__(str(thing))


def _name(error: BaseException) -> str:
    return cut(_text(type(error).__name__))


def _schema(declared: Mapping[str, Any] | None) -> Schema | None:
    """A schema made ready, or None when nobody can use it."""
    try:
        return Schema(declared or {})
    except Exception:
        return None


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _uncancel() -> None:
    """Take back what the tool did to the task it shares with us."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # a cancellation that was asked for and not delivered yet arrives here
