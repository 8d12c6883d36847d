"""The one loop that joins the parts: a sandbox's steps on one side, the gate on the other.

A run's steps are taken on a worker thread, its calls are sent on the event loop. The thread starts
each call as the script makes it and goes on with the script meanwhile; when the script can only
wait, the thread waits a moment and is then given back, so a run that waits for a tool holds no
thread. The event loop does nothing that grows with the size of a script or a value.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .errors import JournalError, RunBusy, RunNotFound, SandboxBusy, SandboxClosed
from .gate import Allowed, Asked, Cached, Context, Dispatcher, Gate, Refused, Reply, Reuse, Verdict
from .gate.base import Budget
from .journal import owners
from .journal.artifacts import Artifact, ArtifactStore
from .journal.ending import note_end
from .journal.past import Past
from .run.drive import Drive, new_id
from .run.endings import CANCELLED, outcome_of
from .run.flight import CANCEL_PATIENCE, whole
from .run.history import History
from .run.order import Approver, Order, Parts
from .sandbox.router import Router
from .sessions import Sessions
from .tools.base import CallInfo, Result, Source
from .types import Answer, Call, CallRecord, Failure, Finished, Limits, Outcome, RunStatus, ScriptError
from .view import View

if TYPE_CHECKING:
    from .gate.approval import ApprovalGuard
    from .gate.cache import ResultCache
    from .journal.redaction import Fields
    from .journal.writer import Journal, Recording
    from .telemetry import RunSpan, Telemetry

_RETRIES = 50  # runs of a chain of retries that are looked at


class Runtime:
    """Executes scripts and direct calls for every door. Bound to the event loop it is first used on.

    Args:
        router: Where scripts run.
        dispatcher: Sends the calls that the gate allows.
        sources: Finds the source of a tool by `Tool.source`.
        artifacts: Where blobs of results go.
        runs: Runs at once.
        queue: Runs that may wait for a place; one more is refused with SandboxBusy.
        patience: Seconds a run waits for a place before SandboxBusy.
        cache: Answers calls from earlier results, a `gate.cache.ResultCache`; none when not given.
        journal: Where runs are recorded; nowhere when not given. It is closed with the runtime.
        approval: Says which calls need a person's word; none when not given.
        approver: Asked for it, while the run waits; a run that nobody decides about is put aside.
        approval_timeout: Seconds until what nobody has decided is denied; never when None.
        telemetry: Is told of runs and calls; nothing is when not given.
        fields: Whose values no error of the gate quotes.
    """

    def __init__(
        self,
        *,
        router: Router,
        dispatcher: Dispatcher,
        sources: Callable[[str], Source],
        artifacts: ArtifactStore,
        runs: int = 32,
        queue: int = 256,
        patience: float = 30.0,
        cache: ResultCache | None = None,
        journal: Journal | None = None,
        approval: ApprovalGuard | None = None,
        approver: Approver | None = None,
        approval_timeout: float | None = None,
        telemetry: Telemetry | None = None,
        fields: Fields | None = None,
    ) -> None:
        threads = ThreadPoolExecutor(runs, thread_name_prefix="oneturn-run")
        sessions = Sessions(router.for_session)
        gate = Gate(cache, approval, fields)
        self.parts = Parts(
            router,
            sessions,
            gate,
            dispatcher,
            sources,
            artifacts,
            threads,
            journal,
            approver,
            approval_timeout,
            telemetry,
        )
        self._sweep: asyncio.TimerHandle | None = None
        self._places = asyncio.Semaphore(runs)
        self._queue = queue
        self._patience = patience
        self._waiting = 0
        self._closed = False
        self._drives: dict[str, Drive] = {}
        self._calls: set[asyncio.Task[tuple[Answer, CallRecord] | None]] = set()
        self._dropped: set[asyncio.Task[Any]] = set()

    async def execute(self, order: Order) -> Outcome:
        """Run a script to its end. What goes wrong in the script is in the outcome.

        Raises:
            SandboxBusy: No place became free in time; nothing ran.
            SandboxError: The sandbox could not be started.
        """
        await self._take_place()
        try:
            return await (self._retry(order) if order.retry_of else self._drive(Drive(self.parts, order)))
        finally:
            self._places.release()
            if order.session and self._sweep is None and not self._closed:
                self._sweep_later()

    async def resume(
        self,
        run_id: str,
        *,
        caller: str,
        view_of: Callable[..., View],
        approver: Approver | None = None,
    ) -> Outcome:
        """Go on with a run that was interrupted; the outcome of one that is over is what is on record.

        Args:
            run_id: The run.
            caller: Whose it must be.
            view_of: What allow-lists let its caller see.
            approver: As for `execute`.

        Raises:
            RunNotFound: There is no such run of this caller.
            RunBusy: It is under way, here or in another process.
            JournalCorrupt: Its record was changed.
            Diverged: It does not do again what it did before.
            JournalError: Nothing is recorded here, or it cannot be taken up again.
            SandboxError: As `execute`.
        """
        journal = self.journal
        await self._take_place()
        try:
            _, events = await asyncio.to_thread(journal.read, run_id, caller=caller)
            past = Past.of(events)
            if past.ended is not None:
                return outcome_of(run_id, past)
            _must_stand_alone(run_id, past)
            if past.waits and approver is None and self.parts.approver is None:
                pending = await asyncio.to_thread(journal.approvals.undecided, run_id)
                if pending and len(pending) == len(past.waits):
                    return replace(outcome_of(run_id, past), pending=pending)
            recording, past = await self._taken(run_id, caller)
            try:
                order = Order.of(past.began, view_of(*past.began["allow"]), approver)
                reuse = await self._reuse(order) if order.retry_of else None
                return await self._drive(Drive(self.parts, order, (recording, past), reuse))
            except BaseException:
                recording.close()
                raise
        finally:
            self._places.release()

    async def _taken(self, run_id: str, caller: str, *, over: bool = False) -> tuple[Recording, Past]:
        """Take a run up. A request that is cancelled meanwhile gives it back."""

        def take() -> tuple[Recording, Past]:
            recording, events = self.journal.take(run_id, caller=caller, over=over)
            try:
                return recording, Past.of(events)
            except BaseException:
                recording.close()
                raise

        def give_back(taking: asyncio.Task[tuple[Recording, Past]]) -> None:
            if not taking.cancelled() and taking.exception() is None:
                taking.result()[0].close()

        taking = asyncio.create_task(asyncio.to_thread(take))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(give_back)
            raise

    async def _retry(self, order: Order) -> Outcome:
        """Do the work of an earlier run again. Raises as `execute`; it may be tried again then."""
        run_id = new_id()
        salt = await self._retried(order, run_id)
        drive: Drive | None = None
        try:
            reuse = await self._reuse(order)
            drive = Drive(self.parts, replace(order, salt=salt), None, reuse, run_id)
            return await self._drive(drive)
        except BaseException:
            if drive is None or not drive.has_begun:
                with contextlib.suppress(JournalError):  # it may be tried again in a while then
                    await whole(asyncio.ensure_future(self._retried(order, "")))
            raise

    async def _retried(self, order: Order, run_id: str) -> str:
        """The run that is retried is over for good, and says by whom its work is done again.

        By nobody after all, without `run_id`. Returns the salt of its digests.
        """
        recording, past = await self._taken(order.retry_of, order.caller, over=True)

        def note() -> str:
            by = past.retried_by if run_id else ""
            if by and self.journal.store.run(by) is not None:
                raise JournalError(f"{order.retry_of} was retried by {by} already; retry that one instead.")
            never = owners.is_dead(past.retried_from) or time.time() > past.retried_at + owners.LEASE
            if by and not never:
                raise RunBusy(f"{order.retry_of} is being retried by {by}; try again in {owners.LEASE:g} s.")
            if past.ended is None:
                note_end(recording, past, "Superseded", f"its work is done again by {run_id}")
            recording.note("retried", {"by": run_id, "from": owners.this_process()})
            recording.sync()
            return past.salt

        try:
            return await asyncio.to_thread(note)
        finally:
            recording.close()

    async def _reuse(self, order: Order) -> Reuse:
        """What the run that is retried did already, and what those that it retried itself did."""
        found: list[tuple[str, Past]] = []
        run_id = order.retry_of
        while run_id:
            if len(found) == _RETRIES:  # what the first of them did must not be done again either
                raise JournalError(f"{order.retry_of} ends a chain of {_RETRIES} retries; start a new run.")
            try:
                _, events = await asyncio.to_thread(self.journal.read, run_id, caller=order.caller)
            except RunNotFound as error:
                raise JournalError(
                    f"{run_id} was retried and is not on record any more, so what it did cannot be told, and "
                    "nothing is done that might repeat it; start a new run."
                ) from error
            found.append((run_id, Past.of(events)))
            run_id = found[-1][1].began["retry_of"]
        older: Reuse | None = None
        for earlier_id, past in reversed(found):
            reuse = Reuse(earlier_id, past.made, past.salt, self.parts.pin)
            if older is not None:
                older.pass_over(past.calls.values(), order.view.scope.get)
                reuse.add(older)
            older = reuse
        assert older is not None, "it retries something"
        return older

    @property
    def journal(self) -> Journal:
        """Where runs are recorded. Raises JournalError when they are not."""
        if self.parts.journal is None:
            raise JournalError("This app keeps no journal, so no run can be taken up again; give it one.")
        return self.parts.journal

    async def _drive(self, drive: Drive) -> Outcome:
        self._drives[drive.id] = drive
        try:
            return await drive.to_end()
        finally:
            del self._drives[drive.id]
            drive.over.set()

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        view: View,
        limits: Limits,
        caller: str,
        allow: tuple[tuple[str, ...], ...] = (("*",),),
        approver: Approver | None = None,
    ) -> Outcome:
        """Make one call without a script, through the same gate; a run of one call. Raises as `execute`.

        A call that needs approval becomes a script of that one call, which can wait for it.
        """
        await self._take_place()
        run_id = new_id()
        name = name.removeprefix("tools.")
        call_of = f"await tools.{name}(**{{}})".format
        shown = self.parts.masked(arguments)
        masked = "" if shown is arguments else call_of(repr(shown))
        script = call_of(repr(dict(arguments)))
        order = Order(script, view, limits, caller, allow=allow, approver=approver, shown=masked)
        history = History(self.parts.record(run_id, order), None, order, self.parts.pin)
        call = Call(0, "tool", name, (), arguments)
        span = self.parts.span(run_id, order)
        work = asyncio.get_running_loop().create_task(self._call(run_id, call, order, history, span))
        self._calls.add(work)
        began = time.monotonic()
        try:
            made = await asyncio.shield(work)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                self._let_go(work)
                await asyncio.wait([work], timeout=CANCEL_PATIENCE)
            if span is not None:
                span.end(None, error)
            raise
        finally:
            self._calls.discard(work)
            self._dropped.discard(work)
            self._places.release()
            history.close()
        if made is None:
            return await self.execute(order)
        answer, record = made
        failure = answer.failure
        status: RunStatus = "failed" if failure else "succeeded"
        outcome = Outcome(
            run_id,
            "cancelled" if failure and failure.kind == CANCELLED.kind else status,
            value=answer.value,
            error=ScriptError(failure.kind, failure.message) if failure else None,
            calls=(record,),
            seconds=time.monotonic() - began,
            caller=caller,
            recorded=history.is_recorded,
        )
        if span is not None:
            span.end(outcome)
        history.ended(outcome)
        history.close()
        return outcome

    async def _call(
        self, run_id: str, call: Call, order: Order, history: History, span: RunSpan | None
    ) -> tuple[Answer, CallRecord] | None:
        """What came of a call; None when it needs approval first, in which case nothing is on record."""
        parts, loop, limits = self.parts, asyncio.get_running_loop(), order.limits
        context = Context(order.view.scope, limits, Budget(), order.caller)

        def decide() -> Verdict:
            verdict = parts.gate.decide(call, context)
            if not isinstance(verdict, Asked):
                history.began(order, 0, None, None, ())
            if isinstance(verdict, Allowed):
                history.allowed(verdict)
                history.sync()
            elif isinstance(verdict, Refused):
                history.refused(verdict)
            return verdict

        verdict = await loop.run_in_executor(parts.threads, decide)
        if isinstance(verdict, Asked):
            return None
        if isinstance(verdict, Refused):
            return Answer(0, failure=verdict.failure), verdict.record()
        if isinstance(verdict, Cached):
            cached = verdict

            def recall() -> Answer:
                answer = parts.dispatcher.recall(cached, limits, context.budget)
                history.cached(cached, answer, context.budget.result_bytes)
                return answer

            answer = await loop.run_in_executor(parts.threads, recall)
            return answer, verdict.record(answer.failure)
        tool = verdict.tool
        try:
            sending = parts.dispatcher.send(
                verdict,
                parts.sources(tool.source),
                deadline=limits.timeout,
                stopped=lambda: asyncio.current_task() in self._dropped,
                info=CallInfo(run_id, call.id, order.caller),
            )
            reply = await (sending if span is None else span.sent(verdict, sending))
        except asyncio.CancelledError:
            if not self._closed:
                raise
            cancelled = Failure(CANCELLED.kind, CANCELLED.message)
            reply = Reply(verdict, Result(), cancelled, in_doubt=tool.effect != "read")
            return Answer(0, failure=cancelled), reply.record(cancelled)

        def receive() -> Answer:
            keep = parts.keeper(order.caller, run_id)
            answer = parts.dispatcher.receive(reply, limits, context.budget, keep)
            history.answered(reply, answer, context.budget.result_bytes)
            history.returned(Finished(answer.value))
            history.sync()
            return answer

        answer = await loop.run_in_executor(parts.threads, receive)
        return answer, reply.record(answer.failure)

    def cancel(self, run_id: str) -> bool:
        """Stop a run; its outcome says `cancelled`. False when there is no such run. Loop thread only."""
        drive = self._drives.get(run_id)
        if drive is None:
            return False
        drive.stop(CANCELLED, cancelled=True)
        return True

    async def end_session(self, name: str, *, caller: str) -> bool:
        """Forget the variables of a session. False when there is none; SandboxBusy while it runs a script."""
        return await asyncio.to_thread(self.parts.sessions.end, caller, name)

    def _sweep_later(self) -> None:
        loop, sessions = asyncio.get_running_loop(), self.parts.sessions

        def sweep() -> None:
            self._sweep = None
            work = loop.run_in_executor(self.parts.threads, sessions.sweep)
            work.add_done_callback(lambda _: self._sweep_later() if sessions and not self._closed else None)

        self._sweep = loop.call_later(sessions.idle / 10, sweep)

    def let_go(self, run_id: str) -> bool:
        """Stop a run here and note no end, so that it goes on another time. Loop thread only."""
        drive = self._drives.get(run_id)
        if drive is None:
            return False
        drive.let_go()
        return True

    @property
    def running(self) -> tuple[str, ...]:
        """The ids of the runs under way."""
        return tuple(self._drives)

    def artifact(self, artifact_id: str, *, caller: str) -> Artifact:
        """An artifact of this caller. Raises ArtifactNotFound."""
        return self.parts.artifacts.get(artifact_id, caller=caller)

    async def close(self) -> None:
        """Stop every run and every worker. Idempotent."""
        self._closed = True
        drives, calls = list(self._drives.values()), list(self._calls)
        for drive in drives:
            self.cancel(drive.id)
        for call in calls:
            self._let_go(call)
        for drive in drives:
            await drive.over.wait()
        if calls:
            await asyncio.wait(calls, timeout=CANCEL_PATIENCE)
        if self._sweep is not None:
            self._sweep.cancel()
        self.parts.threads.shutdown(wait=False)
        await asyncio.to_thread(self.parts.sessions.close)
        await asyncio.to_thread(self.parts.router.close)
        if self.parts.journal is not None:
            await asyncio.to_thread(self.parts.journal.close)

    def _let_go(self, call: asyncio.Task[tuple[Answer, CallRecord] | None]) -> None:
        """Cancel a direct call. Remembered, because a tool shares its task and may cancel it too."""
        self._dropped.add(call)
        call.cancel()

    async def _take_place(self) -> None:
        if self._places.locked():
            await self._queue_up()
        else:
            await self._places.acquire()
        if self._closed:
            self._places.release()
            raise SandboxClosed("The app was closed; nothing ran.")

    async def _queue_up(self) -> None:
        if self._waiting >= self._queue:
            raise SandboxBusy(f"{self._queue} runs are waiting already; try again in a moment.")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise SandboxBusy(f"No place for a run became free within {self._patience:g} s.") from None
        finally:
            self._waiting -= 1


def _must_stand_alone(run_id: str, past: Past) -> None:
    """Raises JournalError when a run needs what is not on record."""
    if past.began["session"]:
        raise JournalError(
            f"{run_id} ran in session {past.began['session']}, whose variables are not on record; "
            "start a new run."
        )
    if past.is_masked:
        raise JournalError(
            f"{run_id} cannot go on: its script, or answers it was given, are not on record as they were, "
            "because they hold secrets or fields that are redacted; start a new run with retry_of."
        )
    if past.began["sandbox"] is None:
        raise JournalError(f"{run_id} ended before its script began; start a new run.")
