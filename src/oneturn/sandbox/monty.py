"""The `interpreter` level: scripts run in Monty, a Python interpreter in a crash-isolated worker.

Monty's pool keeps worker processes warm and serves one session per run. This module translates:
Monty's snapshots become our steps, its exceptions become `ScriptError`s, and the names a script
may use (`tools`, `runtime`, namespaces, bare tool names) become Monty objects that suspend when
they are called. Nothing is decided here.

Two rules shape it. Monty announces each call on its own, so a step carries one call and an empty
`pending`: the host can start the call while the script goes on to make the next. And time,
sleep and randomness never come from the worker: the clock and sleeps are calls to the host,
`random` starts from the run's seed.
"""

from __future__ import annotations

import bisect
import builtins
import contextlib
import datetime as dt
import os
import random
import signal
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic_monty as monty

from ..errors import SandboxBusy, SandboxClosed, SandboxError
from ..types import (
    Answer,
    Call,
    CallKind,
    Finished,
    IsolationLevel,
    Limits,
    Position,
    ScriptError,
    Step,
    Waiting,
)
from .base import Script
from .monty_names import RUNTIME, Names

_FINAL = "final_answer"
_CLOCKS = ("time.time", "datetime.now", "date.today")
_SLEEPS = ("time.sleep", "asyncio.sleep")
_MAX_URANDOM = 1 << 20
# A script may look up names and read the clock freely within its deadline; this only stops floods.
_SUSPENSIONS = 1_000_000
# How long a worker may overrun its own time limit before Monty kills it.
_GRACE = 0.5
_LINE = 500  # characters of a source line in a position

_Snapshot = monty.FunctionSnapshot | monty.NameLookupSnapshot | monty.FutureSnapshot | monty.MontyComplete


