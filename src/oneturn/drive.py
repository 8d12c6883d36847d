"""One run, from its script to its outcome.

Threads: `advance` and what it calls run on one worker thread at a time; everything marked *loop*
runs on the event loop. They meet in `_inbox` (replies on their way to the script) and in nothing
else that changes on both sides.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from .errors import ArtifactNotFound, SandboxError, ValueRefused
from .flight import Flight
from .gate import Cached, Context, Dispatcher, Gate, Refused, Reply
from .gate.base import Budget
from .journal.artifacts import ArtifactStore
from .program import Program, hint, needs_full_python, parse
from .records import Records
from .sandbox.base import SandboxRun
from .sandbox.router import Route, Router
from .sessions import Held, Sessions, binds, with_bound
from .tools.base import Blob, Source
from .types import (
    Answer,
    Call,
    Diagnostic,
    Failure,
    Finished,
    Limits,
    Outcome,
    Position,
    RunStatus,
    SandboxChoice,
    ScriptError,
    Step,
)
from .values import plain
from .view import ScriptRuntime, View, script_for

log = logging.getLogger("oneturn.run")

# How long the worker thread waits for an answer before it is given back: longer than a hop
# between threads, shorter than anything a person or another run would notice.
_GRACE = 0.002
CANCELLED = ScriptError(
    "Cancelled", "the run was cancelled", hint="Look at the calls that were made before running it again."
)
_SLEEPS = 1_000  # pauses open at once; each costs the host a task


@dataclass(slots=True)
class Parts:
    """What every run of a runtime shares.

    `sources` finds a source by `Tool.source`; steps are taken on `threads`.
    """

    router: Router
    sessions: Sessions
    gate: Gate
    dispatcher: Dispatcher
    sources: Callable[[str], Source]
    artifacts: ArtifactStore
    threads: ThreadPoolExecutor

    def keeper(self, caller: str) -> Callable[[Blob], Mapping[str, Any]]:
        """Puts a result's blobs into the artifact store, for this caller."""

        def keep(blob: Blob) -> Mapping[str, Any]:
            return self.artifacts.put(blob.data, mime=blob.mime, name=blob.name, caller=caller).handle()

        return keep


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run, for whom, and how."""

    code: str
    view: View
    limits: Limits
    caller: str
    sandbox: SandboxChoice | None = None
    """Instead of the app's own choice."""
    session: str = ""
    """Whose variables it sees and leaves; none when empty."""
    seed: int | None = None
    """What its randomness comes from; drawn when not given."""


