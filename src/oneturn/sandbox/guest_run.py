"""Runs and sessions over a channel: what every full-Python sandbox gives out.

A guest's frames become steps here, and nothing a guest says is believed beyond what a script may do: calls
get growing ids, only open calls can be waited for, and a guest that breaks the rules, computes for too long
or dies costs its own run and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from ..errors import SandboxBusy, SandboxClosed, SandboxError, SandboxUnavailable, SessionLost
from ..types import Answer, Call, Finished, Limits, Position, ScriptError, Step, Waiting
from .base import Script
from .channel import Channel, ChannelBroken
from .frames import Asked, BadFrame, Told, read, resume, start

_STARTING = 30.0  # seconds a guest may take to say that it is there
_TRIES = 3  # guests that may die before anything runs in them
_GLANCE = 0.05  # seconds between two looks at what a guest computed, at least
_LINE = 500  # characters of a source line in a position
_MOST_OPEN = 50_000  # calls and pauses without an answer taken; the host remembers something of each

Connect = Callable[[], Channel]
"""Gives a channel to a new guest, from which nothing was received yet.

Raises SandboxBusy, SandboxUnavailable, SandboxError.
"""


class _TooMuch(Exception):
    """The guest asks for more at once than anybody can be given; the text is for its script."""


class GuestRun:
    """One run in a guest.

    Args:
        connect: Gives the guest, when the run starts.
        limits: What the run may use; the guest puts those of memory and recursion into force.
        seed: Starts the script's randomness.
        modules: What the script may import: dotted names, each with all below it.
        hints: What to say about a module that is not there, by its first name.
        kept: A guest that has run something before, instead of a new one.
        release: Takes the channel, if there is one, when the run is closed, and why it is of no more use,
            which is empty when the run came to an end of its own. Closes it when left out.
    """

    def __init__(
        self,
        connect: Connect,
        limits: Limits,
        seed: int,
        *,
        modules: Sequence[str] = (),
        hints: Mapping[str, str] | None = None,
        kept: Channel | None = None,
        release: Callable[[Channel | None, str], None] | None = None,
    ) -> None:
        self._connect = connect
        self._limits = limits
        self._seed = seed
        self._modules = modules
        self._hints = hints or {}
        self._release = release or _closed
        self._lock = threading.Lock()  # guards _channel, _killed and _over against kill()
        self._channel = kept
        self._killed = False
        self._over = self._released = False
        self._unusable = ""
        self._number = 0  # of the guest's last frame
        self._loose = False  # a new guest, which has not said yet that it is confined
        self._open: set[int] = set()
        self._last = 0
        self._room = limits.printed_chars
        self._spent: float | None = 0.0  # what the guest had computed before this run; None when untold
        self._waited = 0.0
        self._lines: list[str] = []

    # --- the protocol

    def start(self, script: Script) -> Step:
        """Take a guest and run to the first step."""
        self._lines = script.source.split("\n")
        channel = self._guest()
        self._spent = channel.computed()
        return self._step(channel, start(script, self._limits, self._seed, self._modules, self._hints))

    def resume(self, answers: Sequence[Answer]) -> Step:
        """Send answers to open calls and run to the next step."""
        with self._lock:
            channel = self._channel
            if channel is None or self._over:
                raise SandboxClosed("This run has ended and takes no more answers.")
        wanted = [answer for answer in answers if answer.call_id in self._open]  # others were dropped
        self._open.difference_update(answer.call_id for answer in wanted)
        return self._step(channel, resume(self._number, wanted))

    def kill(self) -> None:
        """Kill the guest. The step in flight, if any, ends in a `SandboxCrashed` error."""
        with self._lock:
            self._killed = True
            channel = None if self._over else self._channel
            if channel is not None:
                channel.kill()

    def close(self) -> None:
        """Give the guest back. Idempotent."""
        with self._lock:
            if self._released:
                return
            self._released = self._over = True
            channel, self._channel = self._channel, None
        self._release(channel, self._unusable)

    # --- stepping

    def _guest(self) -> Channel:
        with self._lock:
            if self._killed or self._over:
                raise SandboxClosed("This run was stopped before it started.")
            self._unusable = "a run of it was closed before its end"
            if self._channel is not None:
                return self._channel
        for left in reversed(range(_TRIES)):
            try:
                return self._new_guest()
            except ChannelBroken:  # it died while nothing had run in it, so another one may be tried
                if left == 0:
                    raise
        raise AssertionError

    def _new_guest(self) -> Channel:
        channel = self._connect()
        with self._lock:
            self._channel = channel
            killed = self._killed
        try:
            if not killed:
                _await_ready(channel, self._limits)
        except SandboxError as error:
            if not self._was_killed():
                if isinstance(error, ChannelBroken):
                    with self._lock:
                        self._channel = None
                    channel.close()
                raise
        if self._was_killed():
            raise SandboxClosed("This run was stopped before it started.")
        self._loose = True
        return channel

    def _was_killed(self) -> bool:
        return self._killed

    def _step(self, channel: Channel, frame: bytes) -> Step:
        try:
            channel.send(frame)
            if self._loose:
                self._confined(self._told(channel))
            told = self._told(channel)
            if told.op not in ("wait", "done"):
                raise BadFrame("The guest spoke out of turn.")
            return self._finished(told) if told.op == "done" else self._waiting(told)
        except TimeoutError:
            channel.kill()
            seconds = self._limits.cpu_seconds
            return self._ended(
                out_of_time(self._limits), f"a script in it computed for more than {seconds:g} s"
            )
        except ChannelBroken:
            return self._died(channel)
        except _TooMuch as error:
            channel.kill()
            hint = "Await them in smaller groups."
            return self._ended(
                ScriptError("RuntimeError", str(error), hint=hint), "a script in it asked for too much"
            )
        except BadFrame:
            channel.kill()
            return self._ended(_crash("broke the rules and was stopped"), "a script in it broke the sandbox")

    def _told(self, channel: Channel) -> Told:
        told = read(self._received(channel), self._limits)
        if told.number != self._number + 1:
            raise BadFrame("The guest spoke out of turn.")
        self._number = told.number
        return told

    def _confined(self, told: Told) -> None:
        """A guest's first word after it was told to start: no script can have had a part in it."""
        if told.op == "refused":
            raise SandboxUnavailable(f"The guest could not be confined, so nothing ran: {told.why}")
        if told.op != "confined":
            raise BadFrame("The guest spoke out of turn.")
        self._loose = False

    def _received(self, channel: Channel) -> bytes:
        """The next frame, while the guest may compute. TimeoutError once it may not."""
        began = time.monotonic()
        left = self._limits.cpu_seconds - self._waited if self._spent is None else self._limits.cpu_seconds
        while True:
            try:
                return channel.receive(max(left, _GLANCE))
            except TimeoutError:
                waited = time.monotonic() - began
                left = self._limits.cpu_seconds - self._used(channel, waited)
                # One that neither computes nor says anything is stuck in the kernel or asleep.
                if left <= 0 or waited > max(self._limits.timeout, self._limits.cpu_seconds):
                    raise
            finally:
                self._waited += 0.0 if self._spent is not None else time.monotonic() - began

    def _used(self, channel: Channel, waited: float) -> float:
        computed = channel.computed()
        if computed is None or self._spent is None:
            return self._waited + waited
        return computed - self._spent

    def _waiting(self, told: Told) -> Waiting:
        calls = tuple(self._call(asked) for asked in told.calls)
        self._open.update(call.id for call in calls)
        if not self._open.issuperset(told.pending) or not self._open.issuperset(told.dropped):
            raise BadFrame("The guest waits for a call that is not open.")
        self._open.difference_update(told.dropped)
        if len(self._open) > _MOST_OPEN:
            raise _TooMuch(f"more than {_MOST_OPEN:,} calls and pauses are open at once")
        prints, cut = self._printed(told)
        return Waiting(calls, told.pending, prints, cut, told.dropped)

    def _call(self, asked: Asked) -> Call:
        if asked.id <= self._last:
            raise BadFrame("The guest made two calls with one id.")
        self._last = asked.id
        place = self._position(asked.line, asked.column)
        return Call(asked.id, asked.kind, asked.name, asked.args, asked.kwargs, place)

    def _printed(self, told: Told) -> tuple[str, int]:
        """What was printed; the guest cuts it too, so only a hostile one is cut here."""
        kept = told.prints[: self._room]
        self._room -= len(kept)
        return kept, told.cut + len(told.prints) - len(kept)

    def _position(self, line: int, column: int) -> Position | None:
        if not 0 < line <= len(self._lines):
            return None
        text = self._lines[line - 1].strip()
        return Position(line, column, text if len(text) <= _LINE else f"{text[:_LINE]}…")

    # --- ends

    def _finished(self, told: Told) -> Finished:
        prints, cut = self._printed(told)
        error = None
        lost = ""
        if told.error is not None:
            kind, message, line, column = told.error
            if kind == "MemoryError":
                lost = "a script in it ran out of memory"
                message = message or out_of_memory(self._limits).message
            error = ScriptError(kind, message, self._position(line, column))
        return self._ended(error, lost, told.value if error is None else None, prints, cut)

    def _died(self, channel: Channel) -> Finished:
        fate = "" if self._killed else channel.fate()
        channel.kill()  # one that only closed its end of the channel is alive
        if "memory" in fate:
            return self._ended(out_of_memory(self._limits), "a script in it ran out of memory")
        return self._ended(_crash(fate or "died"), f"its process {fate or 'was stopped'}")

    def _ended(
        self, error: ScriptError | None, lost: str, value: object = None, prints: str = "", cut: int = 0
    ) -> Finished:
        with self._lock:
            self._over = True
            self._unusable = "a run of it was stopped" if self._killed else lost
        return Finished(value, error, prints, cut)


