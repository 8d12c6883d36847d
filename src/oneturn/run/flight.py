"""The calls and pauses of one run that are under way. Everything here belongs to the event loop."""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from ..gate import Allowed, Dispatcher, Reply
from ..tools.base import CallInfo, Source
from ..types import Answer, Approval, Call, Decision, Limits
from .order import Approver
from .records import Records

if TYPE_CHECKING:
    from ..telemetry import RunSpan

log = logging.getLogger("oneturn.run")

CANCEL_PATIENCE = 1.0  # seconds a cancelled call may take to stop


@dataclass(frozen=True, slots=True)
class Decided:
    """What was said about a call that waits for a person's word; None when nobody decided."""

    call_id: int
    decision: Decision | None


class Flight:
    """Sends calls, and settles those that are open when the script has ended.

    Args:
        dispatcher: Sends what the gate allowed.
        limits: Of this run.
        records: Where the fate of every call is written.
        inbox: Where replies go; the run's worker thread reads it.
        wake: Set after every reply.
        run: The run's id.
        caller: Whose run it is.
        span: Is told of calls and of waits for people.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        limits: Limits,
        records: Records,
        inbox: queue.SimpleQueue[Reply | Answer | Decided],
        wake: asyncio.Event,
        run: str,
        caller: str,
        span: RunSpan | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._dispatcher = dispatcher
        self._limits = limits
        self._records = records
        self._inbox = inbox
        self._wake = wake
        self._run = run
        self._caller = caller
        self._span = span
        self.began = time.monotonic()
        """When the run's time began, by `time.monotonic()`; later when it had to wait for its sandbox."""
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._sent: dict[int, float] = {}
        self._let_go: set[int] = set()
        self._asking: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(limits.concurrent_calls)

    @property
    def used(self) -> float:
        """Seconds of the run so far."""
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Seconds until the run's deadline."""
        return self.began + self._limits.timeout - time.monotonic()

    def send(self, allowed: Allowed, source: Source) -> None:
        """Start a call."""
        self._start(allowed.call.id, self._perform(allowed, source))

    def pause(self, call: Call) -> None:
        """Start an `asyncio.sleep` of the script."""
        self._start(call.id, self._sleep(call))

    @property
    def is_busy(self) -> bool:
        """Whether a call or a pause is under way."""
        return any(not task.done() for task in self._tasks.values())

    @property
    def is_asking(self) -> bool:
        """Whether somebody is being asked for their word."""
        return bool(self._asking)

    def ask(self, approvals: Sequence[Approval], approver: Approver) -> None:
        """Ask for a person's word on calls; what they say comes as `Decided`, one for each."""
        task = self._loop.create_task(self._ask(approvals, approver))
        self._asking.add(task)

    async def _ask(self, approvals: Sequence[Approval], approver: Approver) -> None:
        decisions: list[Decision | None] = []
        task = asyncio.current_task()
        assert task is not None
        try:
            if self._span is not None:
                self._span.waits(approvals)
            decisions = list(await approver(approvals))
        except asyncio.CancelledError:
            if task.cancelling():
                raise
            log.warning("the approver of %s was cancelled", self._run)
        except Exception:  # an approver is somebody's code; a run can still be decided about later
            log.exception("the approver of %s failed", self._run)
        finally:
            self._asking.discard(task)
            for approval, decision in zip_longest(approvals, decisions[: len(approvals)]):
                self._inbox.put(Decided(approval.call_id, decision))
            self._wake.set()
        for approval, decision in zip(approvals, decisions, strict=False):
            if self._span is not None and decision is not None:
                self._span.decided(approval, decision)

    def drop(self, call_id: int) -> None:
        """The script no longer waits for this one.

        A pause, a read and a call that has not left are cancelled. One that may change the world goes
        on: cancelling it would only make its effect unknown.
        """
        task = self._tasks.get(call_id)
        if task is None or task.done():
            return
        if call_id not in self._sent or not self._records.changes_the_world(call_id):
            self._cancel(call_id)

    def cancel_all(self) -> None:
        """Cancel everything that is under way."""
        for call_id in list(self._tasks):
            self._cancel(call_id)
        for task in list(self._asking):
            task.cancel()

    async def settle(self, *, in_flight: bool) -> None:
        """Let calls that change the world finish if there is time; cancel all the rest.

        Args:
            in_flight: Whether any may finish; not when the run was stopped.
        """
        open_tasks = {call_id: task for call_id, task in self._tasks.items() if not task.done()}
        changing = [
            task
            for call_id, task in open_tasks.items()
            if call_id in self._sent and self._records.changes_the_world(call_id)
        ]
        for asking in list(self._asking):
            asking.cancel()
        left, unfinished = self.left, set(open_tasks)
        if in_flight and changing and left > 0:
            for call_id, task in open_tasks.items():
                if task not in changing:
                    self._cancel(call_id)
            await asyncio.wait(changing, timeout=left)
        tasks = [(call_id, task) for call_id, task in open_tasks.items() if not task.done()]
        for call_id, _ in tasks:
            self._cancel(call_id)
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

    async def _perform(self, allowed: Allowed, source: Source) -> None:
        call_id = allowed.call.id
        async with self._slots:
            self._sent[call_id] = time.monotonic()
            sending = self._dispatcher.send(
                allowed,
                source,
                left=self.left,
                stopped=lambda: call_id in self._let_go,
                info=CallInfo(self._run, call_id, self._caller, allowed.key),
            )
            reply = await (sending if self._span is None else self._span.sent(allowed, sending))
        self._tasks.pop(call_id, None)
        self._deliver(reply)

    async def _sleep(self, call: Call) -> None:
        seconds = float(call.args[0]) if call.args else 0.0
        await asyncio.sleep(min(max(seconds, 0.0), self._limits.timeout))
        del self._tasks[call.id]
        self._deliver(Answer(call.id))

    def _deliver(self, reply: Reply | Answer) -> None:
        self._inbox.put(reply)
        self._wake.set()

    def _cancel(self, call_id: int) -> None:
        """Cancel a call. Remembered, because a tool shares its task and may cancel it too."""
        self._let_go.add(call_id)
        self._tasks[call_id].cancel()

    def _start(self, call_id: int, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[call_id] = _task(self._loop, work)


if sys.version_info >= (3, 12):

    def _task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.Task(work, loop=loop, eager_start=True)  # saves a turn of the loop for each call

else:

    def _task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return loop.create_task(work)


async def whole(work: asyncio.Future[Any]) -> None:
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


def set_once(setter: Callable[[Any], None], future: asyncio.Future[Any], value: Any) -> None:
    """Settle a future, unless it is settled already."""
    if not future.done():  # it is when the run was cancelled meanwhile
        setter(value)
