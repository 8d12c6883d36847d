"""The steps of one script, from its start to its end. All of this runs on a worker thread, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import time
from collections.abc import Iterator
from dataclasses import replace

from ..errors import Diverged, JournalError, RunBusy
from ..gate import Allowed, Asked, Cached, Context, Refused, Reply
from ..journal.past import PastCall
from ..program import Program, parse
from ..sandbox.base import SandboxRun, Script
from ..sandbox.router import Route
from ..sessions import Held, binds
from ..tools.base import Source
from ..types import (
    Answer,
    Approval,
    Call,
    Decision,
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
from ..view import script_for
from .asides import Asides
from .asking import Asking
from .endings import broken, explained, inexact, judged, too_many_refused
from .flight import Decided, Flight
from .history import History, script_of
from .order import Order, Parts
from .records import IN_DOUBT, Records, recorded

log = logging.getLogger("oneturn.run")

# Seconds until the worker thread is given back: longer than a hop between threads, hardly to be noticed.
_GRACE = 0.002


class Steps:
    """Takes the steps of one script: what it calls goes to the gate, what comes back goes to it.

    Args:
        run_id: The run's id.
        seed: What its randomness comes from.
        parts: Of the runtime.
        order: What is run.
        context: What the gate knows of the run.
        history: The run's side of the journal.
        records: Where the fate of every call is written.
        flight: Sends calls.
        inbox: Where replies arrive.
        loop: The event loop `flight` belongs to.
    """

    def __init__(
        self,
        run_id: str,
        seed: int,
        parts: Parts,
        order: Order,
        context: Context,
        history: History,
        records: Records,
        flight: Flight,
        inbox: queue.SimpleQueue[Reply | Answer | Decided],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._id = run_id
        self._seed = seed
        self._parts = parts
        self._order = order
        self._view = order.view
        self._limits = order.limits
        self._history = history
        self._records = records
        self._flight = flight
        self._inbox = inbox
        self._loop = loop
        self._context = context
        self._asides = Asides(parts, order, flight, loop)
        self._asking = Asking(run_id, parts, order, context, records, history)
        self._program: Program | None = None
        self._warnings: tuple[Diagnostic, ...] = ()
        self._route: Route | None = None
        self._held: Held | None = None
        self._lost = ""
        self._run: SandboxRun | None = None
        self._answers: list[Answer] = []
        self._prints: list[str] = []
        self._said = ""  # printed since the script was last given something
        self._cut = 0
        self._refused = 0
        self._positions: dict[int, Position | None] = {}
        self._new: list[Call] = []  # called where the record ends
        self._leaving: list[tuple[Allowed, Source]] = []
        self.closed = False
        self.pending: tuple[int, ...] = ()
        """The calls it cannot go on without."""
        self.getting_ready = not history.is_live
        """Whether no time of the script's own goes by: its sandbox is made, or its record gone through."""
        self.put_aside: tuple[Approval, ...] = ()
        """What it waits for, once it was put aside."""
        self.stopped: ScriptError | None = None
        """Why it has to end; set by `stop`."""

    # --- from the event loop

    def stop(self, error: ScriptError, *, running: bool) -> None:
        """Let it end with `error`; `running` says that a step is being taken, which is then killed."""
        self.stopped = error
        if running and self._run is not None:
            self._run.kill()

    @property
    def unsaid(self) -> str:
        """What was printed and is not on record yet."""
        return self._said

    @property
    def waits_for_people(self) -> bool:
        """Whether every call it cannot go on without waits for a person's word."""
        return bool(self.pending) and self._asking.covers(self.pending)

    def placed(self, error: ScriptError) -> ScriptError:
        """A stop has the position of the first call the script was waiting for."""
        waiting = [self._positions[call_id] for call_id in sorted(self.pending) if call_id in self._positions]
        return replace(error, position=waiting[0]) if waiting else error

    def outcome(self, finished: Finished, *, cancelled: bool) -> Outcome:
        """What the caller gets."""
        status: RunStatus = "waiting" if self.put_aside else "succeeded"
        if not self.put_aside:
            self._records.give_up()
        error, route = finished.error, self._route
        if error is not None:
            status = "cancelled" if cancelled else "failed"
            if self._lost:
                gone = f"The variables of session {self._order.session} are gone: {self._lost}."
                error = replace(error, hint=f"{error.hint}\n{gone}".lstrip())
        return Outcome(
            run_id=self._id,
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
            retry_of=self._order.retry_of,
            recorded=self._history.is_recorded,
            pending=self.put_aside,
        )

    # --- on the worker thread

    def advance(self) -> Finished | None:
        """`_advance`, whose failures must not take the record of calls already made with them."""
        try:
            finished = self._advance()
        except (RunBusy, Diverged):
            raise
        except Exception as error:
            if not self._records:
                raise
            log.error("run %s failed: %s", self._id, error, exc_info=not isinstance(error, JournalError))
            return self._finished(Finished(error=broken(error)), by_itself=False)
        return self._finished(finished) if finished is not None else None

    def _advance(self) -> Finished | None:
        """Take steps until the script ends (its end) or only waits (None)."""
        if self._run is None:
            step = self._start()
        else:
            ready = self._take(self.pending)
            if not ready:
                return None  # something came, and not what the script waits for
            self.pending = ()
            step = self._resume(ready)
        while True:
            if isinstance(step, Finished):
                if not self._history.is_live:
                    self._history.must_be_over()
                    self._catch_up(over=True)
                self._leave()
                return step
            self._take_in(step)
            if (refused := self._refused + self._asides.refused) > self._limits.calls:
                self._leave()
                return Finished(error=too_many_refused(refused))
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
            if self.stopped is None:  # or looking at them all could go on for long after the deadline
                self._begin(call)
        # What must be on record first waits until the script does: one commit is enough for all of it.
        if step.pending or step.dropped or not self._history.must_sync:
            self._leave()
        for call_id in step.dropped:
            self._drop(call_id)

    def _next(self, step: Waiting) -> list[Answer] | None:
        """What the script goes on with; None when it has to wait for that."""
        if not step.pending:
            return None if self.stopped is not None else []  # always so, and not on record therefore
        if not self._history.is_live:
            batch = self._history.next_batch()
            if batch is not None:
                return list(batch)
            self._catch_up()
        answers = self._take(step.pending)
        if not answers:
            self.pending = step.pending
            return None
        return None if self.stopped is not None else answers

    def _start(self) -> Step:
        order, program = self._order, parse(self._order.code)
        if isinstance(program, ScriptError):
            self._history.began(order, self._seed, None, None, ())
            return Finished(error=program)
        with self._ready():
            route, self._held, program = self._parts.place(program, order)
        self._program = program
        bound = self._held.bound if self._held else frozenset()
        importable = self._parts.router.importable if route.full_python else None
        recorded_names = self._history.names
        if recorded_names is not None:  # checked when it began; it means what it meant then
            return self._open(route, program, script_of(program, recorded_names))
        checked = self._view.check(program, importable=importable, bound=bound)
        self._warnings = checked.warnings
        script = script_for(program, self._view.scope)
        mentioned = [tool for name in sorted(script.tools) if (tool := self._view.scope.get(name))]
        place, names = (route, script) if checked.error is None else (None, None)
        self._history.began(order, self._seed, place, names, mentioned)
        if checked.error is not None:
            return Finished(error=checked.error)
        if route.warning:
            self._warnings += (inexact(route.warning, program),)
        return self._open(route, program, script)

    def _open(self, route: Route, program: Program, script: Script) -> Step:
        """The first step, in a place of its own."""
        self._route = route
        with self._ready():
            if self._held is not None:
                self._held.bound |= binds(program)
                run = self._held.session.open(self._limits, self._seed)
            else:
                run = route.sandbox.open(self._limits, self._seed, caller=self._order.caller)
        self._run = run
        if self.stopped is not None:
            return Finished(error=self.stopped)
        return run.start(script)

    @contextlib.contextmanager
    def _ready(self) -> Iterator[None]:
        """While a place for the script is made ready; that is not its own time."""
        began, before = time.monotonic(), self.getting_ready
        self.getting_ready = True
        try:
            yield
        finally:
            self._flight.began += time.monotonic() - began
            self.getting_ready = before

    def wait_aside(self) -> None:
        """Put the run aside: from here on it is nothing but its record."""
        approvals = self._asking.waiting()
        self._history.waiting(approvals)
        self.close()
        self.put_aside = approvals

    def _resume(self, answers: list[Answer]) -> Step:
        assert self._run is not None
        if answers:
            if self._history.is_live:
                self._history.given(answers, self._said, self._flight.used)
            self._said = ""
        return self._run.resume(answers)

    def _catch_up(self, *, over: bool = False) -> None:
        """The record has ended. What it leaves open is sent again where that is safe, unless all is over."""
        left = self._history.catch_up()[: 0 if over else None]
        self._history.taken_up()  # before all else: the time until now was nobody's
        self._asking.restore(self._history.calls)
        if self._context.reuse is not None:
            self._context.reuse.pass_over(self._history.calls, self._view.scope.get)
        for call, past in left:
            if past.verdict == "asked":
                continue
            tool = self._view.scope.get(past.tool)
            # One whose answer comes from a record was not sent by this run.
            if past.effect == "read" or past.verdict == "reused" or (tool is not None and tool.idempotent):
                self._context.budget.calls -= 1  # it is counted again
                self._send_again(call, past)
                continue
            answer = Answer(call.id, failure=Failure("RuntimeError", f"{past.tool}: {IN_DOUBT}"))
            self._history.told(answer, in_doubt=True)
            self._answers.append(answer)
        self._ask_again([call for call, past in left if past.verdict == "asked"])
        # From here on nothing comes from the record, and the run's time goes by again.
        self._flight.began = time.monotonic() - self._history.used
        self.getting_ready = False
        new, self._new = self._new, []
        for call in new:
            self._begin(call)
        self._leave()

    def _send_again(self, call: Call, past: PastCall) -> None:
        """Through the gate once more; what a person agreed to, perhaps after editing it, still stands."""
        said = self._history.decisions.get(call.id)
        if said is not None and said.approved:
            self._context.consent.approved.add(call.id)
            call = call if said.arguments is None else replace(call, args=(), kwargs=said.arguments)
        self._decide(call)
        self._context.consent.approved.discard(call.id)

    def _ask_again(self, calls: list[Call]) -> None:
        """Calls that wait for a person's word by the record: first those that somebody has decided about."""
        on_record, decided = self._history.decisions, self._asking.known([call.id for call in calls])
        for call in sorted(calls, key=lambda call: decided[call.id] is None):
            self._decide(call)
            decision = decided[call.id]
            if decision is not None:
                self._hear(call.id, decision, on_record=call.id in on_record)
                self._asking.taken(call.id)

    def _take(self, pending: tuple[int, ...]) -> list[Answer]:
        """Every answer there is, once one of them is among `pending`; none if that takes too long."""
        wanted = set(pending)
        while not any(answer.call_id in wanted for answer in self._answers):
            if self.stopped is not None:
                return []
            try:
                self._receive(self._inbox.get(timeout=_GRACE))
            except queue.Empty:
                return []
        with contextlib.suppress(queue.Empty):
            while self.stopped is None:  # a stopped run looks at no more results, however many came
                self._receive(self._inbox.get_nowait())
        taken, self._answers = self._answers, []
        return taken

    def _receive(self, item: Reply | Answer | Decided) -> None:
        if isinstance(item, Decided):
            self._hear(item.call_id, item.decision)
            self._leave()
            return
        if isinstance(item, Answer):  # a pause is over
            self._asides.over(item.call_id)
            self._positions.pop(item.call_id, None)
            self._answers.append(item)
            return
        parts, budget = self._parts, self._context.budget
        before = budget.result_bytes
        keep = parts.keeper(self._order.caller, self._id)
        answer = parts.dispatcher.receive(item, self._limits, budget, keep)
        self._records.put(item.record(answer.failure))
        self._history.answered(item, answer, budget.result_bytes - before)
        self._answers.append(answer)

    def _hear(self, call_id: int, decision: Decision | None, *, on_record: bool = False) -> None:
        """Somebody has decided about a call: it starts again at the first guard, or it is denied."""
        said = self._asking.decided(call_id, decision, self._flight.used, on_record=on_record)
        if isinstance(said, Answer):
            self._answers.append(said)
        elif said is not None:
            self._decide(said)
            self._context.consent.approved.discard(call_id)

    def _begin(self, call: Call) -> None:
        if call.kind == "tool":
            self._positions[call.id] = call.position
            past = self._history.known(call, self._view.scope.get)
            if past is not None:
                self._recall(call, past)
            elif self._history.is_live:
                self._decide(call)
            else:
                self._new.append(call)
        elif not self._history.known_other(call):
            if not self._history.is_live:
                self._new.append(call)
                return
            self._history.asks(call)
            self._positions[call.id] = call.position
            answer = self._asides.begin(call)
            if answer is not None:
                self._positions.pop(call.id)
                self._answers.append(answer)

    def _recall(self, call: Call, past: PastCall) -> None:
        """A call that is on record: it counts, and is neither judged nor sent again."""
        budget = self._context.budget
        if past.verdict == "refused":
            self._refused += 1
        elif past.verdict != "asked":
            budget.calls += 1
            budget.result_bytes += past.size
        self._records.put(recorded(past, call.position))
        if past.answer is not None and not past.is_masked and not self._history.was_given(call.id):
            self._answers.append(past.answer)

    def _decide(self, call: Call) -> None:
        verdict = self._parts.gate.decide(call, self._context)
        if isinstance(verdict, Refused):
            self._refused += 1
            self._records.put(verdict.record())
            self._history.refused(verdict)
            self._answers.append(Answer(call.id, failure=verdict.failure))
            return
        if isinstance(verdict, Asked):
            self._asking.add(verdict)
            if self._asking.approver is None and not self._asking.can_wait:
                self._hear(call.id, None)
            return
        if isinstance(verdict, Cached):
            budget = self._context.budget
            before = budget.result_bytes
            budget.calls += verdict.reused  # the budgets guard has not seen it
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
        asked, approver = self._asking.new(), self._asking.approver
        if not leaving and not asked:
            return
        self._history.sync()
        if asked and approver is not None:
            self._loop.call_soon_threadsafe(self._flight.ask, asked, approver)
        for verdict, source in leaving:
            self._loop.call_soon_threadsafe(self._flight.send, verdict, source)

    def _drop(self, call_id: int) -> None:
        """The script cancelled what waited for this call."""
        self._asides.over(call_id)
        self._positions.pop(call_id, None)
        self._history.dropped(call_id)
        self._asking.dropped(call_id)
        self._loop.call_soon_threadsafe(self._flight.drop, call_id)

    def _finished(self, step: Finished, *, by_itself: bool = True) -> Finished:
        self.close()
        self._prints.append(step.prints)
        self._cut += step.cut_prints
        finished = judged(step, self._limits)
        if finished.error is not None:
            full, red = self._route is not None and self._route.full_python, self._parts.dispatcher.redactor
            error = explained(finished.error, red, self._program, self._view.scope, full_python=full)
            finished = replace(finished, error=error)
        self._said += step.prints
        if by_itself and self.stopped is None:
            self._history.returned(replace(finished, prints=self._said))
            self._said = ""
        return finished

    def close(self) -> None:
        """Give everything back. Idempotent."""
        try:
            if self._run is not None:
                self._run.close()
        finally:
            if self._held is not None:
                self._lost = self._parts.sessions.give_back(self._order.caller, self._order.session)
            self.closed = True
