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
from typing import Any

import jsonschema_rs

from oneturn.errors import EffectUnknown, SourceError, ToolError, ValueRefused
from oneturn.tools.base import Blob, Result, Source
from oneturn.tools.results import value_of
from oneturn.types import Answer, CallRecord, CallStatus, Failure, Limits, Tool
from oneturn.values import copy, measure

from .base import Allowed, Budget, no_remote
from .redact import Redactor

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
    """

    def __init__(self, redactor: Redactor, deadline: float) -> None:
        self.redactor = redactor
        self._deadline = deadline
        self._shapes: dict[str, tuple[Tool, Any]] = {}

    async def send(self, allowed: Allowed, source: Source, *, left: float = math.inf) -> Reply:
        """Send one call and wait. Never raises, except for cancellation of the task itself.

        Args:
            allowed: What to send.
            source: Where to.
            left: Seconds after which whoever waits cancels this anyway.
        """
        tool = allowed.tool
        seconds = tool.timeout if tool.timeout is not None else self._deadline
        # A deadline costs about as much as the rest of a quick call: none when the run's own is sooner.
        guard = asyncio.timeout(seconds) if seconds < left else _NO_DEADLINE
        began = time.monotonic()
        in_doubt = False
        try:
            async with guard:
                result = await source.call(tool, allowed.arguments)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            failure = Failure("RuntimeError", f"{tool.name}: the tool cancelled itself")
        except BaseException as error:
            if isinstance(error, TimeoutError) and isinstance(guard, asyncio.Timeout) and guard.expired():
                in_doubt = tool.effect != "read"
                doubt = "; it may still take effect" if in_doubt else ""
                failure = Failure("TimeoutError", f"{tool.name} gave no answer within {seconds:g} s{doubt}")
            else:
                in_doubt = isinstance(error, EffectUnknown)
                failure = self._failure(tool, error)
        else:
            return Reply(allowed, result, None, time.monotonic() - began)
        return Reply(allowed, Result(), failure, time.monotonic() - began, in_doubt)

    def receive(self, reply: Reply, limits: Limits, budget: Budget, keep: Keep) -> Answer:
        """The answer the script gets: the result by the result rule, bounded, counted and copied."""
        call_id, tool = reply.allowed.call.id, reply.allowed.tool
        if reply.failure is not None:
            return Answer(call_id, failure=reply.failure)
        try:
            return Answer(call_id, self._checked(tool, value_of(tool, reply.result, keep), limits, budget))
        except Exception as error:
            return Answer(call_id, failure=self._failure(tool, error))

    def _checked(self, tool: Tool, value: Any, limits: Limits, budget: Budget) -> Any:
        """The result as the script will get it: bounded, counted, in its declared shape, copied."""
        size = measure(value, limits, what="the result")
        if budget.result_bytes + size > limits.run_bytes:
            raise ValueRefused(
                f"the results of this run are over {limits.run_bytes:,} bytes together; ask for less."
            )
        budget.result_bytes += size
        fresh = copy(value)
        # Python functions have been serialised by their own return type already.
        if tool.output_schema is not None and tool.source != "python":
            self._check_shape(tool, fresh)
        return fresh

    def _check_shape(self, tool: Tool, value: Any) -> None:
        known = self._shapes.get(tool.name)
        if known is None or known[0] is not tool:
            known = self._shapes[tool.name] = (tool, _validator(tool.output_schema))
        try:
            error = next(iter(known[1].iter_errors(value)), None) if known[1] is not None else None
        except ValueError:
            return  # bytes in the result: JSON Schema has nothing to say about them
        if error is not None:
            raise ValueRefused(f"its result is not of the declared shape: {error.message[:300]}")

    def _failure(self, tool: Tool, error: BaseException) -> Failure:
        log.info("%s failed", tool.name, exc_info=error)
        try:
            text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        except BaseException:  # even __str__ is a stranger's code
            text = ""
        kind = next((kind.__name__ for kind in _KEPT if isinstance(error, kind)), "RuntimeError")
        if isinstance(error, ValueRefused):
            kind, text = "ValueError", f"the call was made, but {text}"
        elif not isinstance(error, (ToolError, SourceError)) and kind == "RuntimeError":
            text = f"{type(error).__name__}: {text}" if text else type(error).__name__
        text = self.redactor.text(text).strip() or type(error).__name__
        return Failure(kind, f"{tool.name}: {text}")


def _validator(schema: Mapping[str, Any] | None) -> Any:
    """A compiled schema, or None when nobody can use it: then there is nothing to hold a result to."""
    try:
        return jsonschema_rs.validator_for(dict(schema or {}), retriever=no_remote)
    except Exception:
        return None
