"""What OpenTelemetry is told of runs and calls: a span for each, counters, and how long they took.

Imported only where an app asks for it, because OpenTelemetry takes a while to load. It needs the API alone:
without an SDK in the host's program all of this does nothing. Nothing that a script, a tool or a person said
is told: no code, arguments, results, prints or messages. Everything here runs on the event loop.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import logging
import time
from collections.abc import Awaitable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode

from . import __version__, errors
from .errors import Diverged, RunBusy
from .tools.base import idempotency_key
from .types import Approval, CallRecord, CallStatus, Decision, Outcome, RunStatus

if TYPE_CHECKING:
    from .gate import Allowed, Reply
    from .journal.past import Past
    from .run.order import Order

log = logging.getLogger("oneturn.run")

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_OTHER = "_OTHER"  # what the conventions call an error, and we a tool, that must not be named
_OUR_KINDS = frozenset(
    {
        "Cancelled",
        "ForgottenAwait",
        "InternalError",
        "SandboxCrashed",
        "ScriptTooLarge",
        "UnsupportedPython",
    }
)
Attributes = dict[str, str | int | bool]


@contextlib.contextmanager
def _harmless() -> Iterator[None]:
    """The host's span processors are a stranger's code: no run may end with what they raise."""
    try:
        yield
    except Exception:
        log.warning("OpenTelemetry could not be told", exc_info=True)


class Telemetry:
    """Tells the OpenTelemetry providers that the host's program has set, or sets later."""

    def __init__(self) -> None:
        self.tracer = trace.get_tracer("oneturn", __version__)
        meter = metrics.get_meter("oneturn", __version__)
        self.runs = meter.create_counter("oneturn.runs", "{run}", "Runs that ended or were put aside")
        self.calls = meter.create_counter("oneturn.calls", "{call}", "Calls that were settled")
        self.run_seconds = meter.create_histogram(
            "oneturn.run.duration",
            "s",
            "What counts towards a run's timeout",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.call_seconds = meter.create_histogram(
            "oneturn.call.duration",
            "s",
            "From sending a call to its answer",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )

    def run(self, run_id: str, order: Order, past: Past | None = None) -> RunSpan:
        """The span of a run that begins now, within the span that is current.

        Args:
            run_id: The run.
            order: What is run.
            past: The record of a run that is taken up again.
        """
        return RunSpan(self, run_id, order, past)


class RunSpan:
    """One run, or what is left of one that is taken up again. Its span starts when there is a use for it.

    Args:
        telemetry: Of the app.
        run_id: The run.
        order: What is run.
        past: The record of a run that is taken up again.
    """

    def __init__(self, telemetry: Telemetry, run_id: str, order: Order, past: Past | None) -> None:
        self._telemetry = telemetry
        self._id = run_id
        self._order = order
        self._is_resumed = past is not None
        calls = past.calls.values() if past is not None else ()
        self._counted = {call.id for call in calls if call.answer is not None}
        self._shown: set[str] = set()
        self._around = context.get_current()
        self._began = time.time_ns()

    @cached_property
    def _span(self) -> Span:
        order = self._order
        attributes: Attributes = {"oneturn.run.id": self._id, "oneturn.caller": order.caller}
        if order.session:
            attributes["oneturn.session"] = order.session
        if order.retry_of:
            attributes["oneturn.run.retry_of"] = order.retry_of
        if self._is_resumed:
            attributes["oneturn.run.resumed"] = True
        return self._start("oneturn.run", self._around, attributes, self._began)

    @cached_property
    def _within(self) -> Context:
        """What is current for the calls of this run."""
        return trace.set_span_in_context(self._span, self._around)

    def _start(self, name: str, around: Context, attributes: Attributes, began: int | None = None) -> Span:
        try:
            return self._telemetry.tracer.start_span(name, around, attributes=attributes, start_time=began)
        except Exception:
            log.warning("OpenTelemetry could not be told", exc_info=True)
            return trace.INVALID_SPAN

    async def sent(self, allowed: Allowed, sending: Awaitable[Reply]) -> Reply:
        """Wait for a call that is sent, in a span that is current for its tool. Raises as `sending` does."""
        tool = allowed.tool
        attributes: Attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool.name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": allowed.key or idempotency_key(self._id, allowed.call.id),
            "oneturn.run.id": self._id,
            "oneturn.call.id": allowed.call.id,
            "oneturn.tool.effect": tool.effect,
        }
        span = self._start(f"oneturn.call {tool.name}", self._within, attributes)
        token = context.attach(trace.set_span_in_context(span, self._within))
        try:
            reply = await sending
        except BaseException:  # cancelled: nobody will know whether it took effect
            lost = tool.effect != "read"
            _end_call(span, "unknown" if lost else "cancelled", "Cancelled", in_doubt=lost)
            raise
        finally:
            context.detach(token)
        kind = reply.failure.kind if reply.failure else ""
        _end_call(span, reply.record(reply.failure).status, kind, in_doubt=reply.in_doubt)
        return reply

    @_harmless()
    def waits(self, approvals: Sequence[Approval]) -> None:
        """Calls wait for a person's word. Each is told once."""
        for approval in approvals:
            if approval.id not in self._shown:
                self._shown.add(approval.id)
                attributes: Attributes = {
                    "gen_ai.tool.name": approval.tool,
                    "oneturn.call.id": approval.call_id,
                    "oneturn.tool.effect": approval.effect,
                    "oneturn.approval.id": approval.id,
                }
                self._span.add_event("oneturn.approval.asked", attributes)

    @_harmless()
    def decided(self, approval: Approval, decision: Decision) -> None:
        """Somebody decided, while the run waited."""
        attributes: Attributes = {
            "oneturn.call.id": approval.call_id,
            "oneturn.approval.id": approval.id,
            "oneturn.approval.approved": decision.approved,
        }
        self._span.add_event("oneturn.approval.decided", attributes)

    @_harmless()
    def end(self, outcome: Outcome | None, error: BaseException | None = None) -> None:
        """The run has ended here.

        Args:
            outcome: What it came to; None when there is none.
            error: What it was left with.
        """
        span, status = self._span, outcome.status if outcome is not None else _status(error)
        if outcome is not None:
            self.waits(outcome.pending)
            span.set_attribute("oneturn.run.calls", len(outcome.calls))
            if outcome.sandbox is not None:
                span.set_attribute("oneturn.sandbox", outcome.sandbox)
            if outcome.isolation is not None:
                span.set_attribute("oneturn.isolation", outcome.isolation)
        if status is not None:
            span.set_attribute("oneturn.run.status", status)
        if status in ("failed", None):
            ended = outcome.error.kind if outcome is not None and outcome.error else type(error).__name__
            span.set_attribute("error.type", _named(ended))
            span.set_status(StatusCode.ERROR)
        self._count(status, outcome)
        span.end()

    def _count(self, status: RunStatus | None, outcome: Outcome | None) -> None:
        telemetry = self._telemetry
        if status is not None:
            telemetry.runs.add(1, {"oneturn.run.status": status})
        if outcome is None:
            return
        telemetry.run_seconds.record(outcome.seconds, {"oneturn.run.status": outcome.status})
        for record in outcome.calls:
            # One that waits is counted when it is settled, and one that is on record has been.
            if record.status == "waiting" or record.id in self._counted:
                continue
            attributes = self._call_attributes(record)
            telemetry.calls.add(1, attributes)
            if record.seconds:  # else nothing was sent
                telemetry.call_seconds.record(record.seconds, attributes)

    def _call_attributes(self, record: CallRecord) -> Attributes:
        # A script can make up any number of names that are no tool's, and write what it likes in them.
        is_tool = self._order.view.scope.get(record.tool) is not None
        return {
            "gen_ai.tool.name": record.tool if is_tool else _OTHER,
            "oneturn.tool.effect": record.effect,
            "oneturn.call.status": record.status,
        }


@_harmless()
def _end_call(span: Span, status: CallStatus, kind: str, *, in_doubt: bool) -> None:
    span.set_attribute("oneturn.call.status", status)
    span.set_attribute("oneturn.call.in_doubt", in_doubt)
    if status in ("failed", "unknown"):
        span.set_attribute("error.type", _named(kind))
        span.set_status(StatusCode.ERROR)
    span.end()


def _status(error: BaseException | None) -> RunStatus | None:
    """How a run without an outcome ended; None when it has not, and goes on here or elsewhere."""
    if isinstance(error, RunBusy | Diverged):
        return None
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"


def _named(kind: str) -> str:
    """The kind of an error, unless it may be one that a script has made up."""
    for place in (builtins, errors):
        known = getattr(place, kind, None)
        if isinstance(known, type) and issubclass(known, BaseException):
            return kind
    return kind if kind in _OUR_KINDS else _OTHER