class GuestSession:
    """Variables that live in one guest.

    Args:
        connect: Gives the guest, when the first run starts.
        modules: What scripts may import, as for `GuestRun`.
        hints: What to say about a module that is not there.
    """

    def __init__(
        self, connect: Connect, *, modules: Sequence[str] = (), hints: Mapping[str, str] | None = None
    ) -> None:
        self._connect = connect
        self._modules = modules
        self._hints = hints
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._lost = ""
        self._busy = False
        self._over = False

    @property
    def lost(self) -> str:
        """Why the variables are gone; empty while they are there."""
        return self._lost

    def lose(self, why: str) -> None:
        """Give the variables up for a reason of the caller's own. Not while a run is open."""
        with self._lock:
            self._lost = self._lost or why
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def open(self, limits: Limits, seed: int) -> GuestRun:
        """The next run. Raises SessionLost, SandboxBusy, SandboxClosed."""
        with self._lock:
            if self._over:
                raise SandboxClosed("This session is closed.")
            if self._lost:
                raise SessionLost(f"The session's variables are gone: {self._lost}. Start a new session.")
            if self._busy:
                raise SandboxBusy("This session runs a script already; one at a time.")
            self._busy = True
            kept, self._channel = self._channel, None
        return GuestRun(
            self._connect,
            limits,
            seed,
            modules=self._modules,
            hints=self._hints,
            kept=kept,
            release=self._back,
        )

    def close(self) -> None:
        """Forget the variables and end the guest. Idempotent."""
        with self._lock:
            self._over = True
        self.lose("it was closed")

    def _back(self, channel: Channel | None, why: str) -> None:
        with self._lock:
            self._busy = False
            self._lost = self._lost or why
            if not self._lost:
                self._channel = channel
                return
        if channel is not None:
            channel.close()


