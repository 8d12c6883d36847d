"""The processes Monty runs in: how many there are, and whose each of them is.

A process that served one caller never serves another: what it may have kept of the first, by a bug or
an attack, dies with it. So each worker is a Monty pool of exactly one process, which Monty replaces
when it crashes, and this module is the pool of pools: it hands a caller the worker that caller used
last, starts further ones up to a bound, and stops what has been idle longest to make room.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pydantic_monty as monty

from ..errors import SandboxBusy, SandboxError

# How long a worker may overrun its own time limit before Monty kills it, in seconds.
_GRACE = 0.5
_CALLERS = 8  # callers whose idle workers are kept; a process costs some megabytes


class Worker:
    """One process, as a Monty pool that has no other. `caller` is None until it has served one."""

    def __init__(self, binary: Path | None, wait: float, epoch: int) -> None:
        self.caller: str | None = None
        self.epoch = epoch
        self.pool = monty.Monty(
            binary_path=binary,
            min_processes=1,
            max_processes=1,
            checkout_timeout=wait,
            feed_duration_limit_grace=_GRACE,
        )
        self.pool.__enter__()

    def stop(self) -> None:
        """End the process."""
        self.pool.__exit__(None, None, None)


class Workers:
    """All workers of one sandbox. Thread-safe.

    Args:
        most: The most processes at once.
        warm: Processes started with the first one, for callers to come.
        wait: Seconds `take` waits for a free one.
        binary: What to start instead of Monty's own binary, asked for with each start.
    """

    def __init__(self, *, most: int, warm: int, wait: float, binary: Callable[[], Path | None]) -> None:
        self._most = most
        self._warm = min(warm, most)
        self._wait = wait
        self._binary = binary
        self._changed = threading.Condition()
        self._idle: list[Worker] = []  # the one used last at the end
        self._count = 0  # processes there are, and those being started
        self._epoch = 0  # grows with each `close`; a worker of an earlier one is not kept

    def take(self, caller: str | None) -> Worker:
        """A worker of this caller's own, until it is given back; None for one that stays nobody's.

        Raises:
            SandboxBusy: Every one was taken for the whole wait.
            SandboxError: None could be started; SandboxUnavailable: the jail cannot be had.
        """
        until = time.monotonic() + self._wait
        retired: Worker | None = None
        with self._changed:
            while True:
                idle = self._idle_for(caller)
                if idle is not None:
                    return idle
                if self._count < self._most:
                    self._count += 1
                    break
                if self._idle:
                    retired = self._idle.pop(0)  # the new one takes its place in the count
                    break
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise SandboxBusy("Every sandbox worker is busy; try again in a moment.")
            first, epoch = self._count == 1, self._epoch
        if retired is not None:
            retired.stop()
        worker = self._start(epoch)
        worker.caller = caller
        if first:
            self._start_ahead(epoch)
        return worker

    def give_back(self, worker: Worker, *, spoiled: bool = False) -> None:
        """Keep a worker for its caller's next run, unless it is spoiled; stop what is not worth keeping."""
        with self._changed:
            if worker.epoch == self._epoch and not spoiled:
                self._idle.append(worker)
                surplus = self._surplus()
            else:
                surplus = [worker]
            self._count -= len(surplus)
            self._changed.notify()
        for each in surplus:
            each.stop()

    def close(self) -> None:
        """Stop every idle worker at once, and each other one when it is given back. Idempotent."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._count -= len(idle)
            self._epoch += 1
            self._changed.notify_all()
        for worker in idle:
            worker.stop()

    def _idle_for(self, caller: str | None) -> Worker | None:
        """The caller's own worker used last, or one nobody has used. Call it with the lock held."""
        fresh: int | None = None
        for index in range(len(self._idle) - 1, -1, -1):
            owner = self._idle[index].caller
            if owner == caller:
                return self._idle.pop(index)
            if owner is None:
                fresh = index
        if fresh is None:
            return None
        worker = self._idle.pop(fresh)
        worker.caller = caller
        return worker

    def _surplus(self) -> list[Worker]:
        """Takes out the idle workers of all but the latest callers. Call it with the lock held."""
        latest = list(dict.fromkeys(worker.caller for worker in reversed(self._idle)))[:_CALLERS]
        surplus = [worker for worker in self._idle if worker.caller not in latest]
        if surplus:
            self._idle = [worker for worker in self._idle if worker.caller in latest]
        return surplus

    def _start(self, epoch: int) -> Worker:
        try:
            return Worker(self._binary(), self._wait, epoch)
        except BaseException as error:
            with self._changed:
                self._count -= 1
                self._changed.notify()
            if isinstance(error, monty.MontyError | OSError | RuntimeError):
                raise SandboxError(f"No sandbox worker could be started: {error}.") from error
            raise

    def _start_ahead(self, epoch: int) -> None:
        for _ in range(self._warm - 1):
            with self._changed:
                if self._count >= self._most:
                    return
                self._count += 1
            self.give_back(self._start(epoch))
