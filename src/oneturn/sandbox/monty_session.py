"""Variables kept between the scripts of one session, as a Monty snapshot that the host holds.

Between two scripts there is no process: the interpreter's state is dumped when a script ends and loaded
when the next one starts. Monty trusts what it loads, so nothing is loaded that this process did not dump:
each snapshot is sealed with a key made for this process, over the interpreter's version, the session and
its place in it, and the seal is checked before anything is decoded.

A script that ends in `final_answer` ends in the middle of a call, and nothing of it may run any more, while
the variables stay. Only Monty itself ends a script so, when it is over a limit: hence the snippet below,
which asks for more memory than there can be. Nothing is allocated, and what there is stays sound.

Two things that Monty keeps with a snapshot are not what a session means by them. A limit can only become
tighter once it is in a snapshot; so the time a script may compute, which changes from run to run, is
watched here, and only memory and recursion stay at the tightest of the runs so far. And `random` goes on
where it was, so each script is preceded by a snippet that seeds it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic_monty as monty

from ..errors import SandboxBusy, SandboxClosed, SessionLost
from ..types import Answer, Finished, Limits, ScriptError, Step
from .base import Script
from .monty_names import Names
from .monty_run import MontyRun, Snapshot, out_of_time
from .monty_workers import Workers

_KEY = secrets.token_bytes(32)  # of this process, and never written anywhere
_CEILING = 86_400.0  # seconds of computing that Monty is told; the run's own limit is watched here
_TICK = 0.02  # seconds between two looks at a script that is close to its limit
_AWAITS = 20_000  # places of `await` remembered for functions that later scripts call
_FINAL = "__final_answer__"
_FIRST = f"ToolError = Exception\ndef final_answer(value):\n    {_FINAL}(value)\n    'x' * 10**15"
_SEED = "from random import seed as __seed__\n__seed__({seed})\n__seed__ = None"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A snapshot that only the session and the interpreter it came from will load again."""

    data: bytes
    seal: bytes

    @classmethod
    def make(cls, data: bytes, session: str, sequence: int) -> Sealed:
        """Seal what an interpreter of this process dumped."""
        return cls(data, _seal(data, session, sequence))

    def opened(self, session: str, sequence: int) -> bytes:
        """The snapshot, if it is the one of this session and place, from this interpreter, unchanged.

        Raises:
            SessionLost: It is not. Nothing of it was decoded.
        """
        if not hmac.compare_digest(_seal(self.data, session, sequence), self.seal):
            raise SessionLost(
                "The session's variables are not what was kept for it: the snapshot was changed, or is "
                "another session's or another interpreter's. Nothing was loaded; start a new session."
            )
        return self.data


def _seal(data: bytes, session: str, sequence: int) -> bytes:
    made = hmac.new(_KEY, digestmod=hashlib.sha256)
    for part in (monty.__version__, session, str(sequence)):
        made.update(len(part).to_bytes(4, "big") + part.encode())
    made.update(data)
    return made.digest()


class MontySession:
    """Variables kept between runs, one run at a time. No worker is held between two runs.

    Args:
        workers: Gives the workers of the sandbox, once they may be used.
        caller: Whose session it is.
    """

    def __init__(self, workers: Callable[[], Workers], caller: str) -> None:
        self._workers = workers
        self._caller = caller
        self._id = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._lost = ""
        self._closed = False
        self._running = False
        self._kept: Sealed | None = None
        self._sequence = 0  # snapshots so far; only the latest one will do
        self._names = Names()
        self._feeds = 0
        self._awaited: dict[str, frozenset[tuple[int, int]]] = {}

    @property
    def lost(self) -> str:
        """Why the variables are gone, as the end of a sentence; empty while they are there."""
        return self._lost

    def open(self, limits: Limits, seed: int) -> MontySessionRun:
        """The next run. It sees what the runs before it bound.

        Raises:
            SessionLost: The variables are gone.
            SandboxBusy: A run of this session is open, or every worker is taken.
            SandboxUnavailable: A control of the level does not hold.
            SandboxClosed: The session was closed.
        """
        with self._lock:
            if self._lost:
                raise SessionLost(f"The session is gone: {self._lost}. Start a new session.")
            if self._closed:
                raise SandboxClosed("This session was closed. Start a new one.")
            if self._running:
                raise SandboxBusy("This session runs a script already; wait until that has ended.")
            self._running = True
        try:
            return MontySessionRun(self, self._workers(), self._caller, limits, seed)
        except BaseException:
            self._running = False
            raise

    def close(self) -> None:
        """Forget the variables. Idempotent."""
        self._closed = True
        self._forget()

    # --- for its runs

    def load(self) -> bytes | None:
        """The state to start from; None before the first run. Raises SessionLost for a foreign one."""
        if self._kept is None:
            return None
        try:
            return self._kept.opened(self._id, self._sequence)
        except SessionLost:
            self.lose("its snapshot was not the one that was kept")
            raise

    def keep(self, data: bytes, feeds: int) -> None:
        """A run ended here, after so many snippets."""
        self._sequence += 1
        self._feeds = feeds
        self._kept = Sealed.make(data, self._id, self._sequence)

    def lose(self, why: str) -> None:
        """The variables are gone for this reason; the first one stays."""
        self._lost = self._lost or why
        self._forget()

    def remember(self, file: str, script: Script) -> None:
        """Where the script of a run awaits, for later scripts that call its functions."""
        self._awaited[file] = script.awaited
        while sum(map(len, self._awaited.values())) > _AWAITS and len(self._awaited) > 1:
            del self._awaited[next(iter(self._awaited))]

    def awaits(self, file: str, place: tuple[int, int]) -> bool:
        """Whether a call in an earlier script stands under an `await`."""
        return place in self._awaited.get(file, ())

    def ended(self) -> None:
        """The run was closed."""
        self._running = False

    @property
    def names(self) -> Names:
        """The names of all scripts so far."""
        return self._names

    @property
    def feeds(self) -> int:
        """Snippets its interpreter was fed so far."""
        return self._feeds

    def _forget(self) -> None:
        self._kept = None
        self._awaited.clear()
        self._names = Names()


