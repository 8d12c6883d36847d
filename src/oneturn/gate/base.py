"""What guards pass to one another: a request on its way in, a verdict on its way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oneturn.tools.scope import Scope
from oneturn.types import Call, CallRecord, CallStatus, Failure, Limits, Tool

from .consent import Consent

if TYPE_CHECKING:
    from .reuse import Reuse
    from .store import Store

SHOWN = 200
"""Characters shown of a name or a path the script made up."""
MAX_MESSAGE = 2_000
"""Characters of a failure's message when it leaves the gate."""


def cut(text: str, most: int = SHOWN) -> str:
    """`text`, or its first `most` characters and an ellipsis."""
    return text if len(text) <= most else f"{text[:most]}…"


def capped(failure: Failure) -> Failure:
    """A failure as it may leave the gate, with a message of bounded length."""
    if len(failure.message) <= MAX_MESSAGE:
        return failure
    return Failure(failure.kind, cut(failure.message, MAX_MESSAGE))


Remember = Callable[[Any, int], None]
"""Keeps a copy of a call's result, given with its size in bytes, for later calls like it."""


@dataclass(slots=True)
class Budget:
    """What one run has used so far, and what it keeps for itself. Goes when the run does."""

    calls: int = 0
    result_bytes: int = 0
    kept: Store | None = None
    """Results cached for this run alone; the cache makes it when it needs it."""


@dataclass(frozen=True, slots=True)
class Context:
    """The run a call belongs to, as far as guards need to know it."""

    scope: Scope
    limits: Limits
    budget: Budget
    caller: str = "local"
    consent: Consent = field(default_factory=Consent)
    reuse: Reuse | None = None
    """The run that is retried."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call as far as the guards have got: the tool is known after scope, arguments after theirs."""

    call: Call
    tool: Tool | None = None
    arguments: Mapping[str, Any] | None = None
    remember: Remember | None = None
    granted: bool = False
    key: str = ""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Verdict: send exactly this. `arguments` is a copy nothing else holds.

    `remember` is for its result, if it succeeds; None when nobody wants to know. `granted`: it used up one
    call of a grant. `key` is the idempotency key that an earlier run sent it under.
    """

    call: Call
    tool: Tool
    arguments: Mapping[str, Any]
    remember: Remember | None = None
    granted: bool = False
    key: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """Verdict: do not send before a person has agreed to exactly this. `why` is for them."""

    call: Call
    tool: Tool
    arguments: Mapping[str, Any]
    why: str = ""

    def record(self) -> CallRecord:
        """How the call goes on record until somebody decides."""
        call, tool = self.call, self.tool
        return CallRecord(call.id, tool.name, tool.effect, "waiting", 0.0, call.position)


@dataclass(frozen=True, slots=True)
class Cached:
    """Verdict: allowed, and its value is known already. The value is a copy nothing else holds.

    `reused`: from the record of the run that is retried, rather than from the cache.
    """

    allowed: Allowed
    value: Any
    reused: bool = False

    def record(self, failure: Failure | None) -> CallRecord:
        """How the call goes on record, once it is known whether the run could take its value."""
        call, tool = self.allowed.call, self.allowed.tool
        status: CallStatus = "failed" if failure else "ok"
        error = failure.message if failure else ""
        return CallRecord(
            call.id,
            tool.name,
            tool.effect,
            status,
            0.0,
            call.position,
            error,
            cached=not self.reused,
            reused=self.reused,
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """Verdict: do not send. `guard` names who said so."""

    call: Call
    guard: str
    failure: Failure
    tool: Tool | None = None

    def record(self) -> CallRecord:
        """How the call goes on record. A tool that is not there counts as the worst it could be."""
        call = self.call
        effect = self.tool.effect if self.tool else "destructive"
        name = self.tool.name if self.tool else cut(call.name)
        return CallRecord(call.id, name, effect, "refused", 0.0, call.position, self.failure.message)


Verdict = Allowed | Asked | Cached | Refused
Guard = Callable[[Request, Context], Request | Failure | Asked | Cached]
"""Passes a request on, possibly completed, or says why not, or what its value is."""
