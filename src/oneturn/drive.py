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
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from .asides import Asides
from .endings import CANCELLED, broken, explained, inexact, judged, timed_out, too_many_refused
from .errors import Diverged, RunBusy, SandboxError
from .flight import Flight, set_once, whole
from .gate import Allowed, Cached, Context, Refused, Reply
from .gate.base import Budget
from .history import History
from .journal.past import Past, PastCall
from .order import Order, Parts
from .program import Program, needs_full_python, parse
from .records import IN_DOUBT, Records, recorded
from .sandbox.base import SandboxRun
from .sandbox.router import Route
from .sessions import Held, binds, with_bound
from .tools.base import Source
from .types import (
    Answer,
    Call,
    Diagnostic,
    Failure,
    Finished,
    Outcome,
    Position,
    RunStatus,
    ScriptError,
    Step,
    Waiting,
)
from .view import script_for

if TYPE_CHECKING:
    from .journal.writer import Recording

log = logging.getLogger("oneturn.run")

# How long the worker thread waits for an answer before it is given back: longer than a hop
# between threads, shorter than anything a person or another run would notice.
_GRACE = 0.002
_GET_READY = 120.0  # seconds a run may take to get its sandbox and to be where its record ends


class Drive:
    """Drives one script through its sandbox run."""

    def __init__(
        self,
        parts: Parts,
        order: Order,
        loop: asyncio.AbstractEventLoop,
        taken: tuple[Recording, Past] | None = None,
    ) -> None:
        self.id = taken[0].run if taken else new_id()
        self._parts = parts
        self._order = order
        self._view = order.view
        self._limits = order.limits
        self._seed = secrets.randbits(63) if order.seed is None else order.seed
        self._loop = loop
        self._context = Context(order.view.scope, order.limits, Budget(), order.caller)
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
        self._records = Records()
        self._positions: dict[int, Position | None] = {}
        self._leaving: list[tuple[Allowed, Source]] = []
        self._said = ""  # printed since the script was last given something
        recording, past = taken or (parts.record(self.id, order.caller), None)
        self._history = History(recording, past, order.limits, parts.pin)
        # loop only
        self._wake = asyncio.Event()
        self._parked = False
        self.over = asyncio.Event()
        # set once on the loop, read on the thread
        self._stopped: ScriptError | None = None
        self._cancelled = False
        self._arrived = time.monotonic()
        # set on the thread, read on the loop: no time of the run's own goes by
        self._getting_ready = past is not None
        self._flight = Flight(
            parts.dispatcher, order.limits, self._records, self._inbox, self._wake, self.id, order.caller
        )
        self._asides = Asides(parts, order, self._flight, loop)

    # --- loop

    async def to_end(self) -> Outcome:
        """Run to the end, whatever that is; afterwards nothing of the run is alive. Raises as `execute`."""
        self._timer = self._loop.call_later(self._limits.timeout, self._expire)
        try:
            finished = await self._steps()
            await self._flight.settle(in_flight=not self._stopped)
        except BaseException as error:
            self.stop(CANCELLED, cancelled=True)
            await whole(self._loop.create_task(self._flight.settle(in_flight=False)))
            if not isinstance(error, RunBusy | Diverged):  # those runs go on, here or elsewhere
                cancelled = isinstance(error, asyncio.CancelledError)
                why = CANCELLED if cancelled else ScriptError(type(error).__name__, str(error))
                self._history.ended(self._outcome(Finished(error=why)))
            raise
        else:
            outcome = self._outcome(finished)
            self._history.ended(outcome)
            return outcome
        finally:
            self._timer.cancel()
            if not self._closed:
                await whole(self._loop.run_in_executor(self._parts.threads, self._close))
            self._history.close()

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
                self._loop.call_soon_threadsafe(set_once, ended.set_exception, ended, error)
            else:
                self._loop.call_soon_threadsafe(set_once, ended.set_result, ended, finished)

        job = self._parts.threads.submit(work)
        try:
            return await ended
        except SandboxError:
            if self._stopped is None:
                raise
            return None  # stopped before or while it started
        except asyncio.CancelledError:
            self.stop(CANCELLED, cancelled=True)
            await whole(asyncio.wrap_future(job))
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
        left = self._flight.left
        if self._getting_ready:
            left = min(1.0, self._arrived + seconds + _GET_READY - time.monotonic())
        if left > 0:
            self._timer = self._loop.call_later(left, self._expire)
            return
        self.stop(timed_out(seconds))

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
            seconds=self._flight.used,
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
        except (RunBusy, Diverged):
            raise
        except Exception as error:
            if not self._records:
                raise
            log.exception("run %s failed", self.id)
            finished = Finished(error=broken(error))
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
                if not self._history.is_live:
                    self._history.must_be_over()
                    self._go_live()
                return step
            self._take_in(step)
            if self._refused > self._limits.calls:
                return Finished(error=too_many_refused(self._refused))
            answers = self._next(step)
            if answers is None:
                return None
            step = self._resume(answers)

    def _take_in(self, step: Waiting) -> None:
        """Note what the script printed, called and let go."""
        self._prints.append(step.prints)
        self._said += step.prints
        self._cut += step.cut_prints
        for call in step.calls:
            self._begin(call)
        self._leave()
        for call_id in step.dropped:
            self._drop(call_id)

    def _next(self, step: Waiting) -> list[Answer] | None:
        """What the script goes on with; None when it has to wait for that."""
        if not self._history.is_live:
            batch = self._history.next_batch()
            if batch is not None:
                return list(batch)
            self._catch_up()
        answers: list[Answer] = []
        if step.pending:
            answers = self._take(step.pending)
            if not answers:
                self._pending = step.pending
                return None
        return None if self._stopped is not None else answers

    def _start(self) -> Step:
        order = self._order
        program = parse(order.code)
        if isinstance(program, ScriptError):
            self._history.began(order, self._seed, None, None, ())
            return Finished(error=program)
        with self._ready():
            route, program = self._settled(program)
        self._program = program
        bound = self._held.bound if self._held else frozenset()
        importable = self._parts.router.importable if route.full_python else None
        checked = self._view.check(program, importable=importable, bound=bound)
        self._warnings = checked.warnings
        script = script_for(program, self._view.scope)
        mentioned = [tool for name in sorted(script.tools) if (tool := self._view.scope.get(name))]
        self._history.began(order, self._seed, route, script, mentioned)
        if checked.error is not None:
            return Finished(error=checked.error)
        if route.warning:
            self._warnings += (inexact(route.warning, program),)
        self._route = route
        with self._ready():
            if self._held is not None:
                self._held.bound |= binds(program)
                run = self._held.session.open(self._limits, self._seed)
            else:
                run = route.sandbox.open(self._limits, self._seed, caller=order.caller)
        self._run = run
        if self._stopped is not None:
            return Finished(error=self._stopped)
        return run.start(script)

    @contextlib.contextmanager
    def _ready(self) -> Iterator[None]:
        """While a place for the script is made ready; that is not its own time."""
        began, before = time.monotonic(), self._getting_ready
        self._getting_ready = True
        try:
            yield
        finally:
            self._flight.began += time.monotonic() - began
            self._getting_ready = before

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
        if self._history.is_live:
            self._history.given(answers, self._said, self._flight.used)
        self._said = ""
        return self._run.resume(answers)

    def _catch_up(self) -> None:
        """The record has ended. What it leaves open is sent again where that is safe."""
        for call, past in self._history.catch_up():
            tool = self._view.scope.get(past.tool)
            if past.effect == "read" or (tool is not None and tool.idempotent):
                self._context.budget.calls -= 1  # it is counted again
                self._decide(call)
                continue
            answer = Answer(call.id, failure=Failure("RuntimeError", f"{past.tool}: {IN_DOUBT}"))
            self._history.in_doubt(answer)
            self._answers.append(answer)
        self._leave()
        self._go_live()

    def _go_live(self) -> None:
        """From here on nothing comes from the record, and the run's time goes by again."""
        self._flight.began = time.monotonic() - self._history.used
        self._getting_ready = False

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
            self._asides.over(item.call_id)
            self._positions.pop(item.call_id, None)
            return item
        parts, budget = self._parts, self._context.budget
        before = budget.result_bytes
        answer = parts.dispatcher.receive(item, self._limits, budget, parts.keeper(self._order.caller))
        self._records.put(item.record(answer.failure))
        self._history.answered(item, answer, budget.result_bytes - before)
        return answer

    def _begin(self, call: Call) -> None:
        if call.kind == "tool":
            self._positions[call.id] = call.position
            self._begin_tool(call)
        elif not self._history.known_other(call):
            self._history.asks(call)
            self._positions[call.id] = call.position
            answer = self._asides.begin(call)
            if answer is not None:
                self._positions.pop(call.id)
                self._answers.append(answer)

    def _begin_tool(self, call: Call) -> None:
        past = self._history.known(call, self._view.scope.get)
        if past is None:
            self._decide(call)
        else:
            self._recall(call, past)

    def _recall(self, call: Call, past: PastCall) -> None:
        """A call that is on record: it counts, and is neither judged nor sent again."""
        budget = self._context.budget
        if past.verdict == "refused":
            self._refused += 1
        else:
            budget.calls += 1
            budget.result_bytes += past.size
        self._records.put(recorded(past, call.position))
        if past.answer is not None and not self._history.was_given(call.id):
            self._answers.append(past.answer)

    def _decide(self, call: Call) -> None:
        verdict = self._parts.gate.decide(call, self._context)
        if isinstance(verdict, Refused):
            self._refused += 1
            self._records.put(verdict.record())
            self._history.refused(verdict)
            self._answers.append(Answer(call.id, failure=verdict.failure))
            return
        if isinstance(verdict, Cached):
            budget = self._context.budget
            before = budget.result_bytes
            answer = self._parts.dispatcher.recall(verdict, self._limits, budget)
            self._records.put(verdict.record(answer.failure))
            self._history.cached(verdict, answer, budget.result_bytes - before)
            self._answers.append(answer)
            return
        self._records.begin(verdict)
        self._history.allowed(verdict)
        self._leaving.append((verdict, self._parts.sources(verdict.tool.source)))

    def _leave(self) -> None:
        """Send what the gate let pass, once what must be on record first is."""
        leaving, self._leaving = self._leaving, []
        if not leaving:
            return
        self._history.sync()
        for verdict, source in leaving:
            self._loop.call_soon_threadsafe(self._flight.send, verdict, source)

    def _drop(self, call_id: int) -> None:
        """The script cancelled what waited for this call."""
        self._asides.over(call_id)
        self._positions.pop(call_id, None)
        self._history.dropped(call_id)
        self._loop.call_soon_threadsafe(self._flight.drop, call_id)

    def _finished(self, step: Finished) -> Finished:
        self._close()
        self._prints.append(step.prints)
        self._cut += step.cut_prints
        finished = judged(step, self._limits)
        if finished.error is not None:
            full = self._route is not None and self._route.full_python
            redactor, scope = self._parts.dispatcher.redactor, self._view.scope
            error = explained(finished.error, redactor, self._program, scope, full_python=full)
            finished = replace(finished, error=error)
        self._history.returned(replace(finished, prints=self._said + step.prints))
        return finished

    def _close(self) -> None:
        try:
            if self._run is not None:
                self._run.close()
        finally:
            if self._held is not None:
                self._lost = self._parts.sessions.give_back(self._order.caller, self._order.session)
            self._closed = True


def new_id() -> str:
    """An id for a new run."""
    return f"run_{secrets.token_hex(8)}"
