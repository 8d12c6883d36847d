"""Stand-ins for the two ends of a run: a sandbox that runs no code, and sources a test controls.

`FakeSandbox` plays a script written as a Python generator, so what surrounds a sandbox can be
tested step by step without an interpreter. `ManualSource` holds every call until the test answers
it, so overlap and waiting can be tested without a clock. Neither isolates anything.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import SandboxBusy, SandboxClosed, SessionLost
from ..sandbox.base import Script
from ..tools.base import Result
from ..types import (
    Answer,
    Call,
    Control,
    Finished,
    IsolationLevel,
    Limits,
    ScriptError,
    Step,
    TierName,
    Tool,
    Waiting,
)

FakeScript = Callable[["FakeRun"], Generator[Waiting, Mapping[int, Answer], Any]]
"""A script for `FakeSandbox`: yields steps, is sent the answers of each resume, returns its value."""


class ScriptFailed(Exception):
    """Raise it in a fake script to end the script with this error."""

    def __init__(self, kind: str, message: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class ScriptKilled(BaseException):
    """Raised by `FakeRun.compute` when the run is killed."""


def announce(*calls: Call, prints: str = "") -> Waiting:
    """A step that makes calls and can go on without their answers."""
    return Waiting(calls, (), prints)


def wait_for(*call_ids: int, prints: str = "") -> Waiting:
    """A step that makes no call and needs any one of these answers."""
    return Waiting((), call_ids, prints)


def ask(*calls: Call, prints: str = "") -> Waiting:
    """A step that makes calls and needs any one of their answers."""
    return Waiting(calls, tuple(call.id for call in calls), prints)


class FakeRun:
    """One run of a fake script. Counts what was done to it.

    Attributes:
        script: What the runtime gave to `start`.
        seed: The seed the run was opened with.
        caller: Whose run it is.
        variables: What a fake script may keep for the next run of its session; empty without one.
        computing: Set while the script is in `compute`.
        resumed: The ids of each batch of answers, in order.
        kills: How often `kill` was called.
        closes: How often `close` was called.
    """

    def __init__(
        self,
        play: FakeScript,
        limits: Limits,
        seed: int,
        *,
        caller: str = "",
        session: FakeSession | None = None,
    ) -> None:
        self.limits = limits
        self.seed = seed
        self.caller = caller
        self.variables: dict[str, Any] = {} if session is None else session.variables
        self._session = session
        self.script = Script("")
        self.computing = threading.Event()
        self.resumed: list[tuple[int, ...]] = []
        self.kills = 0
        self.closes = 0
        self._play = play
        self._killed = threading.Event()
        self._steps: Generator[Waiting, Mapping[int, Answer], Any] | None = None

    def compute(self) -> None:
        """Be busy, inside a fake script, until the run is killed."""
        self.computing.set()
        self._killed.wait()
        raise ScriptKilled

    def start(self, script: Script) -> Step:
        """Play the script to its first step."""
        if self._killed.is_set():
            raise SandboxClosed("This run was stopped before it started.")
        self.script = script
        self._steps = self._play(self)
        return self._step(self._steps, None)

    def resume(self, answers: Sequence[Answer]) -> Step:
        """Send the answers to the script and play it to its next step."""
        if self._steps is None:
            raise SandboxClosed("This run has ended and takes no more answers.")
        self.resumed.append(tuple(answer.call_id for answer in answers))
        return self._step(self._steps, {answer.call_id: answer for answer in answers})

    def kill(self) -> None:
        """Stop the script. A `compute` under way ends, and a session loses its variables."""
        self.kills += 1
        if self._session is not None:
            self._session.lost = "its last script was stopped"
        self._killed.set()

    def close(self) -> None:
        """Forget the script."""
        self.closes += 1
        if self._session is not None:
            self._session.running = False
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()

    def _step(
        self, steps: Generator[Waiting, Mapping[int, Answer], Any], answers: Mapping[int, Answer] | None
    ) -> Step:
        try:
            if self._killed.is_set():
                raise ScriptKilled
            return next(steps) if answers is None else steps.send(answers)
        except StopIteration as end:
            ended = Finished(end.value)
        except ScriptFailed as error:
            ended = Finished(error=ScriptError(error.kind, str(error)))
        except ScriptKilled:
            ended = Finished(error=ScriptError("SandboxCrashed", "the run was killed"))
        self._steps = None
        return ended


class FakeSession:
    """A session of `FakeSandbox`: its runs share one dict of variables.

    Attributes:
        variables: What the fake scripts kept.
        lost: Set it to make the next `open` raise `SessionLost`.
        running: Whether a run of it is open.
        closed: Whether `close` was called.
    """

    def __init__(self, sandbox: FakeSandbox, caller: str) -> None:
        self.variables: dict[str, Any] = {}
        self.lost = ""
        self.running = False
        self.closed = False
        self._sandbox = sandbox
        self._caller = caller

    def open(self, limits: Limits, seed: int) -> FakeRun:
        """The next run."""
        if self.lost:
            raise SessionLost(f"The session is gone: {self.lost}. Start a new session.")
        if self.closed:
            raise SandboxClosed("This session was closed. Start a new one.")
        if self.running:
            raise SandboxBusy("This session runs a script already; wait until that has ended.")
        self.running = True
        return self._sandbox.begin(limits, seed, self._caller, self)

    def close(self) -> None:
        """Forget the variables."""
        self.closed = True
        self.variables.clear()


class FakeSandbox:
    """A sandbox that plays a generator and runs no code at all. It isolates nothing.

    ```python
    def play(run: FakeRun):
        answers = yield ask(Call(1, "tool", "add", (1, 2)))
        return answers[1].value

    sandbox = FakeSandbox(play)
    ```

    An exception other than `ScriptFailed` leaves `start` or `resume` as it is: that is how a test
    makes the machinery fail.

    Args:
        play: Called for each run; it may look at `run.script.source` to tell scripts apart.
        name: The tier it stands in for.
        isolation: The level it says it has.
        controls: What `controls` gives.
    """

    def __init__(
        self,
        play: FakeScript,
        *,
        name: TierName = "monty",
        isolation: IsolationLevel = "interpreter",
        controls: Sequence[Control] = (),
    ) -> None:
        self.name = name
        self.isolation = isolation
        self._play = play
        self._controls = tuple(controls)
        self.runs: list[FakeRun] = []
        """Every run that was opened, in order."""
        self.sessions: list[FakeSession] = []
        """Every session that was made, in order."""
        self.closed = False

    def open(self, limits: Limits, seed: int, *, caller: str = "") -> FakeRun:
        """A fresh run."""
        return self.begin(limits, seed, caller, None)

    def session(self, *, caller: str = "") -> FakeSession:
        """Variables for further runs of one caller."""
        session = FakeSession(self, caller)
        self.sessions.append(session)
        return session

    def begin(self, limits: Limits, seed: int, caller: str, session: FakeSession | None) -> FakeRun:
        """A run, of a session or of none."""
        run = FakeRun(self._play, limits, seed, caller=caller, session=session)
        self.runs.append(run)
        return run

    def controls(self) -> Sequence[Control]:
        """The controls it was made with. Nothing is tried."""
        return self._controls

    def close(self) -> None:
        """Note that the sandbox was closed."""
        self.closed = True


class FakeSource:
    """A source whose calls a function performs.

    Args:
        name: The source's name, the same as `Tool.source` of its tools.
        perform: Gets the tool and the arguments; its value, awaited if it is awaitable, is the
            result. It may raise anything.
        tools: What `list_tools` gives.
        secrets: What `secrets` gives.
    """

    def __init__(
        self,
        name: str,
        perform: Callable[[Tool, Mapping[str, Any]], Any | Awaitable[Any]],
        *,
        tools: Sequence[Tool] = (),
        secrets: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._perform = perform
        self._tools = tuple(tools)
        self._secrets = tuple(secrets)

    async def open(self) -> None:
        """Nothing to start."""

    async def list_tools(self) -> Sequence[Tool]:
        """The tools it was made with."""
        return self._tools

    async def call(self, tool: Tool, arguments: Mapping[str, Any]) -> Result:
        """Perform one call. A `Result` passes as it is; any other value is a structured one."""
        value = self._perform(tool, arguments)
        if inspect.isawaitable(value):
            value = await value
        return value if isinstance(value, Result) else Result(value, has_structured=True)

    def on_change(self, notify: Callable[[], None]) -> None:
        """The tools never change."""

    def secrets(self) -> Sequence[str]:
        """The secrets it was made with."""
        return self._secrets

    async def close(self) -> None:
        """Nothing to stop."""


@dataclass(eq=False)
class ManualCall:
    """A call that waits for the test to answer it. `cancelled` says that it was given up."""

    tool: Tool
    arguments: Mapping[str, Any]
    cancelled: bool = False
    _answer: asyncio.Future[Any] = field(default_factory=asyncio.Future)

    def answer(self, value: Any = None) -> None:
        """Let the call end with this value."""
        self._answer.set_result(value)

    @property
    def answered(self) -> bool:
        """Whether `answer` or `fail` was called, or the call was given up."""
        return self._answer.done()

    def fail(self, error: BaseException) -> None:
        """Let the call end with this exception."""
        self._answer.set_exception(error)

    async def result(self) -> Any:
        """What the call waits for."""
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.cancelled = True
            raise


class ManualSource(FakeSource):
    """A source that holds every call until the test answers it.

    Attributes:
        open_calls: The calls that were sent and have not ended, oldest first.
        most: The most calls that were open at once.
    """

    def __init__(self, name: str, *, tools: Sequence[Tool] = ()) -> None:
        super().__init__(name, self._hold, tools=tools)
        self.open_calls: list[ManualCall] = []
        self.most = 0
        self._arrived: asyncio.Queue[ManualCall] = asyncio.Queue()

    async def next(self) -> ManualCall:
        """The next call, in the order they were sent; waits for it."""
        return await self._arrived.get()

    async def _hold(self, tool: Tool, arguments: Mapping[str, Any]) -> Any:
        call = ManualCall(tool, arguments)
        self.open_calls.append(call)
        self.most = max(self.most, len(self.open_calls))
        self._arrived.put_nowait(call)
        try:
            return await call.result()
        finally:
            self.open_calls.remove(call)
