"""Runs scripts in this process and speaks with the host: the guest of every full-Python sandbox.

`prepare` once in a process, then `serve`. A host frame says what to run or what was answered; a guest frame
goes out only in reply, with a number that grows by one. The host trusts nothing that comes from here: the
walls round this process are the boundary, and what this module refuses it refuses to be helpful.

This file and its neighbours (`loop`, `names`, `prints`, `script`, `values`, `world`) are standard library
only, import nothing of ours and run by path with any Python from 3.11.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import functools
import gc
import importlib.util
import io
import itertools
import linecache
import os
import struct
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from . import loop, names, prints, script, values, world
else:

    def _beside(name: str) -> types.ModuleType:
        """A neighbour of this file, under a name no package has."""
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
        spec = importlib.util.spec_from_file_location(f"_oneturn_{name}", path)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    _names = ("loop", "names", "prints", "script", "values", "world")
    loop, names, prints, script, values, world = map(_beside, _names)

_HEADER = struct.Struct(">I")
_LARGEST = 64 * 1024 * 1024 - 4096  # bytes of one frame
_CHUNK = 64 * 1024  # bytes of one read; room for twice that would be mapped anew each time
# With so much unsaid, calls go out although the script could go on: the host may want to stop a flood.
_QUEUED_CALLS, _QUEUED_CHARS = 256, 16 * 1024 * 1024
_OWN_DEPTH = 200  # frames the guest itself may need below those of the script
_RESERVE = 1 << 20  # bytes of address space, never touched, given up when memory ends, to say so
_MAX_NAME = 1_000
_NESTED = 100  # scripts of a session that ended in the middle, and whose frames are still there

_P = ParamSpec("_P")
_R = TypeVar("_R")
Confine = Callable[[Mapping[str, Any]], None]


def prepare() -> None:
    """Make time and chance deterministic, and asyncio the host's. Once, before any script and any fork.

    Raises:
        RuntimeError: This Python cannot be made deterministic.
    """
    world.prepare()
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None


def serve(fd: int, confine: Confine, out: int | None = None) -> None:
    """Say `ready` on `fd`, confine this process, run scripts until the host closes the connection.

    Args:
        fd: A connected stream; frames come from it.
        confine: Called once with the `limits` of the first start frame, before anything of the script is
            looked at. Whatever it raises ends the guest with a `refused` frame; else `confined` is said.
        out: Where frames go to, when not to `fd`.
    """
    wire = Wire(fd, fd if out is None else out)
    wire.send("ready", "")
    start = wire.receive()
    if start is None:
        return
    try:
        confine(start["limits"])
    except BaseException as error:
        wire.send("refused", f',"why":{values.quoted(script.message(error))}')
        return
    wire.send("confined", "")  # from here on it is the script that speaks, and nothing is believed
    Guest(wire).serve(start)


class Wire:
    """Frames to and from the host."""

    def __init__(self, fd: int, out: int) -> None:
        self._in = fd
        self._out = out
        self._number = 0

    def send(self, op: str, rest: str) -> None:
        """One frame; `rest` are further JSON members. A host that has gone ends this process."""
        content = f'{{"op":"{op}","n":{self._number}{rest}}}'.encode("ascii")
        left = memoryview(_HEADER.pack(len(content)) + content)
        self._number += 1
        try:
            while left:
                left = left[os.write(self._out, left) :]
        except OSError:
            os._exit(1)

    def receive(self) -> dict[str, Any] | None:
        """The next frame of the host; None when it has closed the connection."""
        content = self._content()
        if content is None:
            return None
        frame: dict[str, Any] = values.read(content)
        self._number = frame["n"] + 1
        return frame

    def _content(self) -> bytes | None:
        parts, here = [], 0
        wanted = _HEADER.size  # until the header is there
        while True:
            try:
                part = os.read(self._in, _CHUNK)
            except OSError:
                return None
            if not part:
                return None
            parts.append(part)
            here += len(part)
            if here >= wanted == _HEADER.size:
                wanted += _HEADER.unpack_from(parts[0] if len(parts) == 1 else b"".join(parts))[0]
            if here >= wanted > _HEADER.size:  # the host sends nothing before it has its answer
                return b"".join(parts)[_HEADER.size :]


class Ended(BaseException):
    """The run is over: the host has its end, and nothing of the script goes on."""


class Guest:
    """A process that runs one script, or those of one session: the same variables, a new run each time."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._run: Run | None = None
        self._module = types.ModuleType("__main__")
        sys.modules["__main__"] = self._module
        own = {script.VALUE: lambda value: self._now().keep(value), script.LEFT: lambda: self._now().left}
        self._names = names.Names(self._surface, self._final_answer, own)
        self._module.__dict__["__builtins__"] = self._names.mapping
        self._count = self._nested = 0
        self._ids = itertools.count(1)  # of one session: a call left behind is not taken for a later one
        loop.install(self)
        names.withdraw()
        world.ask = self.ask

    # --- what the loop, the clocks and the names ask of the run under way

    def _now(self) -> Run:
        if self._run is None:
            raise Ended
        return self._run

    def call(self, kind: str, name: str, args: tuple[Any, ...]) -> int:
        """Make a call; its id."""
        return self._now().call(kind, name, args, {})

    def ask(self, kind: str, name: str, args: tuple[Any, ...]) -> Any:
        """Make a call and block for its answer."""
        return self._now().ask(kind, name, args, {})

    def exchange(self, pending: list[int]) -> None:
        """Block until the host has said something."""
        self._now().exchange(pending)

    def expect(self, call_id: int, take: loop.Take) -> None:
        """Say who takes an answer."""
        self._now().expect(call_id, take)

    def drop(self, call_id: int) -> None:
        """Say that nobody waits for an answer any more."""
        if self._run is not None:
            self._run.drop(call_id)

    def _surface(self, path: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        run = self._now()
        if path.startswith(f"{names.RUNTIME}."):
            value = run.ask("runtime", path[len(names.RUNTIME) + 1 :], args, kwargs)
            return _given(value) if script.is_awaited() else value
        answer: Any = loop.answer_to(run.call("tool", path, args, kwargs))
        answer.__name__ = answer.__qualname__ = path
        return answer

    def _final_answer(self, *args: Any, **kwargs: Any) -> None:
        """End the run at once with a value."""
        if len(args) != 1 or kwargs:
            raise TypeError("final_answer(value) takes exactly one value")
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("final_answer(value) ends the script's main thread, and this is another one")
        self._now().finish(args[0])
        if self._nested < _NESTED:
            # Nothing of the script goes on, not even a `finally`: a session's next script runs from here.
            self._nested += 1
            with loop.nowhere():
                self.serve(None)
            os._exit(0)
        raise Ended

    # --- running

    def serve(self, start: Mapping[str, Any] | None) -> None:
        """Run a script, if there is one yet, and those that follow, until the host closes the connection."""
        while True:
            if start is not None:
                self.run(start)
            start = self._wire.receive()
            if start is None:
                return

    def run(self, start: Mapping[str, Any]) -> None:
        """Run one script to its end and tell the host."""
        self._count += 1
        name = "script.py" if self._count == 1 else f"script-{self._count}.py"
        run = self._run = Run(self._wire, self._ids, start, script.Source(start["source"], name))
        self._names.offer(start)
        streams = {"stdin": io.StringIO(), "stdout": run.prints, "stderr": run.prints}
        vars(sys).update(streams, **{f"__{each}__": stream for each, stream in streams.items()}, argv=[name])
        os.putenv("TZ", "UTC0")  # the environment was emptied since `prepare`
        world.seed(start["seed"])
        gc.collect()
        reserve = [bytes(_RESERVE)]
        try:
            self._script(run, start["source"].splitlines(True))
            run.finish(run.value)
        except Ended:
            pass
        except BaseException as error:
            reserve.clear()
            if script.is_success(error):
                run.finish(run.value)
            else:
                run.fail(error)
        finally:
            self._run = None

    def _script(self, run: Run, lines: list[str]) -> None:
        sys.setrecursionlimit(20_000)
        run.source.compile()
        filename = run.source.filename
        linecache.cache[filename] = (sum(map(len, lines)), None, lines, filename)
        sys.setrecursionlimit(_depth() + run.limits["recursion"] + _OWN_DEPTH // 4)
        turning = loop.Loop(self)
        asyncio.set_event_loop(turning)
        try:
            turning.run_until_complete(run.to_end(self._module.__dict__))
        finally:
            turning.close()


def _alone(method: Callable[Concatenate[Run, _P], _R]) -> Callable[Concatenate[Run, _P], _R]:
    """One thread at a time: with `threading` among the imports a script has more than one."""

    @functools.wraps(method)
    def alone(self: Run, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self.lock:
            return method(self, *args, **kwargs)

    return alone


class Run:
    """One run: its calls, their answers, what it printed, and its end."""

    def __init__(
        self, wire: Wire, ids: Iterator[int], start: Mapping[str, Any], source: script.Source
    ) -> None:
        self.lock = threading.RLock()
        self.limits: Mapping[str, Any] = start["limits"]
        self.source = source
        self._packer = values.Packer(self.limits)
        self.prints = prints.Prints(self.limits["printed_chars"])
        self.value: Any = None
        self.left = False
        self._wire = wire
        self._waits: Any = None
        self._ended = False
        self._ids = ids
        self._queue: list[str] = []
        self._queued_chars = self._queued_nodes = 0
        self._dropped: list[int] = []
        self._open: set[int] = set()
        self._pauses: set[int] = set()
        self._takes: dict[int, loop.Take] = {}
        self._early: dict[int, tuple[Any, BaseException | None]] = {}

    async def to_end(self, variables: dict[str, Any]) -> None:
        """Run the script, all of it inside a loop whether it awaits anything or not."""
        self._waits = eval(self.source.code, variables)  # noqa: S307  this is what a guest is for
        if self._waits is not None:
            await self._waits

    def keep(self, value: Any) -> None:
        """The value of the run so far."""
        self.value, self.left = value, True

    # --- calls

    @_alone
    def call(self, kind: str, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
        """Queue a call, as its arguments are now; its id."""
        if self._ended:
            raise Ended
        where = self.source.now() or (0, 0)
        text, nodes = self._packed(kind, name, args, kwargs)
        if (
            len(self._queue) >= _QUEUED_CALLS
            or self._queued_chars + len(text) > _QUEUED_CHARS
            or self._queued_nodes + nodes > self.limits["nodes"]
        ):
            self.exchange(())
        call_id = next(self._ids)
        self._open.add(call_id)
        if kind == "sleep":
            self._pauses.add(call_id)
        self._queue.append(f"[{call_id},{text},{where[0]},{where[1]}]")
        self._queued_chars += len(text)
        self._queued_nodes += nodes
        return call_id

    def _packed(
        self, kind: str, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[str, int]:
        what = f"an argument of {name}"
        nodes = 0
        texts: list[str] = []
        for value in (*args, *kwargs.values()):
            text, more = self._packer.text(value, what)
            texts.append(text)
            nodes += more
        if nodes > self.limits["nodes"]:
            raise ValueError(
                f"the arguments of {name} have more than {self.limits['nodes']:,} nodes together"
            )
        named = (f"{values.quoted(key)}:{text}" for key, text in zip(kwargs, texts[len(args) :], strict=True))
        head = f'"{kind}",{values.quoted(name[:_MAX_NAME])}'
        packed = f"{head},[{','.join(texts[: len(args)])}],{{{','.join(named)}}}"
        if len(packed) > _LARGEST - _QUEUED_CHARS:
            raise ValueError(f"the arguments of {name} are too large to send")
        return packed, nodes

    @_alone
    def ask(self, kind: str, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Make a call and block until it is answered; other answers are kept for whoever waits."""
        call_id = self.call(kind, name, args, kwargs)
        while call_id not in self._early:
            self.exchange((call_id,))
        value, error = self._early.pop(call_id)
        if error is not None:
            raise error
        return value

    @_alone
    def expect(self, call_id: int, take: loop.Take) -> None:
        """Say who takes an answer; taken at once when it is here already."""
        if call_id in self._early:
            take(*self._early.pop(call_id))
        elif call_id in self._open:
            self._takes[call_id] = take
        else:
            take(None, RuntimeError("an earlier script made this call, and its answer is gone"))

    @_alone
    def drop(self, call_id: int) -> None:
        """Tell the host, with the next frame, that an answer is no longer wanted."""
        if call_id in self._open:
            self._open.discard(call_id)
            self._pauses.discard(call_id)
            self._takes.pop(call_id, None)
            self._dropped.append(call_id)

    @_alone
    def exchange(self, pending: Iterable[int]) -> None:
        """Tell the host everything so far, block for what it says, and hand that out in its order."""
        if self._ended:
            raise Ended
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(limit + _OWN_DEPTH)  # half an exchange would be worse than a deep one
        try:
            calls, dropped = ",".join(self._queue), ",".join(map(str, self._dropped))
            waits = ",".join(str(each) for each in pending if each in self._open)
            self._wire.send(
                "wait", f',"calls":[{calls}],"pending":[{waits}],"dropped":[{dropped}]{self.prints.json()}'
            )
            self._queue.clear()
            self._dropped.clear()
            self._queued_chars = self._queued_nodes = 0
            # Of what came together, pauses are over last: a result in time beats its own timeout.
            answers = self._answers()
            if self._pauses:
                answers.sort(key=lambda answer: answer[0] in self._pauses)
            for answer in answers:
                self._deliver(*answer)
        finally:
            with contextlib.suppress(RecursionError):
                sys.setrecursionlimit(limit)

    def _answers(self) -> list[list[Any]]:
        try:
            frame = self._wire.receive()
        except MemoryError as error:  # half an answer is read, and there is no way back
            self._end("null", error, None)
            os._exit(0)
        if frame is None:
            os._exit(0)
        return frame["answers"]  # type: ignore[no-any-return]

    def _deliver(self, call_id: int, value: Any, *failure: str) -> None:
        if call_id not in self._open:
            return  # dropped, and the host did not know yet
        self._open.discard(call_id)
        self._pauses.discard(call_id)
        error = _failure(*failure) if failure else None
        take = self._takes.pop(call_id, None)
        if take is not None:
            take(value, error)
        else:
            self._early[call_id] = (value, error)

    # --- the end

    @_alone
    def finish(self, value: Any) -> None:
        """End with a value."""
        if self._ended:
            return
        self._tell_calls()
        try:
            text, _ = self._packer.text(value, "the script's value")
            if len(text) > _LARGEST - _QUEUED_CHARS:
                raise ValueError("the script's value is too large to send; send less, or a summary")
        except BaseException as error:
            self._end("null", error, None)
        else:
            self._end(text, None, None)

    @_alone
    def fail(self, error: BaseException) -> None:
        """End with what the script raised."""
        if self._ended:
            return
        where = self.source.place(error)
        if where is None and self._waits is not None:
            where = self.source.waiting(self._waits)
        self._tell_calls()
        self._end("null", error, where)

    def _tell_calls(self) -> None:
        if self._queue:
            self.exchange(())

    def _end(self, value: str, error: BaseException | None, where: script.Where | None) -> None:
        self._ended = True
        told = "null"
        if error is not None:
            line, column = where or (0, 0)
            kind, text = values.quoted(values.type_name(error)), values.quoted(script.message(error))
            told = f"[{kind},{text},{line},{column}]"
        self._wire.send("done", f',"value":{value},"error":{told}{self.prints.json()}')


async def _given(value: Any) -> Any:
    return value


def _depth() -> int:
    frame: types.FrameType | None = sys._getframe()
    depth = 0
    while frame is not None:
        depth += 1
        frame = frame.f_back
    return depth


def _failure(kind: str, message: str) -> Exception:
    """The builtin exception a failure is raised as. Some cannot be made from a text, some not awaited."""
    found = getattr(builtins, kind, None)
    if (
        isinstance(found, type)
        and issubclass(found, Exception)
        and found not in (StopIteration, StopAsyncIteration)
    ):
        with contextlib.suppress(TypeError):
            return found(message)
    return RuntimeError(message)
