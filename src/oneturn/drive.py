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
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from .errors import ArtifactNotFound, SandboxError, ValueRefused
from .gate import Allowed, Cached, Context, Dispatcher, Gate, Refused, Reply
from .gate.base import Budget
from .journal.artifacts import ArtifactStore
from .program import Program, hint, parse
from .records import Records
from .sandbox.base import Sandbox, SandboxRun
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
    ScriptError,
    Step,
)
from .values import plain
from .view import ScriptRuntime, View, script_for

log = logging.getLogger("oneturn.run")

# How long the worker thread waits for an answer before it is given back: longer than a hop
# between threads, shorter than anything a person or another run would notice.
_GRACE = 0.002
CANCEL_PATIENCE = 1.0
CANCELLED = ScriptError(
    "Cancelled", "the run was cancelled", hint="Look at the calls that were made before running it again."
)
_SLEEPS = 1_000  # pauses open at once; each costs the host a task


@dataclass(slots=True)
class Parts:
    """What every run of a runtime shares.

    `sources` finds a source by `Tool.source`; steps are taken on `threads`.
    """

    sandbox: Sandbox
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


class Drive:
    """Drives one script through its sandbox run."""

    def __init__(
        self,
        parts: Parts,
        code: str,
        view: View,
        limits: Limits,
        caller: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.id = f"run_{secrets.token_hex(8)}"
        self._parts = parts
        self._code = code
        self._view = view
        self._limits = limits
        self._caller = caller
        self._loop = loop
        self._context = Context(view.scope, limits, Budget(), caller)
        self._helpers = ScriptRuntime(
            view, lambda artifact_id: parts.artifacts.get(artifact_id, caller=caller).data
        )
        self._program: Program | None = None
        self._warnings: tuple[Diagnostic, ...] = ()
        self._run: SandboxRun | None = None
        self._inbox: queue.SimpleQueue[Reply | Answer] = queue.SimpleQueue()
        self._answers: list[Answer] = []
        self._closed = False
        self._pending: tuple[int, ...] = ()
        self._prints: list[str] = []
        self._cut = 0
        self._refused = 0
        self._sleeping = 0
        self._records = Records()
        self._positions: dict[int, Position | None] = {}
        # loop only
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._sent: dict[int, float] = {}
        self._dropped: set[int] = set()
        self._slots = asyncio.Semaphore(limits.concurrent_calls)
        self._wake = asyncio.Event()
        self._parked = False
        self.over = asyncio.Event()
        # set once on the loop, read on the thread
        self._stopped: ScriptError | None = None
        self._cancelled = False
        self._began = time.monotonic()

    # --- loop

    async def to_end(self) -> Outcome:
        """Run to the end, whatever the end is; afterwards nothing of the run is alive."""
        timer = self._loop.call_later(self._limits.timeout, self._expire)
        try:
            finished = await self._steps()
            await self._settle(in_flight=not self._stopped)
        except BaseException:
            self.stop(CANCELLED, cancelled=True)
            await _whole(self._loop.create_task(self._settle(in_flight=False)))
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
            for call_id in list(self._tasks):
                self._let_go(call_id)
            self._wake.set()

    def _let_go(self, call_id: int) -> None:
        """Cancel a call. Remembered, because a tool shares its task and may cancel it too."""
        self._dropped.add(call_id)
        self._tasks[call_id].cancel()

    def _expire(self) -> None:
        seconds = self._limits.timeout
        self.stop(
            ScriptError(
                "TimeoutError",
                f"the run took more than {seconds:g} s, tool time included",
                hint="Do less per script, gather independent calls, or ask for a longer timeout.",
            )
        )

    def _spawn(self, call_id: int, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[call_id] = _task(self._loop, work)

    async def _perform(self, allowed: Allowed, source: Source) -> None:
        async with self._slots:
            now = self._sent[allowed.call.id] = time.monotonic()
            left = self._began + self._limits.timeout - now
            reply = await self._parts.dispatcher.send(
                allowed, source, left=left, stopped=lambda: allowed.call.id in self._dropped
            )
        self._tasks.pop(allowed.call.id, None)
        self._deliver(reply)

    async def _sleep(self, call: Call) -> None:
        seconds = float(call.args[0]) if call.args else 0.0
        await asyncio.sleep(min(max(seconds, 0.0), self._limits.timeout))
        del self._tasks[call.id]
        self._deliver(Answer(call.id))

    def _deliver(self, reply: Reply | Answer) -> None:
        self._inbox.put(reply)
        self._wake.set()

    async def _settle(self, *, in_flight: bool) -> None:
        """Let calls that change the world finish if there is time; cancel all the rest."""
        open_tasks = {call_id: task for call_id, task in self._tasks.items() if not task.done()}
        changing = [
            task
            for call_id, task in open_tasks.items()
            if call_id in self._sent and self._records.changes_the_world(call_id)
        ]
        left = self._limits.timeout - (time.monotonic() - self._began)
        unfinished = set(open_tasks)
        if in_flight and changing and left > 0:
            for call_id, task in open_tasks.items():
                if task not in changing:
                    self._let_go(call_id)
            await asyncio.wait(changing, timeout=left)
        tasks = [(call_id, task) for call_id, task in open_tasks.items() if not task.done()]
        for call_id, _ in tasks:
            self._let_go(call_id)
        if tasks:
            await asyncio.wait([task for _, task in tasks], timeout=CANCEL_PATIENCE)
        stuck = {call_id for call_id, task in open_tasks.items() if not task.done()}
        self._close_records(unfinished, stuck)

    def _close_records(self, unfinished: set[int], stuck: set[int]) -> None:
        late: dict[int, Reply] = {}
        while not self._inbox.empty():
            item = self._inbox.get_nowait()
            if isinstance(item, Reply):
                late[item.allowed.call.id] = item
        self._records.close(late, self._sent, unfinished, stuck)

    def _outcome(self, finished: Finished) -> Outcome:
        status: RunStatus = "succeeded"
        if finished.error is not None:
            status = "cancelled" if self._cancelled else "failed"
        return Outcome(
            run_id=self.id,
            status=status,
            value=finished.value,
            prints="".join(self._prints),
            cut_prints=self._cut,
            error=finished.error,
            calls=self._records.all(),
            seconds=time.monotonic() - self._began,
            caller=self._caller,
            isolation=self._parts.sandbox.isolation,
            warnings=self._warnings,
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
        program = parse(self._code)
        if isinstance(program, ScriptError):
            return Finished(error=program)
        self._program = program
        checked = self._view.check(program)
        self._warnings = checked.warnings
        if checked.error is not None:
            return Finished(error=checked.error)
        run = self._parts.sandbox.open(self._limits, secrets.randbits(63))
        self._run = run
        if self._stopped is not None:
            return Finished(error=self._stopped)
        return run.start(script_for(program, self._view.scope))

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
            self._sleeping -= 1
            del self._positions[item.call_id]
            return item
        parts = self._parts
        answer = parts.dispatcher.receive(
            item, self._limits, self._context.budget, parts.keeper(self._caller)
        )
        self._records.put(item.record(answer.failure))
        return answer

    def _begin(self, call: Call) -> None:
        if call.kind == "tool":
            self._positions[call.id] = call.position
            self._begin_tool(call)
        elif call.kind == "sleep":
            if self._sleeping >= _SLEEPS:
                failure = Failure("RuntimeError", f"{_SLEEPS:,} pauses are open at once; await them")
                self._answers.append(Answer(call.id, failure=failure))
                return
            self._sleeping += 1
            self._positions[call.id] = call.position
            self._loop.call_soon_threadsafe(self._spawn, call.id, self._sleep(call))
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
        self._loop.call_soon_threadsafe(self._spawn, call.id, self._perform(verdict, source))

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
            text = hint(error.kind, message, error.position, self._program, names)
        return replace(error, message=message, hint=text)

    def _close(self) -> None:
        if self._run is not None:
            self._run.close()
        self._closed = True


if sys.version_info >= (3, 12):

    def _task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.Task(work, loop=loop, eager_start=True)  # saves a turn of the loop for each call

else:

    def _task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return loop.create_task(work)


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