class MontySandbox:
    """Monty workers, kept warm and shared by runs.

    Args:
        workers: The most worker processes at once; each serves one run at a time.
        warm: Workers started ahead of need.
        wait: Seconds `start` waits for a free worker before `SandboxBusy`.
    """

    isolation: IsolationLevel = "interpreter"

    def __init__(self, *, workers: int = 32, warm: int = 1, wait: float = 10.0) -> None:
        self._options = {
            "min_processes": min(warm, workers),
            "max_processes": workers,
            "checkout_timeout": wait,
            "feed_duration_limit_grace": _GRACE,
        }
        self._lock = threading.Lock()
        self._pool: monty.Monty | None = None

    def _started(self) -> monty.Monty:
        with self._lock:
            if self._pool is None:
                pool = monty.Monty(**self._options)  # type: ignore[arg-type]
                pool.__enter__()
                self._pool = pool
            return self._pool

    def open(self, limits: Limits, seed: int) -> MontyRun:
        """A fresh session; its worker is taken when the run starts."""
        return MontyRun(self._started(), limits, seed)

    def close(self) -> None:
        """Stop every worker. Idempotent; a later `open` starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.__exit__(None, None, None)


class MontyRun:
    """One Monty session, from its first step to its last."""

    def __init__(self, pool: monty.Monty, limits: Limits, seed: int) -> None:
        self._pool = pool
        self._limits = limits
        self._seed = seed
        self._random: random.Random | None = None
        self._lock = threading.Lock()  # guards _pid, _killed and _session against kill()
        self._pid: int | None = None
        self._killed = False
        self._session: monty.MontySession | None = None
        self._snapshot: _Snapshot | None = None
        self._held: Call | None = None
        self._ready: dict[int, Answer] = {}
        self._prints: list[str] = []
        self._printed = 0
        self._cut = 0
        self._script = Script("")
        self._names = Names(self._script)
        self._offsets: list[int] = []
        self._positions: dict[int, Position] = {}
        self._bytes = b""

    # --- the protocol

    def start(self, script: Script) -> Step:
        """Take a worker and run to the first step."""
        self._script = script
        self._names = Names(script)
        self._bytes = script.source.encode("utf-8", "surrogatepass")
        session = self._checkout()
        try:
            if script.uses_tool_error:
                # Monty has no inheritance, so a tool's failure is a builtin exception there and
                # ToolError is the name that catches all of them.
                session.feed_run("ToolError = Exception")
            snapshot: _Snapshot = session.feed_start(
                script.source, inputs=self._names.globals(), print_callback=self._print
            )
        except monty.MontyError as error:
            return self._failed(error)
        return self._advance(snapshot)

    def resume(self, answers: Sequence[Answer]) -> Step:
        """Deliver answers and run to the next step."""
        snapshot = self._snapshot
        if snapshot is None:
            raise SandboxClosed("This run has ended and takes no more answers.")
        for answer in answers:
            self._ready[answer.call_id] = answer
        self._snapshot = None
        try:
            return self._advance(self._deliver(snapshot))
        except monty.MontyError as error:
            return self._failed(error)

    def kill(self) -> None:
        """Kill the worker process. The step in flight, if any, ends in a `SandboxCrashed` error."""
        with self._lock:
            if self._pid is not None and not self._killed and self._session is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)
            self._killed = True

    def close(self) -> None:
        """Give the worker back to the pool, or let the pool replace it if it died."""
        with self._lock:
            session, self._session = self._session, None
            self._pid = None
            self._snapshot = None
            if session is not None:
                with contextlib.suppress(monty.MontyError):
                    session.__exit__(None, None, None)

    # --- starting

    def _checkout(self) -> monty.MontySession:
        try:
            session = self._entered()
        except monty.MontyError:
            # The idle worker had died. Nothing has run yet, so another one may be tried.
            try:
                session = self._entered()
            except monty.MontyError as error:
                raise SandboxError(f"No sandbox worker could be started: {error}.") from error
        with self._lock:
            self._session, self._pid = session, session.worker_pid
            killed = self._killed
        if killed:
            raise SandboxClosed("This run was stopped before it started.")
        return session

    def _entered(self) -> monty.MontySession:
        limits = self._limits
        session = self._pool.checkout(
            script_name="script.py",
            limits={
                "max_feed_duration_secs": limits.cpu_seconds,
                "max_memory": limits.memory,
                "max_recursion_depth": limits.recursion,
                "max_suspensions": _SUSPENSIONS,
            },
            os_policy={
                "datetime": "call_host",
                "timezone": "utc",
                "sleep": "call_host",
                "process_time": "zero",
                "random_start": {"seed": self._seed},
            },
            external_modules=self._names.modules(),
        )
        try:
            session.__enter__()
        except TimeoutError:
            raise SandboxBusy("Every sandbox worker is busy; try again in a moment.") from None
        return session

    # --- stepping

    def _advance(self, snapshot: _Snapshot) -> Step:
        """Answer what needs no host and stop at the first thing that does."""
        try:
            while True:
                if isinstance(snapshot, monty.MontyComplete):
                    return self._finish(snapshot.output)
                if isinstance(snapshot, monty.FunctionSnapshot):
                    step = self._function(snapshot)
                elif isinstance(snapshot, monty.NameLookupSnapshot):
                    step = self._name(snapshot)
                else:
                    step = self._future(snapshot)
                if isinstance(step, (Waiting, Finished)):
                    return step
                snapshot = step
        except monty.MontyError as error:
            return self._failed(error)

    def _function(self, snapshot: monty.FunctionSnapshot) -> _Snapshot | Step:
        if snapshot.is_os_function:
            return self._os(snapshot)
        name = self._names.path(snapshot.object_id, str(snapshot.function_name))
        try:
            args, kwargs = snapshot.args, snapshot.kwargs
        except Exception:
            error = ValueError(f"the arguments of {name}() are not plain data")
            return snapshot.resume({"exception": error})
        if name == _FINAL and snapshot.object_id is None:
            if len(args) == 1 and not kwargs:
                return self._finish(args[0])
            return snapshot.resume({"exception": TypeError("final_answer(value) takes exactly one value")})
        if name.startswith(f"{RUNTIME}."):
            return self._ask(snapshot, "runtime", name[len(RUNTIME) + 1 :], args, kwargs, must=True)
        return self._ask(snapshot, "tool", name, args, kwargs, must=False)

    def _os(self, snapshot: monty.FunctionSnapshot) -> _Snapshot | Step:
        name = str(snapshot.function_name)
        if name in _CLOCKS:
            reads = str(snapshot.args[0]) if name == "time.time" and snapshot.args else name
            clock = "monotonic" if "monotonic" in reads or "perf_counter" in reads else "wall"
            return self._ask(snapshot, "clock", clock, (), {}, must=True)
        if name in _SLEEPS:
            return self._ask(snapshot, "sleep", name, snapshot.args, {}, must=name == "time.sleep")
        if name == "os.urandom" and snapshot.args and 0 <= snapshot.args[0] <= _MAX_URANDOM:
            if self._random is None:
                self._random = random.Random(self._seed)  # noqa: S311  replay needs the same bytes
            return snapshot.resume({"return_value": self._random.randbytes(snapshot.args[0])})
        if name == "import" and str(snapshot.args[0]).partition(".")[0] in ("tools", RUNTIME):
            return snapshot.resume_auto()
        return snapshot.resume_not_handled()

    def _ask(
        self,
        snapshot: monty.FunctionSnapshot,
        kind: CallKind,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        must: bool,
    ) -> Waiting:
        call = Call(snapshot.call_id, kind, name, args, kwargs, self._position(snapshot.position.start))
        self._snapshot, self._held = snapshot, call
        return self._wait((call,), (call.id,) if must else ())

    def _name(self, snapshot: monty.NameLookupSnapshot) -> _Snapshot:
        name = self._names.path(snapshot.object_id, snapshot.variable_name)
        value = self._names.value(name, bare=snapshot.object_id is None)
        if value is not None:
            return snapshot.resume(value=value)
        return snapshot.resume()

    def _future(self, snapshot: monty.FutureSnapshot) -> _Snapshot | Waiting:
        # Monty lists pending ids in no particular order; the order is part of the record.
        pending = tuple(sorted(snapshot.pending_call_ids))
        if any(call_id in self._ready for call_id in pending):
            return self._deliver(snapshot)
        self._snapshot, self._held = snapshot, None
        return self._wait((), pending)

    def _deliver(self, snapshot: _Snapshot) -> _Snapshot:
        if isinstance(snapshot, monty.FutureSnapshot):
            ready = [call_id for call_id in sorted(snapshot.pending_call_ids) if call_id in self._ready]
            if not ready:
                return snapshot
            return snapshot.resume({call_id: _settled(self._ready.pop(call_id)) for call_id in ready})
        call = self._held
        if not isinstance(snapshot, monty.FunctionSnapshot) or call is None:
            raise SandboxError("The sandbox was resumed at a point that takes no answer.")
        if call.kind in ("tool", "sleep") and call.name != "time.sleep":
            return snapshot.resume({"future": ...})
        if call.id not in self._ready:
            raise SandboxError(f"Call {call.id} needs its answer before the script can go on.")
        if call.kind == "runtime" and self._is_awaited(snapshot):
            return snapshot.resume({"future": ...})
        answer = self._ready.pop(call.id)
        if call.kind == "clock" and answer.failure is None:
            return snapshot.resume({"return_value": _clock(snapshot, answer.value)})
        return snapshot.resume(_settled(answer))

    # --- small things

    def _is_awaited(self, snapshot: monty.FunctionSnapshot) -> bool:
        return (snapshot.position.start, snapshot.position.end) in self._script.awaited

    def _position(self, offset: int) -> Position:
        known = self._positions.get(offset)
        if known is not None:
            return known
        if not self._offsets:
            self._offsets = [0, *(i + 1 for i, byte in enumerate(self._bytes) if byte == 0x0A)]
        line = bisect.bisect_right(self._offsets, offset) - 1
        start = self._offsets[line]
        end = self._offsets[line + 1] - 1 if line + 1 < len(self._offsets) else len(self._bytes)
        column = len(self._bytes[start:offset].decode("utf-8", "replace"))
        text = self._bytes[start : min(end, start + 4 * _LINE)].decode("utf-8", "replace")
        found = self._positions[offset] = Position(line + 1, column + 1, _short(text))
        return found

    def _print(self, _stream: str, text: str) -> None:
        room = self._limits.printed_chars - self._printed
        self._printed += len(text)
        if room > 0:
            self._prints.append(text[:room])
        self._cut += max(0, len(text) - max(0, room))

    def _finish(self, value: Any = None, error: ScriptError | None = None) -> Finished:
        self._snapshot = None
        prints, cut = self._take_prints()
        return Finished(value, error, prints, cut)

    def _wait(self, calls: tuple[Call, ...], pending: tuple[int, ...]) -> Waiting:
        prints, cut = self._take_prints()
        return Waiting(calls, pending, prints, cut)

    def _take_prints(self) -> tuple[str, int]:
        text, cut = "".join(self._prints), self._cut
        self._prints.clear()
        self._cut = 0
        return text, cut

    def _failed(self, error: monty.MontyError) -> Finished:
        return self._finish(error=self._script_error(error))

    def _script_error(self, error: monty.MontyError) -> ScriptError:
        if isinstance(error, monty.MontyCrashedError):
            if error.timed_out:
                return _out_of_time(self._limits)
            return ScriptError(
                "SandboxCrashed",
                "the sandbox worker died and was replaced; only this run is lost",
                hint="Run the script again, with less data or memory if it dies again.",
            )
        inner = error.exception()
        kind, message = type(inner).__name__, str(inner)
        if kind == "TimeoutError" and "time limit exceeded" in message:
            return _out_of_time(self._limits)
        frames = (
            error.traceback() if isinstance(error, (monty.MontyRuntimeError, monty.MontySyntaxError)) else []
        )
        position = None
        if frames:
            frame = frames[-1]
            text = (frame.source_line or "").strip().partition("\n")[0]
            position = Position(frame.line, frame.column, _short(text))
        return ScriptError(kind, message, position)


def _short(line: str) -> str:
    line = line.strip()
    return line if len(line) <= _LINE else f"{line[:_LINE]}…"


def _out_of_time(limits: Limits) -> ScriptError:
    return ScriptError(
        "TimeoutError",
        f"the script computed for more than {limits.cpu_seconds:g} s",
        hint="Look for an endless loop, or do less per script.",
    )


def _settled(answer: Answer) -> monty.ExternalReturnValue | monty.ExternalException:
    if answer.failure is None:
        return {"return_value": answer.value}
    kind = getattr(builtins, answer.failure.kind, RuntimeError)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = RuntimeError
    try:
        return {"exception": kind(answer.failure.message)}
    except TypeError:  # a few, such as UnicodeDecodeError, cannot be made from a message
        return {"exception": RuntimeError(answer.failure.message)}


def _clock(snapshot: monty.FunctionSnapshot, seconds: float) -> Any:
    """Epoch seconds in the shape the script's call expects. The sandbox's zone is UTC."""
    if snapshot.function_name == "date.today":
        return dt.datetime.fromtimestamp(seconds, dt.UTC).date()
    if snapshot.function_name == "datetime.now":
        zone = snapshot.args[0] if snapshot.args else None
        now = dt.datetime.fromtimestamp(seconds, zone or dt.UTC)
        return now if zone else now.replace(tzinfo=None)
    return seconds