class MontySessionRun(MontyRun):
    """One run of a session: it starts from the session's snapshot, and leaves one behind."""

    def __init__(
        self, session: MontySession, workers: Workers, caller: str, limits: Limits, seed: int
    ) -> None:
        super().__init__(workers, caller, limits, seed)
        self._owner = session
        self._names = session.names
        self._prepared = False
        self._answer: tuple[Any, ...] = ()
        self._over = False
        self._watch = _Watch(limits.cpu_seconds, self.kill)

    def start(self, script: Script) -> Step:
        """Load the session's variables and run to the first step."""
        with self._watch:
            return super().start(script)

    def resume(self, answers: Sequence[Answer]) -> Step:
        """Deliver answers and run to the next step."""
        with self._watch:
            return super().resume(answers)

    def close(self) -> None:
        """Give the worker back. A run that had not ended takes the session's variables with it."""
        self._watch.stop()
        started = self._feeds > 0
        super().close()
        if started and not self._over:
            self._owner.lose("its last script was stopped before it ended")
        self._owner.ended()

    def _prepare(self, session: monty.MontySession) -> dict[str, Any]:
        state = self._owner.load()
        if state is None:
            self._feed(session, _FIRST)
        else:
            self._feeds = self._owner.feeds
            session.load_session(state)
            self._feed(session, _SEED.format(seed=self._seed))
        self._prepared = True
        # Nothing is bound ahead: a name that nothing binds is looked up when it is used, so what the
        # scripts before bound to `github`, say, stays what it is.
        return {}

    def _computing_limit(self) -> float:
        return _CEILING

    def _is_awaited(self, snapshot: monty.FunctionSnapshot) -> bool:
        place = snapshot.position
        return super()._is_awaited(snapshot) or self._owner.awaits(place.filename, (place.start, place.end))

    def _function(self, snapshot: monty.FunctionSnapshot) -> Snapshot | Step:
        if snapshot.object_id is None and snapshot.function_name == _FINAL:
            with contextlib.suppress(Exception):  # what cannot be converted is refused below
                self._answer = snapshot.args[:1]
            if self._answer:
                return snapshot.resume({"return_value": None})
        return super()._function(snapshot)

    def _failed(self, error: monty.MontyError) -> Finished:
        if self._answer and isinstance(error.exception(), MemoryError):
            return self._finish(self._answer[0])
        return super()._failed(error)

    def _ended(self, error: ScriptError | None) -> None:
        why = self._why_lost(error)
        session = self._session
        if not why and session is not None:
            try:
                state = session.dump()
            except monty.MontyError:
                why = "its sandbox worker died"
            else:
                if len(state) > self._limits.memory:
                    why = f"its variables take more than {self._limits.memory:,} bytes"
        if why or session is None:
            self._owner.lose(why or "its sandbox worker died")
        else:
            self._owner.remember(self._file, self._script)
            self._owner.keep(state, self._feeds)
        self._over = True

    def _why_lost(self, error: ScriptError | None) -> str:
        if error is None:
            return ""
        if error == out_of_time(self._limits):
            return f"a script computed for more than {self._limits.cpu_seconds:g} s"
        if error.kind == "MemoryError" and "memory limit" in error.message:
            return f"a script needed more than {self._limits.memory:,} bytes of memory"
        if error.kind == "SandboxCrashed":
            return "its last script was stopped" if self._killed else "its sandbox worker died"
        return "" if self._prepared else "its variables could not be loaded"

    def _stopped(self) -> ScriptError:
        return out_of_time(self._limits) if self._watch.fired else super()._stopped()

    def _script_error(self, error: monty.MontyError) -> ScriptError:
        return self._stopped() if self._watch.fired else super()._script_error(error)


class _Watch:
    """Stops a script that has computed for too long. Enter it while the script computes.

    One thread a run, which sleeps for as long as the script may still compute.
    """

    def __init__(self, seconds: float, stop: Callable[[], None]) -> None:
        self.fired = False
        self._lock = threading.Lock()  # guards _left and _since
        self._left = seconds
        self._stop = stop
        self._since: float | None = None
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._since = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="oneturn-watch", daemon=True)
            self._thread.start()

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._left = self._remaining()
            self._since = None

    def stop(self) -> None:
        """Look no more."""
        self._done.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        left = self._left
        while not self._done.wait(max(left, _TICK)):
            with self._lock:
                left = self._remaining()
                self.fired = left <= 0 and self._since is not None
            if self.fired:
                self._stop()
                return

    def _remaining(self) -> float:
        """Seconds the script may still compute. Call it with the lock held."""
        return self._left if self._since is None else self._left - (time.monotonic() - self._since)
