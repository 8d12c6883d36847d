"""What guards pass to one another: a request on its way in, a verdict on its way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from oneturn.tools.scope import Scope
from oneturn.types import Call, CallRecord, Failure, Limits, Tool

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


@dataclass(slots=True)
class Budget:
    """What one run has used so far. The only thing in the gate that changes."""

    calls: int = 0
    result_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """The run a call belongs to, as far as guards need to know it."""

    scope: Scope
    limits: Limits
    budget: Budget


@dataclass(frozen=True, slots=True)
class Request:
    """A call as far as the guards have got: the tool is known after scope, arguments after theirs."""

    call: Call
    tool: Tool | None = None
    arguments: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Allowed:
    """Verdict: send exactly this. `arguments` is a copy nothing else holds."""

    call: Call
    tool: Tool
    arguments: Mapping[str, Any]


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


Verdict = Allowed | Refused
Guard = Callable[[Request, Context], Request | Failure]
"""Passes a request on, possibly completed, or says why not."""
