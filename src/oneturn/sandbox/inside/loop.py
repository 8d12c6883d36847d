"""The event loop of a script: real asyncio, with the host in the place of the operating system.

When nothing is left to do, the loop hands the host one frame with all calls made since the last one and
blocks for answers. There are no threads, sockets or signals, and no clock but the host's: a timer is a
sleep the host performs. So what runs when depends on the answers and on nothing else.

Standard library only; runs with any Python from 3.11, on the script's side.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
from asyncio import events
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Protocol

Take = Callable[[Any, BaseException | None], None]
"""Takes an answer: a value, or the exception it is raised as."""


class Host(Protocol):
    """What the loop needs of the run it belongs to."""

    def call(self, kind: str, name: str, args: tuple[Any, ...]) -> int:
        """Make a call; its id."""
        ...

    def ask(self, kind: str, name: str, args: tuple[Any, ...]) -> Any:
        """Make a call and block for its answer."""
        ...

    def exchange(self, pending: list[int]) -> None:
        """Block until the host has said something, and hand out what it said."""
        ...

    def expect(self, call_id: int, take: Take) -> None:
        """Say who takes an answer; taken at once when it is here already."""
        ...

    def drop(self, call_id: int) -> None:
        """Say that nobody waits for an answer any more."""
        ...


class _Timer(asyncio.TimerHandle):
    """A pause under way at the host; no call when there was none to wait for."""

    __slots__ = ("call_id",)
    call_id: int | None


_numbers = itertools.count(1)


class _Task(asyncio.Task[Any]):
    """A task whose place in a set is told by when it was made and not by where in memory."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._number = next(_numbers)
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self._number


class _Future(asyncio.Future[Any]):
    """The same for a future."""

    def __init__(self, *, loop: Any = None) -> None:
        self._number = next(_numbers)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class Loop(asyncio.BaseEventLoop):
    """An event loop that waits for the host, and for nothing else."""

    _ready: Any
    _stopping: bool

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host
        self._expected: set[int] = set()
        self._now: float | None = None  # the clock as last read while the callbacks of one turn run

    # --- answers

    def awaited(self, call_id: int) -> asyncio.Future[Any]:
        """A future for the answer to a call."""
        future = self.create_future()
        self._expect(call_id, functools.partial(_settle, future))
        return future

    def _expect(self, call_id: int, take: Take) -> None:
        self._expected.add(call_id)

        def arrived(value: Any, error: BaseException | None) -> None:
            self._expected.discard(call_id)
            if not self.is_closed():
                take(value, error)

        self._host.expect(call_id, arrived)

    def forget(self, call_id: int) -> None:
        """Drop a call whose answer is not there yet."""
        if call_id in self._expected:
            self._expected.discard(call_id)
            self._host.drop(call_id)

    def create_task(self, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        """A task; one that is cancelled before it could begin to wait for its call drops that call too."""
        if self.get_task_factory() is None:
            self._check_closed()  # type: ignore[attr-defined]
            task: asyncio.Task[Any] = _Task(coro, loop=self, **options)
        else:
            task = super().create_task(coro, **options)
        if getattr(coro, "cr_code", None) is answer_to.__code__:
            call_id = coro.cr_frame.f_locals["call_id"]  # type: ignore[attr-defined]
            task.add_done_callback(lambda done: self._host.drop(call_id) if done.cancelled() else None)
        return task

    # --- the clock and timers

    def time(self) -> float:
        """The host's monotonic clock, in seconds."""
        self._now = float(self._host.ask("clock", "monotonic", ()))
        return self._now

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Ask the host for a pause of its own, unless there is none to wait for."""
        self._check_closed()  # type: ignore[attr-defined]
        seconds = float(delay)
        timer = _Timer((self._now or 0.0) + seconds, callback, args, self, context)
        timer.call_id = None
        if not seconds > 0:
            self._ready.append(timer)
            return timer
        timer.call_id = self._host.call("sleep", "asyncio.sleep", (delay if type(delay) is int else seconds,))
        timer._scheduled = True  # type: ignore[attr-defined]
        self._expect(timer.call_id, lambda value, error: self._ready.append(timer))
        return timer

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """The same for a moment of `time`."""
        now = self.time() if self._now is None else self._now
        return self.call_later(when - now, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if isinstance(handle, _Timer) and handle.call_id is not None:
            self.forget(handle.call_id)

    # --- turning

    def _run_once(self) -> None:
        self._now = None
        while not self._ready and not self._stopping:
            if not self._expected:
                raise RuntimeError("the script awaits something that nothing will ever answer")
            self._host.exchange(sorted(self._expected))
        for _ in range(len(self._ready)):
            if not self._ready:
                return  # a turn inside this one took them
            handle = self._ready.popleft()
            if not handle._cancelled:
                handle._run()

    def create_future(self) -> asyncio.Future[Any]:
        """A future that is found in the same place of a set in every process."""
        return _Future(loop=self)

    def run_until_complete(self, future: Any) -> Any:
        """Turn until it is done, also while another loop turns, or this one."""
        if not self.is_running():
            with nowhere():
                return super().run_until_complete(future)
        waited = asyncio.ensure_future(future, loop=self)
        with nowhere():
            events._set_running_loop(self)
            while not waited.done():
                self._run_once()
        return waited.result()

    # --- what other loops do with threads, sockets and logs

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Call it at once: there are no threads."""
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Nobody reads a log here; what matters is raised where it is awaited."""

    def _write_to_self(self) -> None:
        """There is no thread to wake."""

    def _process_events(self, event_list: Any) -> None:
        """There are no sockets."""


async def answer_to(call_id: int) -> Any:
    """What a script gets when it calls a tool: the call is made already, this waits for its answer."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, Loop):
        raise RuntimeError("tools can be awaited in the event loop of asyncio only")
    future = loop.awaited(call_id)
    try:
        return await future
    finally:
        loop.forget(call_id)


def install(host: Host) -> None:
    """Let asyncio make these loops, and `asyncio.run` work anywhere in a script."""
    asyncio.new_event_loop = events.new_event_loop = lambda: Loop(host)
    real_run: Callable[..., Any] = asyncio.runners.run

    def run(main: Coroutine[Any, Any, Any], *, debug: bool | None = None, loop_factory: Any = None) -> Any:
        """Execute the coroutine and return the result."""
        with nowhere():
            return real_run(main, debug=debug)

    asyncio.run = run
    # `as_completed` makes its tasks in the order of a set of coroutines, which is that of their addresses.
    asyncio.tasks.set = _ordered  # type: ignore[attr-defined]


@contextlib.contextmanager
def nowhere() -> Iterator[None]:
    """As if no loop were running here: another one may turn meanwhile."""
    outer = events._get_running_loop()
    if outer is None:
        yield
        return
    task = asyncio.current_task()
    if task is not None:
        asyncio.tasks._leave_task(outer, task)
    events._set_running_loop(None)
    try:
        yield
    finally:
        events._set_running_loop(outer)
        if task is not None:
            asyncio.tasks._enter_task(outer, task)


def _ordered(*parts: Iterable[Any]) -> Any:
    return dict.fromkeys(*parts) if parts else set()


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
