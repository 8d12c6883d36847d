"""One run of one script in Monty, from its first step to its last.

Two rules shape it. Monty announces each call on its own, so a step carries one call and an empty
`pending`: the host can start the call while the script goes on to make the next. And time, sleep and
randomness never come from the worker: the clock and sleeps are calls to the host, `random` starts
from the run's seed.
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
from ..types import Answer, Call, CallKind, Finished, Limits, Position, ScriptError, Step, Waiting
from .base import Script
from .monty_names import MODULES, RUNTIME, Names
from .monty_workers import Worker, Workers

_FINAL = "final_answer"
_CLOCKS = ("time.time", "datetime.now", "date.today")
_SLEEPS = ("time.sleep", "asyncio.sleep")
_MAX_URANDOM = 1 << 20
# A script may look up names and read the clock freely within its deadline; this only stops floods.
_SUSPENSIONS = 1_000_000
_STARTS = 4  # workers that are tried for one run
_LINE = 500  # characters of a source line in a position
_STALLED = "asyncio scheduler stalled"  # what Monty says of an await that nothing will ever answer

Snapshot = monty.FunctionSnapshot | monty.NameLookupSnapshot | monty.FutureSnapshot | monty.MontyComplete

_CRASHED = ScriptError(
    "SandboxCrashed",
    "the sandbox worker died and was replaced; only this run is lost",
    hint="Run the script again, with less data or memory if it dies again.",
)


class MontyRun:
    """One run, on a worker that is taken when it is made and given back when it is closed."""

    def __init__(self, workers: Workers, caller: str | None, limits: Limits, seed: int) -> None:
        self._workers = workers
        self._worker: Worker | None = workers.take(caller)
        self._limits = limits
        self._seed = seed
        self._random: random.Random | None = None
        self._lock = threading.Lock()  # guards _pid, _killed and _session against kill()
        self._pid: int | None = None
        self._killed = False
        self._session: monty.MontySession | None = None
        self._snapshot: Snapshot | None = None
        self._held: Call | None = None
        self._ready: dict[int, Answer] = {}
        self._widened: dict[str, str] = {}  # texts of failures whose kind Monty only knows as OSError
        self._prints: list[str] = []
        self._printed = 0
        self._cut = 0
        self._script = Script("")
        self._names = Names()
        self._feeds = 0  # snippets this interpreter was fed; Monty names each by its number
        self._offsets: list[int] = []
        self._positions: dict[int, Position] = {}
        self._bytes = b""

    # --- the protocol

    def start(self, script: Script) -> Step:
        """Run to the first step."""
        self._script = script
        self._names.add(script)
        self._bytes = script.source.encode("utf-8", "surrogatepass")
        session = self._checkout()
        try:
            inputs = self._prepare(session)
            self._feeds += 1
            snapshot: Snapshot = session.feed_start(script.source, inputs=inputs, print_callback=self._print)
        except monty.MontyError as error:
            return self._failed(error)
        return self._advance(snapshot)

    def resume(self, answers: Sequence[Answer]) -> Step:
        """Deliver answers and run to the next step."""
        snapshot = self._snapshot
        if snapshot is None:
            raise SandboxClosed("This run has ended and takes no more answers.")
        if self._killed:
            return self._finish(error=self._stopped())
        for answer in answers:
            self._ready[answer.call_id] = answer
            if answer.failure is not None and _is_widened(answer.failure.kind):
                self._widened[answer.failure.message] = answer.failure.kind
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
        """Give the worker back. It is the caller's next one, or is replaced if it died."""
        self._leave()
        worker, self._worker = self._worker, None
        if worker is not None:
            self._workers.give_back(worker, spoiled=self._killed)

    @property
    def process(self) -> int | None:
        """The id of the worker's process, or of its jail's; None while there is none."""
        return self._pid

    # --- starting and ending

    def _prepare(self, session: monty.MontySession) -> dict[str, Any]:
        """Bring a fresh interpreter to where the script starts; what to bind besides."""
        if self._script.uses_tool_error:
            # Monty has no inheritance, so a tool's failure is a builtin exception there and
            # ToolError is the name that catches all of them.
            self._feed(session, "ToolError = Exception")
        return self._names.globals()

    def _feed(self, session: monty.MontySession, snippet: str) -> None:
        """Run a snippet of our own, which calls nothing."""
        self._feeds += 1
        session.feed_run(snippet)

    def _checkout(self) -> monty.MontySession:
        for left in reversed(range(_STARTS)):
            try:
                session = self._entered()
                break
            except monty.MontyError as error:
                # The worker had died, or did just now. Nothing has run yet, so another one may be tried.
                if not left:
                    raise SandboxError(f"No sandbox worker could be started: {error}.") from error
        with self._lock:
            self._session, self._pid = session, session.worker_pid
            killed = self._killed
        if killed:
            raise SandboxClosed("This run was stopped before it started.")
        return session

    def _entered(self) -> monty.MontySession:
        if self._worker is None:
            raise SandboxClosed("This run was closed before it started.")
        limits = self._limits
        session = self._worker.pool.checkout(
            script_name="script.py",
            limits={
                "max_feed_duration_secs": self._computing_limit(),
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
        )
        try:
            session.__enter__()
        except TimeoutError:
            raise SandboxBusy("Every sandbox worker is busy; try again in a moment.") from None
        return session

    def _computing_limit(self) -> float:
        """Seconds of computing after which Monty itself stops the script."""
        return self._limits.cpu_seconds

    def _leave(self) -> None:
        """End the interpreter's state; the process lives on unless it was killed."""
        with self._lock:
            session, self._session = self._session, None
            self._pid = None
            self._snapshot = None
            if session is not None:
                with contextlib.suppress(monty.MontyError):
                    session.__exit__(None, None, None)

    def _ended(self, error: ScriptError | None) -> None:
        """Called once, when the script has ended and its interpreter is still there."""

    # --- stepping

    def _advance(self, snapshot: Snapshot) -> Step:
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

    def _function(self, snapshot: monty.FunctionSnapshot) -> Snapshot | Step:
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

    def _os(self, snapshot: monty.FunctionSnapshot) -> Snapshot | Step:
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
        if name == "import" and snapshot.args[0] in MODULES:
            return snapshot.resume({"return_value": self._names.module(snapshot.args[0])})
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
        call = Call(snapshot.call_id, kind, name, args, kwargs, self._position(snapshot.position))
        self._snapshot, self._held = snapshot, call
        return self._wait((call,), (call.id,) if must else ())

    def _name(self, snapshot: monty.NameLookupSnapshot) -> Snapshot:
        value = self._names.value(snapshot.object_id, snapshot.variable_name)
        if value is not None:
            return snapshot.resume(value=value)
        return snapshot.resume()

    def _future(self, snapshot: monty.FutureSnapshot) -> Snapshot | Waiting:
        # Monty lists pending ids in no particular order; the order is part of the record.
        pending = tuple(sorted(snapshot.pending_call_ids))
        if any(call_id in self._ready for call_id in pending):
            return self._deliver(snapshot)
        if not pending:
            return snapshot.resume({})  # an await that nothing can answer: Monty raises in the script
        self._snapshot, self._held = snapshot, None
        return self._wait((), pending)

    def _deliver(self, snapshot: Snapshot) -> Snapshot:
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

    @property
    def _file(self) -> str:
        """How Monty names the script, as against snippets before it and text given to eval()."""
        return f"<python-input-{self._feeds - 1}>"

    def _is_awaited(self, snapshot: monty.FunctionSnapshot) -> bool:
        place = snapshot.position
        return place.filename == self._file and (place.start, place.end) in self._script.awaited

    def _position(self, place: monty.SourceRange) -> Position | None:
        """Where in this script a call stands; None for one in another text."""
        if place.filename != self._file:
            return None
        offset = place.start
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
        if self._killed and error is None:
            # In a jail the worker outlives its launcher by some milliseconds.
            value, error = None, self._stopped()
        self._ended(error)
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

    def _stopped(self) -> ScriptError:
        """What a run that was killed ends with."""
        return _CRASHED

    def _script_error(self, error: monty.MontyError) -> ScriptError:
        if isinstance(error, monty.MontyCrashedError):
            if error.timed_out:
                return out_of_time(self._limits)
            return _CRASHED
        inner = error.exception()
        kind, message = type(inner).__name__, str(inner)
        if kind == "OSError":
            kind = self._widened.get(message, kind)
        if kind == "TimeoutError" and "time limit exceeded" in message:
            return out_of_time(self._limits)
        if kind == "RuntimeError" and _STALLED in message:
            message = "the script awaits something that nothing will ever answer"
            return ScriptError(kind, message, self._place(error), "Await a call in the script that makes it.")
        return ScriptError(kind, message, self._place(error))

    def _place(self, error: monty.MontyError) -> Position | None:
        """The innermost line of this script on the way to the error."""
        if not isinstance(error, (monty.MontyRuntimeError, monty.MontySyntaxError)):
            return None
        frames = error.traceback()
        own = [frame for frame in frames if frame.filename == self._file] or frames
        if not own:
            return None
        text = (own[-1].source_line or "").strip().partition("\n")[0]
        return Position(own[-1].line, own[-1].column, _short(text))


def _short(line: str) -> str:
    line = line.strip()
    return line if len(line) <= _LINE else f"{line[:_LINE]}…"


def out_of_time(limits: Limits) -> ScriptError:
    """The end of a script that computed for too long."""
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


def _is_widened(kind: str) -> bool:
    """Whether Monty raises OSError in its place: it has no connection errors."""
    found = getattr(builtins, kind, None)
    return isinstance(found, type) and issubclass(found, ConnectionError)


def _clock(snapshot: monty.FunctionSnapshot, seconds: float) -> Any:
    """Epoch seconds in the shape the script's call expects. The sandbox's zone is UTC."""
    if snapshot.function_name == "date.today":
        return dt.datetime.fromtimestamp(seconds, dt.UTC).date()
    if snapshot.function_name == "datetime.now":
        zone = snapshot.args[0] if snapshot.args else None
        now = dt.datetime.fromtimestamp(seconds, zone or dt.UTC)
        return now if zone else now.replace(tzinfo=None)
    return seconds
