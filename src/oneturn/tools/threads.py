"""Threads for blocking functions, none of which can keep the process from ending.

A thread cannot be stopped from outside. The standard executor waits for all of its threads when
the interpreter exits, so one hung function would hang the program; these threads are daemonic
and are left behind.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Job:
    """One piece of work and the future that waits for it. Everything but `perform` belongs to the loop."""

    work: Callable[[], Any]
    context: contextvars.Context
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]

    def perform(self, before_answer: Callable[[], None]) -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            if not self.future.cancelled():
                value = self.context.run(self.work)
        except StopIteration as stop:  # a future cannot carry it, and the call would never end
            error = RuntimeError("the function raised StopIteration")
            error.__cause__ = stop
        except BaseException as raised:
            error = raised
        before_answer()
        self.tell(self.answer, value, error)
        del value, error  # its traceback refers to this frame, and the cycle would keep both

    def answer(self, value: Any, error: BaseException | None) -> None:
        if self.future.done():
            return  # given up meanwhile
        if error is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(error)

    def tell(self, what: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(what, *args)


class Threads:
    """Runs blocking functions for event loops. Threads start when they are needed and stay until `close`.

    Args:
        most: Functions run at once; more of them queue.
    """

    def __init__(self, most: int = 128) -> None:
        self._most = most
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0
        self._unfinished = 0
        self._closed = False

    async def run(self, work: Callable[[], _T]) -> _T:
        """What `work()` returns, called in a thread with a copy of the caller's context.

        When this is cancelled, work that has begun goes on to its end and its result is dropped.

        Raises:
            RuntimeError: The threads are closed, or `work` raised StopIteration.
            BaseException: Whatever else `work` raised.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        job = _Job(work, contextvars.copy_context(), loop, future)
        with self._lock:
            if self._closed:
                raise RuntimeError("The threads are closed.")
            if self._started < min(self._unfinished + 1, self._most):
                name = f"oneturn-tool-{self._started}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
                self._started += 1
            self._unfinished += 1
            self._jobs.put(job)
        return await future

    def close(self) -> None:
        """Take no more work; what waits in the queue is cancelled, what has begun goes on. Idempotent."""
        with self._lock:
            self._closed = True
            with suppress(queue.Empty):
                while True:
                    job = self._jobs.get_nowait()
                    if job is not None:
                        job.tell(job.future.cancel)
            for _ in range(self._started):
                self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.perform(self._finish)
            del job  # an idle thread must not keep the last result alive

    def _finish(self) -> None:
        with self._lock:
            self._unfinished -= 1