def _await_ready(channel: Channel, limits: Limits) -> None:
    """Wait until a new guest says that it is there.

    Raises:
        SandboxUnavailable: It could not be confined.
        SandboxError: It is not there in time, or is no guest.
    """
    try:
        told = read(channel.receive(_STARTING), limits)
    except TimeoutError:
        raise SandboxError(f"A guest did not start within {_STARTING:g} s.") from None
    except ChannelBroken as error:
        fate = channel.fate()
        raise ChannelBroken(f"A guest {fate or 'ended'} before it could start.") from error
    if told.op == "refused":
        raise SandboxUnavailable(f"The guest could not be confined, so nothing ran: {told.why}")
    if told.op != "ready" or told.number != 0:
        raise BadFrame("The guest spoke out of turn.")


def out_of_time(limits: Limits) -> ScriptError:
    """The end of a script that computed for too long."""
    return ScriptError(
        "TimeoutError",
        f"the script computed for more than {limits.cpu_seconds:g} s",
        hint="Look for an endless loop, or do less per script.",
    )


def out_of_memory(limits: Limits) -> ScriptError:
    """The end of a script that was killed for its memory."""
    return ScriptError(
        "MemoryError",
        f"the script used more than {limits.memory:,} bytes of memory",
        hint="Work on less data at once, or let a tool reduce it first.",
    )


def _crash(what: str) -> ScriptError:
    return ScriptError(
        "SandboxCrashed",
        f"the sandbox worker {what} and was replaced; only this run is lost",
        hint="Run the script again, with less data or memory if it dies again.",
    )


def _closed(channel: Channel | None, _why: str) -> None:
    if channel is not None:
        channel.close()
