"""What a script asks that is no tool call: the time, a pause, a `runtime` helper."""

from __future__ import annotations

import asyncio
import time

from ..errors import ArtifactNotFound, ValueRefused
from ..types import Answer, Call, Failure
from ..values import plain
from ..view import ScriptRuntime
from .flight import Flight
from .order import Order, Parts

_SLEEPS = 1_000  # pauses open at once; each costs the host a task
_KINDS: dict[type[Exception], str] = {ArtifactNotFound: "LookupError", ValueRefused: "ValueError"}


class Asides:
    """Answers them for one run. Used on its worker thread.

    Args:
        parts: Of the runtime.
        order: What is run.
        flight: Where pauses are waited for.
        loop: The event loop that has them.
    """

    def __init__(self, parts: Parts, order: Order, flight: Flight, loop: asyncio.AbstractEventLoop) -> None:
        self._limits = order.limits
        self._flight = flight
        self._loop = loop
        self._helpers = ScriptRuntime(
            order.view, lambda artifact_id: parts.artifacts.get(artifact_id, caller=order.caller).data
        )
        self._pauses: set[int] = set()
        self.refused = 0
        """Pauses that were refused, because too many are open."""

    def begin(self, call: Call) -> Answer | None:
        """The answer; None for a pause, whose answer comes when it is over."""
        if call.kind == "clock":
            return Answer(call.id, time.time() if call.name == "wall" else self._flight.used)
        if call.kind != "sleep":
            return self._help(call)
        if len(self._pauses) >= _SLEEPS:
            self.refused += 1
            failure = Failure("RuntimeError", f"{_SLEEPS:,} pauses are open at once; await them")
            return Answer(call.id, failure=failure)
        self._pauses.add(call.id)
        self._loop.call_soon_threadsafe(self._flight.pause, call)
        return None

    def over(self, call_id: int) -> None:
        """A pause is over, or the script does not wait for it any more."""
        self._pauses.discard(call_id)

    def _help(self, call: Call) -> Answer:
        try:
            value = self._helpers.call(call.name, call.args, call.kwargs)
            return Answer(call.id, plain(value, self._limits, what=f"runtime.{call.name}()"))
        except (AttributeError, NameError, TypeError, ValueError, LookupError) as error:
            kind = _KINDS.get(type(error), type(error).__name__)
            return Answer(call.id, failure=Failure(kind, str(error)))
