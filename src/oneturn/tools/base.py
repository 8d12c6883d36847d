"""The protocol every source of tools implements, and what a call brings back.

A source lists its tools and performs calls; it knows nothing of scripts, scopes or limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ..types import Tool


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text in a result."""

    text: str


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in a result that belong in the artifact store: an image, audio, a file."""

    data: bytes
    mime: str = "application/octet-stream"
    name: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A pointer to something the source can be asked for later."""

    uri: str
    name: str = ""
    mime: str = ""


Block = Text | Blob | Link


@dataclass(frozen=True, slots=True)
class Result:
    """What a call brought back, before the result rule turns it into a value.

    `structured` is already a value (a Python function's return value, MCP structured content);
    `has_structured` tells a structured None from none at all.
    """

    structured: Any = None
    has_structured: bool = False
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class CallInfo:
    """Which call of which run a tool is performing, and for whom."""

    run_id: str
    call_id: int
    caller: str
    key: str = ""
    """The idempotency key of the same call in the run that this one retries; none when empty."""

    @property
    def idempotency_key(self) -> str:
        """The same for this call however often it is sent, and for no other: for services that take one."""
        return self.key or idempotency_key(self.run_id, self.call_id)


def idempotency_key(run_id: str, call_id: int) -> str:
    """The key that a call of a run is first sent under."""
    return f"{run_id}-{call_id}"


CURRENT: ContextVar[CallInfo | None] = ContextVar("oneturn_call", default=None)
"""Set by the gate for the task that performs a call."""


def current_call() -> CallInfo:
    """The call that is being performed, for tools that want to know.

    Raises:
        LookupError: Nothing is being called here.
    """
    info = CURRENT.get()
    if info is None:
        raise LookupError("No call is being performed here; ask inside a tool that a script called.")
    return info


@runtime_checkable
class LeavesOut(Protocol):
    """A source that cannot make a tool of everything it was given, and says of what and why."""

    skipped: Mapping[str, str]


class Source(Protocol):
    """Where tools come from. Methods run on the event loop the source was opened on."""

    name: str

    async def open(self) -> None:
        """Start what the source needs. Raises SourceError with one clear sentence."""
        ...

    async def list_tools(self) -> Sequence[Tool]:
        """Every tool, by the source's own names; the catalog makes them valid and unique."""
        ...

    async def call(self, tool: Tool, arguments: Mapping[str, Any]) -> Result:
        """Perform one call. Failures raise: ToolError, SourceError or whatever the tool raised."""
        ...

    def on_change(self, notify: Callable[[], None]) -> None:
        """Ask to be told when the list of tools has changed."""
        ...

    def secrets(self) -> Sequence[str]:
        """Strings that must never reach a script, an error, a log or a page."""
        ...

    async def close(self) -> None:
        """Stop. Idempotent."""
        ...
