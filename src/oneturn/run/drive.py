"""One run, from its script to its outcome: the event loop's side of it.

Threads: `Steps` works on one worker thread at a time, everything here runs on the event loop. They meet in
the inbox (replies on their way to the script) and in nothing else that changes on both sides.
"""

from __future__ import annotations

import asyncio
import queue
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import Diverged, RunBusy, SandboxError
from ..gate import Context, Reply, Reuse
from ..gate.base import Budget
from ..journal.past import Past
from ..types import Answer, Finished, Outcome, ScriptError
from .endings import CANCELLED, timed_out
from .flight import Decided, Flight, set_once, whole
from .history import History
from .order import Order, Parts
from .records import Records
from .steps import Steps

if TYPE_CHECKING:
    from ..journal.writer import Recording

_GLANCE = 0.05  # seconds between looks at whether the run's own time has begun
_GET_READY = 120.0  # seconds a run may take to get its sandbox and to be where its record ends


class Drive:
    """Drives one script through its sandbox run.

    Args:
        parts: Of the runtime.
        order: What is run.
        taken: The record of a run that is taken up again.
        reuse: What the run that it retries did already.
        run_id: Its id, when it has one already.
    """

    def __init__(
        self,
        parts: Parts,
        order: Order,
        taken: tuple[Recording, Past] | None = None,
        reuse: Reuse | None = None,
        run_id: str = "",
    ) -> None:
        self.id = taken[0].run if taken else run_id or new_id()
        self._was_taken = taken is not None
        self._is_let_go = False
        self.over = asyncio.Event()
        self._parts = parts
        self._limits = order.limits
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[Reply | Answer | Decided] = queue.SimpleQueue()
        self._wake = asyncio.Event()
        self._parked = self._cancelled = False
        self._arrived = time.monotonic()
        recording, past = taken or (parts.record(self.id, order), None)
        self._history = History(recording, past, order, parts.pin)
        records = Records()
        self._span = parts.span(self.id, order, past)
        self._flight = Flight(
            parts.dispatcher,
            order.limits,
            records,
            self._inbox,
            self._wake,
            self.id,
            order.caller,
            self._span,
        )
        seed = secrets.randbits(63) if order.seed is None else order.seed
        context = Context(order.view.scope, order.limits, Budget(), order.caller, reuse=reuse)
        self._steps = Steps(
            self.id,
            seed,
            parts,
            order,
            context,
            self._history,
            records,
            self._flight,
            self._inbox,
            self._loop,
        )

    async def to_end(self) -> Outcome:
        """Run to the end, whatever that is; afterwards nothing of the run is alive. Raises as `execute`."""
        steps = self._steps
        first = _GLANCE if steps.getting_ready else self._limits.timeout
        self._timer = self._loop.call_later(first, self._expire)
        try:
            finished = await self._to_its_end()
            await self._flight.settle(in_flight=steps.stopped is None)
            outcome = steps.outcome(finished, cancelled=self._cancelled)
            if not steps.put_aside and not self._goes_on:
                self._history.ended(outcome, steps.unsaid)
                if self._history.must_sync:
                    await whole(self._loop.run_in_executor(self._parts.threads, self._history.sync_end))
            if self._span is not None:
                self._span.end(outcome)
            return outcome
        except BaseException as error:
            self.stop(CANCELLED, cancelled=True)
            await whole(self._loop.create_task(self._flight.settle(in_flight=False)))
            left = None
            if not (isinstance(error, RunBusy | Diverged) or self._goes_on or self._history.is_over):
                cancelled = isinstance(error, asyncio.CancelledError)
                why = CANCELLED if cancelled else ScriptError(type(error).__name__, str(error))
                left = steps.outcome(Finished(error=why), cancelled=cancelled)
                self._history.ended(left, steps.unsaid)
            if self._span is not None:
                self._span.end(left, error)
            raise
        finally:
            self._timer.cancel()
            if not steps.closed:
                await whole(self._loop.run_in_executor(self._parts.threads, steps.close))
            self._history.close()

    @property
    def has_begun(self) -> bool:
        """Whether the run is on record, if anything is."""
        return self._history.has_begun

    @property
    def _goes_on(self) -> bool:
        """Whether this is not the end of the run, but of taking it up here: somebody tries again."""
        return self._is_let_go or (self._was_taken and not self._history.is_live)

    def let_go(self) -> None:
        """Stop it here, and leave it as it is on record."""
        self._is_let_go = True
        self.stop(CANCELLED, cancelled=True)

    async def _to_its_end(self) -> Finished:
        steps = self._steps
        while True:
            finished = await self._on_thread(steps.advance)
            if finished is None:
                if self._only_people_can_help():
                    await self._on_thread(steps.wait_aside)
                    return Finished()
                await self._answered()
            if steps.stopped is not None:
                return Finished(error=steps.placed(steps.stopped))
            if finished is not None:
                return finished

    async def _answered(self) -> None:
        """Wait, with no thread held, until there is an answer or the run is stopped."""
        self._parked = True
        began, for_people = time.monotonic(), self._waits_for_people
        while self._inbox.empty() and self._steps.stopped is None:
            await self._wake.wait()
            self._wake.clear()
        if for_people:  # that is not the script's time
            self._flight.began += time.monotonic() - began
        self._parked = False

    @property
    def _waits_for_people(self) -> bool:
        return self._steps.waits_for_people and not self._flight.is_busy

    def _only_people_can_help(self) -> bool:
        """Whether the run can go on only when somebody decides, and nobody is deciding now."""
        return (
            self._steps.stopped is None
            and self._waits_for_people
            and not self._flight.is_asking
            and self._inbox.empty()
        )

    async def _on_thread(self, take: Callable[[], Finished | None]) -> Finished | None:
        """Take steps on a worker thread. Leaves only when the thread has, even when cancelled."""
        # Plain futures rather than run_in_executor under a shield: this hop is most of what a
        # short script costs.
        ended: asyncio.Future[Finished | None] = self._loop.create_future()

        def work() -> None:
            try:
                finished = take()
            except BaseException as error:
                self._loop.call_soon_threadsafe(set_once, ended.set_exception, ended, error)
            else:
                self._loop.call_soon_threadsafe(set_once, ended.set_result, ended, finished)

        job = self._parts.threads.submit(work)
        try:
            return await ended
        except SandboxError:
            if self._steps.stopped is None:
                raise
            return None  # stopped before or while it started
        except asyncio.CancelledError:
            self.stop(CANCELLED, cancelled=True)
            await whole(asyncio.wrap_future(job))
            raise

    def stop(self, error: ScriptError, *, cancelled: bool = False) -> None:
        """End the run with `error`."""
        if self._steps.stopped is None:
            self._cancelled = cancelled
            self._steps.stop(error, running=not self._parked)
            self._flight.cancel_all()
            self._wake.set()

    def _expire(self) -> None:
        """The timer went off. Only the script's own time counts."""
        left = self._flight.left
        if self._parked and self._waits_for_people:
            left = 1.0
        elif self._steps.getting_ready:
            left = min(_GLANCE, self._arrived + self._limits.timeout + _GET_READY - time.monotonic())
        if left > 0:
            self._timer = self._loop.call_later(left, self._expire)
        else:
            self.stop(timed_out(self._limits.timeout))


def new_id() -> str:
    """An id for a new run."""
    return f"run_{secrets.token_hex(8)}"