class Drive:
    """Drives one script through its sandbox run."""

    def __init__(self, parts: Parts, order: Order, loop: asyncio.AbstractEventLoop) -> None:
        self.id = f"run_{secrets.token_hex(8)}"
        self._parts = parts
        self._order = order
        self._view = order.view
        self._limits = order.limits
        self._seed = secrets.randbits(63) if order.seed is None else order.seed
        self._loop = loop
        self._context = Context(order.view.scope, order.limits, Budget(), order.caller)
        self._helpers = ScriptRuntime(
            order.view, lambda artifact_id: parts.artifacts.get(artifact_id, caller=order.caller).data
        )
        self._program: Program | None = None
        self._warnings: tuple[Diagnostic, ...] = ()
        self._route: Route | None = None
        self._held: Held | None = None
        self._lost = ""
        self._run: SandboxRun | None = None
        self._inbox: queue.SimpleQueue[Reply | Answer] = queue.SimpleQueue()
        self._answers: list[Answer] = []
        self._closed = False
        self._pending: tuple[int, ...] = ()
        self._prints: list[str] = []
        self._cut = 0
        self._refused = 0
        self._pauses: set[int] = set()
        self._records = Records()
        self._positions: dict[int, Position | None] = {}
        # loop only
        self._wake = asyncio.Event()
        self._parked = False
        self.over = asyncio.Event()
        # set once on the loop, read on the thread
        self._stopped: ScriptError | None = None
        self._cancelled = False
        self._began = time.monotonic()
        self._flight = Flight(
            parts.dispatcher, order.limits, self._records, self._inbox, self._wake, self._began
        )

    # --- loop

    async def to_end(self) -> Outcome:
        """Run to the end, whatever the end is; afterwards nothing of the run is alive."""
        timer = self._loop.call_later(self._limits.timeout, self._expire)
        try:
            finished = await self._steps()
            await self._flight.settle(in_flight=not self._stopped)
        except BaseException:
            self.stop(CANCELLED, cancelled=True)
            await _whole(self._loop.create_task(self._flight.settle(in_flight=False)))
            raise
        finally:
            timer.cancel()
            if not self._closed:
                await _whole(self._loop.run_in_executor(self._parts.threads, self._close))
        return self._outcome(finished)

    async def _steps(self) -> Finished:
        while True:
            finished = await self._on_thread()
            if finished is None:
                await self._answered()
            if self._stopped is not None:
                return Finished(error=self._placed(self._stopped))
            if finished is not None:
                return finished

    async def _answered(self) -> None:
        """Wait, with no thread held, until there is an answer or the run is stopped."""
        self._parked = True
        while self._inbox.empty() and self._stopped is None:
            await self._wake.wait()
            self._wake.clear()
        self._parked = False

    async def _on_thread(self) -> Finished | None:
        """`_advance` on a worker thread. Leaves only when the thread has, even when cancelled."""
        # Plain futures rather than run_in_executor under a shield: this hop is most of what a
        # short script costs.
        ended: asyncio.Future[Finished | None] = self._loop.create_future()

        def work() -> None:
            try:
                finished = self._guarded()
            except BaseException as error:
                self._loop.call_soon_threadsafe(_set, ended.set_exception, ended, error)
            else:
                self._loop.call_soon_threadsafe(_set, ended.set_result, ended, finished)

        job = self._parts.threads.submit(work)
        try:
            return await ended
        except SandboxError:
            if self._stopped is None:
                raise
            return None  # stopped before or while it started
        except asyncio.CancelledError:
            self.stop(CANCELLED, cancelled=True)
            await _whole(asyncio.wrap_future(job))
            raise

    def stop(self, error: ScriptError, *, cancelled: bool = False) -> None:
        """End the run with `error`. *loop*"""
        if self._stopped is None:
            self._stopped, self._cancelled = error, cancelled
            if not self._parked and self._run is not None:
                self._run.kill()
            self._flight.cancel_all()
            self._wake.set()

    def _expire(self) -> None:
        seconds = self._limits.timeout
        self.stop(
            ScriptError(
                "TimeoutError",
                f"the run took more than {seconds:g} s, tool time included",
                hint="Do less per script, gather independent calls, or ask for a longer timeout.",
            )
        )

    def _outcome(self, finished: Finished) -> Outcome:
        status: RunStatus = "succeeded"
        error, route = finished.error, self._route
        if error is not None:
            status = "cancelled" if self._cancelled else "failed"
            if self._lost:
                gone = f"The variables of session {self._order.session} are gone: {self._lost}."
                error = replace(error, hint=f"{error.hint}\n{gone}".lstrip())
        return Outcome(
            run_id=self.id,
            status=status,
            value=finished.value,
            prints="".join(self._prints),
            cut_prints=self._cut,
            error=error,
            calls=self._records.all(),
            seconds=time.monotonic() - self._began,
            caller=self._order.caller,
            isolation=route.sandbox.isolation if route else None,
            warnings=self._warnings,
            sandbox=route.sandbox.name if route else None,
            routed=route.why if route else "",
            seed=self._seed,
            session=self._order.session,
        )

    def _placed(self, error: ScriptError) -> ScriptError:
        """A stop has the position of the first call the script was waiting for."""
        waiting = [
            self._positions[call_id] for call_id in sorted(self._pending) if call_id in self._positions
        ]
        return replace(error, position=waiting[0]) if waiting else error

    # --- worker thread

    def _guarded(self) -> Finished | None:
        """`_advance`, whose failures must not take the record of calls already made with them."""
        try:
            finished = self._advance()
        except Exception as error:
            if not self._records:
                raise
            log.exception("run %s failed", self.id)
            kind = "SandboxCrashed" if isinstance(error, SandboxError) else "InternalError"
            finished = Finished(error=ScriptError(kind, f"the run could not go on ({type(error).__name__})"))
        return self._finished(finished) if finished is not None else None

    def _advance(self) -> Finished | None:
        """Take steps until the script ends (its end) or only waits (None)."""
        if self._run is None:
            step = self._start()
        else:
            ready = self._take(self._pending)
            if not ready:
                return None  # something came, and not what the script waits for
            self._pending = ()
            step = self._resume(ready)
        while True:
            if isinstance(step, Finished):
                return step
            self._prints.append(step.prints)
            self._cut += step.cut_prints
            for call in step.calls:
                self._begin(call)
            for call_id in step.dropped:
                self._drop(call_id)
            if self._refused > self._limits.calls:
                return Finished(error=_too_many_refused(self._refused))
            answers: list[Answer] = []
            if step.pending:
                answers = self._take(step.pending)
                if not answers:
                    self._pending = step.pending
                    return None
            if self._stopped is not None:
                return None
            step = self._resume(answers)

    def _start(self) -> Step:
        order = self._order
        program = parse(order.code)
        if isinstance(program, ScriptError):
            return Finished(error=program)
        route, program = self._settled(program)
        self._program = program
        bound = self._held.bound if self._held else frozenset()
        importable = self._parts.router.importable if route.full_python else None
        checked = self._view.check(program, importable=importable, bound=bound)
        self._warnings = checked.warnings
        if checked.error is not None:
            return Finished(error=checked.error)
        if route.warning:
            self._warnings += (_inexact(route.warning, program),)
        self._route = route
        if self._held is not None:
            self._held.bound |= binds(program)
            run = self._held.session.open(self._limits, self._seed)
        else:
            run = route.sandbox.open(self._limits, self._seed, caller=order.caller)
        self._run = run
        if self._stopped is not None:
            return Finished(error=self._stopped)
        return run.start(script_for(program, self._view.scope))

    def _settled(self, program: Program) -> tuple[Route, Program]:
        """Where the script runs, and what its names mean there."""
        order, router = self._order, self._parts.router
        if order.session:
            self._held = self._parts.sessions.take(order.caller, order.session, order.sandbox)
            return self._held.route, with_bound(program, self._held.bound)
        need = needs_full_python(program)
        return router.route(need.sentence if need else None, order.sandbox), program

    def _resume(self, answers: list[Answer]) -> Step:
        assert self._run is not None
        return self._run.resume(answers)

    def _take(self, pending: tuple[int, ...]) -> list[Answer]:
        """Every answer there is, once one of them is among `pending`; none if that takes too long."""
        wanted = set(pending)
        while not any(answer.call_id in wanted for answer in self._answers):
            if self._stopped is not None:
                return []
            try:
                self._answers.append(self._received(self._inbox.get(timeout=_GRACE)))
            except queue.Empty:
                return []
        with contextlib.suppress(queue.Empty):
            while self._stopped is None:  # a stopped run looks at no more results, however many came
                self._answers.append(self._received(self._inbox.get_nowait()))
        taken, self._answers = self._answers, []
        return taken

    def _received(self, item: Reply | Answer) -> Answer:
        if isinstance(item, Answer):  # a pause is over
            self._pauses.discard(item.call_id)
            self._positions.pop(item.call_id, None)
            return item
        parts = self._parts
        answer = parts.dispatcher.receive(
            item, self._limits, self._context.budget, parts.keeper(self._order.caller)
        )
        self._records.put(item.record(answer.failure))
        return answer

    def _begin(self, call: Call) -> None:
        if call.kind == "tool":
            self._positions[call.id] = call.position
            self._begin_tool(call)
        elif call.kind == "sleep":
            if len(self._pauses) >= _SLEEPS:
                failure = Failure("RuntimeError", f"{_SLEEPS:,} pauses are open at once; await them")
                self._answers.append(Answer(call.id, failure=failure))
                return
            self._pauses.add(call.id)
            self._positions[call.id] = call.position
            self._loop.call_soon_threadsafe(self._flight.pause, call)
        elif call.kind == "clock":
            now = time.time() if call.name == "wall" else time.monotonic() - self._began
            self._answers.append(Answer(call.id, now))
        else:
            self._answers.append(self._help(call))

    def _begin_tool(self, call: Call) -> None:
        verdict = self._parts.gate.decide(call, self._context)
        if isinstance(verdict, Refused):
            self._refused += 1
            self._records.put(verdict.record())
            self._answers.append(Answer(call.id, failure=verdict.failure))
            return
        if isinstance(verdict, Cached):
            answer = self._parts.dispatcher.recall(verdict, self._limits, self._context.budget)
            self._records.put(verdict.record(answer.failure))
            self._answers.append(answer)
            return
        source = self._parts.sources(verdict.tool.source)
        self._records.begin(verdict)
        self._loop.call_soon_threadsafe(self._flight.send, verdict, source)

    def _drop(self, call_id: int) -> None:
        """The script cancelled what waited for this call."""
        self._pauses.discard(call_id)
        self._positions.pop(call_id, None)
        self._loop.call_soon_threadsafe(self._flight.drop, call_id)

    def _help(self, call: Call) -> Answer:
        try:
            value = self._helpers.call(call.name, call.args, call.kwargs)
            return Answer(call.id, plain(value, self._limits, what=f"runtime.{call.name}()"))
        except (AttributeError, NameError, TypeError, ValueError, LookupError) as error:
            kinds: dict[type[Exception], str] = {ArtifactNotFound: "LookupError", ValueRefused: "ValueError"}
            kind = kinds.get(type(error), type(error).__name__)
            return Answer(call.id, failure=Failure(kind, str(error)))

    def _finished(self, step: Finished) -> Finished:
        self._close()
        self._prints.append(step.prints)
        self._cut += step.cut_prints
        if step.error is not None:
            return replace(step, error=self._explained(step.error))
        try:
            return replace(
                step, value=plain(step.value, self._limits, what="the script's value", from_script=True)
            )
        except ValueRefused as refused:
            error = ScriptError("ValueError", str(refused).rstrip("."))
            return replace(step, value=None, error=self._explained(error))

    def _explained(self, error: ScriptError) -> ScriptError:
        message = self._parts.dispatcher.redactor.text(error.message)
        text = error.hint
        if not text and self._program is not None:
            names = [tool.name for tool in self._view.scope.tools[:2_000]]
            full = self._route is not None and self._route.full_python
            text = hint(error.kind, message, error.position, self._program, names, full)
        return replace(error, message=message, hint=text)

    def _close(self) -> None:
        try:
            if self._run is not None:
                self._run.close()
        finally:
            if self._held is not None:
                self._lost = self._parts.sessions.give_back(self._order.caller, self._order.session)
            self._closed = True


def _inexact(warning: str, program: Program) -> Diagnostic:
    """What may differ from Python, where there was no better place to run."""
    return Diagnostic("Inexact", warning, Position(1, 1, program.lines[0]))


async def _whole(work: asyncio.Future[Any]) -> None:
    """Wait until `work` is done, however often that is cancelled; the cancellation comes after it."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    work.result()
    if cancelled is not None:
        raise cancelled


def _set(setter: Callable[[Any], None], future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():  # it is when the run was cancelled meanwhile
        setter(value)


def _too_many_refused(count: int) -> ScriptError:
    return ScriptError(
        "PermissionError",
        f"{count:,} calls of this run were refused, so it was ended",
        hint="Call only tools that runtime.list_tools() shows, with the arguments their signature shows.",
    )
