"""The loop that joins sandbox and gate, with a sandbox that plays prepared steps."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

from oneturn.errors import SandboxBusy, SandboxError
from oneturn.gate import Dispatcher, Redactor
from oneturn.journal.artifacts import ArtifactStore
from oneturn.run.drive import Order
from oneturn.runtime import Runtime
from oneturn.sandbox.router import Router
from oneturn.testing import (
    FakeRun,
    FakeSandbox,
    FakeScript,
    ManualSource,
    ScriptFailed,
    announce,
    ask,
    wait_for,
)
from oneturn.tools.scope import Allow, Scope
from oneturn.types import Answer, Call, CallRecord, Limits, Outcome, Position, Tool, Waiting
from oneturn.view import View

ANY = {"type": "object", "properties": {"value": {}}}
READ = Tool("lab.read", source="lab", effect="read", input_schema=ANY)
WRITE = Tool("lab.write", source="lab", effect="write", input_schema=ANY)
HIDDEN = Tool("lab.hidden", source="lab", input_schema=ANY)
Steps = Generator[Waiting, Mapping[int, Answer], Any]


def read(call_id: int, *args: Any, **kwargs: Any) -> Call:
    return Call(call_id, "tool", "lab.read", args, kwargs, Position(call_id, 1, f"line {call_id}"))


def write(call_id: int, *args: Any) -> Call:
    return Call(call_id, "tool", "lab.write", args, {}, Position(call_id, 1, f"line {call_id}"))


class Lab:
    """A runtime over one fake script, with what a test needs to steer and inspect it."""

    def __init__(self, play: FakeScript, *, threads: int | None = None, **options: Any) -> None:
        self.sandbox = FakeSandbox(play)
        self.source = ManualSource("lab")
        self.runtime = Runtime(
            router=Router.only(self.sandbox),
            dispatcher=Dispatcher(Redactor(["kJ8x2Qp9"]), 30.0),
            sources={"lab": self.source}.__getitem__,
            artifacts=ArtifactStore(),
            **{"runs": 4, **options},
        )
        if threads is not None:
            self.runtime.parts.threads.shutdown()
            self.runtime.parts.threads = ThreadPoolExecutor(threads)
        allow = [Allow.of(["lab.read", "lab.write"])]
        self.view = View(Scope([READ, WRITE, HIDDEN], allow))

    async def execute(self, code: str = "1", **limits: Any) -> Outcome:
        return await self.runtime.execute(Order(code, self.view, Limits(**limits), "ann"))

    def start(self, code: str = "1", **limits: Any) -> asyncio.Task[Outcome]:
        return asyncio.create_task(self.execute(code, **limits))

    async def computing(self) -> None:
        """Wait until the first run's script computes."""
        await until(lambda: any(run.computing.is_set() for run in self.sandbox.runs))

    async def idle(self) -> None:
        """Nothing of any run is left: no run, no open call, no task, no busy thread."""
        assert self.runtime.running == ()
        assert self.source.open_calls == []
        assert all(run.closes for run in self.sandbox.runs)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        threads = self.runtime.parts.threads
        together = asyncio.gather(
            *(asyncio.get_running_loop().run_in_executor(threads, int) for _ in range(threads._max_workers))
        )
        assert await asyncio.wait_for(together, 5) == [0] * threads._max_workers
        gc.collect()


@asynccontextmanager
async def lab(play: FakeScript, **options: Any) -> AsyncIterator[Lab]:
    lab = Lab(play, **options)
    yield lab
    await lab.idle()
    await lab.runtime.close()
    assert lab.sandbox.closed or not lab.sandbox.runs


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something another thread does."""
    while not condition():  # noqa: ASYNC110  there is no event to wait for
        await asyncio.sleep(0.001)


def statuses(outcome: Outcome) -> list[tuple[int, str, str]]:
    return [(record.id, record.tool, record.status) for record in outcome.calls]


# --- the way of a script


async def test_a_value_and_prints_become_an_outcome() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce(prints="a")
        yield announce(prints="b")
        return (1, {"x": None})

    async with lab(play) as here:
        outcome = await here.execute()
        assert outcome.ok
        assert (outcome.value, outcome.prints, outcome.error) == ([1, {"x": None}], "ab", None)
        assert (outcome.status, outcome.caller, outcome.isolation) == ("succeeded", "ann", "interpreter")
        assert outcome.run_id.startswith("run_")


async def test_a_script_error_is_in_the_outcome_redacted() -> None:
    def play(run: FakeRun) -> Steps:
        raise ScriptFailed("ValueError", "key kJ8x2Qp9 in /home/me/x.py")
        yield

    async with lab(play) as here:
        outcome = await here.execute()
        assert outcome.status == "failed"
        assert outcome.error is not None
        assert (outcome.error.kind, outcome.error.message) == ("ValueError", "key [redacted] in [path]")


async def test_what_is_not_python_never_reaches_the_sandbox() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce()

    async with lab(play) as here:
        outcome = await here.execute("x = = 1")
        assert outcome.error is not None
        assert outcome.error.kind == "SyntaxError"
        assert here.sandbox.runs == []


async def test_a_value_that_may_not_cross_is_the_script_s_error() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce()
        return object()

    async with lab(play) as here:
        outcome = await here.execute()
        assert outcome.value is None
        assert outcome.error is not None
        assert outcome.error.kind == "ValueError"
        assert outcome.error.message.startswith("the script's value holds an object")


async def test_each_run_has_its_own_seed_and_the_scope_s_names() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce()

    async with lab(play) as here:
        for _ in range(5):
            await here.execute(
                "await tools.lab.read(1)\ntry:\n    await lab.hidden()\nexcept PermissionError:\n    pass"
            )
        assert len({run.seed for run in here.sandbox.runs}) == 5
        script = here.sandbox.runs[0].script
        assert script.tools == {"lab.read"}
        assert "lab" in script.namespaces
        assert script.globals == {"tools", "lab"}


# --- calls


async def test_calls_are_sent_while_the_script_goes_on() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce(read(1, "a"))
        yield announce(read(2, "b"))
        first = yield wait_for(1, 2)
        rest = {} if len(first) == 2 else (yield wait_for(*({1, 2} - set(first))))
        got = {**first, **rest}
        return [got[1].value, got[2].value]

    async with lab(play) as here:
        task = here.start()
        first, second = await here.source.next(), await here.source.next()
        assert [first.arguments, second.arguments] == [{"value": "a"}, {"value": "b"}]
        second.answer("B")
        first.answer("A")
        outcome = await task
        assert outcome.value == ["A", "B"]
        assert statuses(outcome) == [(1, "lab.read", "ok"), (2, "lab.read", "ok")]


async def test_any_answer_wakes_the_script_and_others_come_later() -> None:
    def play(run: FakeRun) -> Steps:
        order = []
        waiting = {1, 2, 3}
        yield announce(read(1), read(2), read(3))
        while waiting:
            answers = yield wait_for(*sorted(waiting))
            order += sorted(answers)
            waiting -= set(answers)
        return order

    async with lab(play) as here:
        task = here.start()
        calls = [await here.source.next() for _ in range(3)]
        for index in (2, 0, 1):
            calls[index].answer()
            resumed = here.sandbox.runs[0].resumed
            await until(lambda done=(index + 1,), resumed=resumed: done in resumed)
        outcome = await task
        assert outcome.value == [3, 1, 2]
        assert here.sandbox.runs[0].resumed == [(), (3,), (1,), (2,)]


async def test_refused_calls_are_answered_and_recorded_but_never_sent() -> None:
    def play(run: FakeRun) -> Steps:
        calls = (
            Call(1, "tool", "lab.hidden"),
            Call(2, "tool", "lab.nope"),
            read(3, 1, 2, 3),
            Call(4, "tool", "hidden"),
        )
        answers = yield ask(*calls)
        return [answers[call.id].failure.kind for call in calls]

    async with lab(play) as here:
        outcome = await here.execute()
        assert outcome.value == ["PermissionError", "NameError", "TypeError", "PermissionError"]
        assert [record.status for record in outcome.calls] == ["refused"] * 4
        assert all(record.error for record in outcome.calls)
        assert here.source.most == 0


async def test_a_failed_call_is_a_failure_answer_and_is_recorded() -> None:
    def play(run: FakeRun) -> Steps:
        answers = yield ask(read(1))
        return [answers[1].failure.kind, answers[1].failure.message]

    async with lab(play) as here:
        task = here.start()
        (await here.source.next()).fail(PermissionError("not yours"))
        outcome = await task
        assert outcome.value == ["PermissionError", "lab.read: not yours"]
        assert statuses(outcome) == [(1, "lab.read", "failed")]
        assert outcome.calls[0].error == "lab.read: not yours"
        assert outcome.calls[0].position == Position(1, 1, "line 1")


async def test_clock_sleep_and_runtime_need_no_source() -> None:
    def play(run: FakeRun) -> Steps:
        clock = yield ask(Call(1, "clock", "wall"), Call(2, "clock", "monotonic"))
        slept = yield ask(Call(3, "sleep", "asyncio.sleep", (0.001,)))
        tools = yield ask(Call(4, "runtime", "list_tools"))
        wrong = yield ask(Call(5, "runtime", "nope"), Call(6, "runtime", "list_tools", (1, 2)))
        return [
            clock[1].value > 1e9,
            0 <= clock[2].value < 1e5,
            slept[3].failure,
            [tool["name"] for tool in tools[4].value],
            [wrong[5].failure.kind, wrong[6].failure.kind],
        ]

    async with lab(play) as here:
        outcome = await here.execute()
        assert outcome.error is None
        assert outcome.value == [
            True,
            True,
            None,
            ["lab.read", "lab.write"],
            ["AttributeError", "TypeError"],
        ]
        assert outcome.calls == ()


async def test_arguments_and_results_are_copies() -> None:
    sent = {"a": [1]}

    def play(run: FakeRun) -> Steps:
        yield announce(read(1, sent))
        sent["a"].append(2)
        answers = yield wait_for(1)
        answers[1].value["b"].append(4)
        return answers[1].value

    async with lab(play) as here:
        task = here.start()
        call = await here.source.next()
        assert call.arguments == {"value": {"a": [1]}}
        held = {"b": [3]}
        call.answer(held)
        outcome = await task
        assert outcome.value == {"b": [3, 4]}
        assert held == {"b": [3]}


# --- limits


async def test_no_more_calls_than_allowed_are_in_flight() -> None:
    def play(run: FakeRun) -> Steps:
        got: dict[int, Answer] = {}
        yield announce(*(read(number) for number in range(1, 31)))
        while len(got) < 30:
            got.update((yield wait_for(*(number for number in range(1, 31) if number not in got))))
        return len(got)

    async with lab(play) as here:
        task = here.start(concurrent_calls=4)
        for _ in range(30):
            call = await here.source.next()
            if here.source.most < 4:
                continue
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(here.source.open_calls) <= 4
            here.source.open_calls[0].answer()
            assert call is not None
        while not task.done():
            for call in here.source.open_calls:
                if not call.answered:
                    call.answer()
            await asyncio.sleep(0.001)
        assert (await task).value == 30
        assert here.source.most == 4


async def test_calls_over_the_number_are_refused() -> None:
    def play(run: FakeRun) -> Steps:
        kinds = []
        for number in range(1, 4):
            answers = yield ask(read(number))
            failure = answers[number].failure
            kinds.append(failure.kind if failure else None)
        return kinds

    async with lab(play) as here:
        task = here.start(calls=2)
        for _ in range(2):
            (await here.source.next()).answer()
        outcome = await task
        assert outcome.value == [None, None, "PermissionError"]
        assert [record.status for record in outcome.calls] == ["ok", "ok", "refused"]


async def test_a_run_of_refused_calls_is_ended() -> None:
    def play(run: FakeRun) -> Steps:
        for number in range(1, 100):
            yield ask(Call(number, "tool", "lab." + "n" * 10_000))

    async with lab(play) as here:
        outcome = await here.execute(calls=5)
        assert outcome.error is not None
        assert outcome.error.kind == "PermissionError"
        assert "6 calls" in outcome.error.message
        assert len(outcome.calls) == 6
        assert len(repr(outcome)) < 10_000


async def test_open_pauses_are_bounded() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce(*(Call(number, "sleep", "asyncio.sleep", (1000.0,)) for number in range(1_000)))
        answers = yield ask(Call(1_000, "sleep", "asyncio.sleep", (1000.0,)))
        return answers[1_000].failure.message

    async with lab(play) as here:
        assert "1,000 pauses" in (await here.execute()).value


async def test_a_script_that_only_makes_pauses_is_ended() -> None:
    def play(run: FakeRun) -> Steps:
        for number in itertools.count():
            yield announce(Call(number, "sleep", "asyncio.sleep", (1000.0,)))

    async with lab(play) as here:
        outcome = await here.execute(calls=5)
        assert "6 calls of this run were refused" in outcome.error.message


async def test_what_a_stopped_run_still_calls_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def play(run: FakeRun) -> Steps:
        yield ask(*(read(number) for number in range(1, 31)))

    async with lab(play) as here:
        loop, gate = asyncio.get_running_loop(), here.runtime.parts.gate
        decide = gate.decide

        async def cancel() -> None:
            here.runtime.cancel(here.runtime.running[0])

        def stops(*call: Any) -> Any:
            asyncio.run_coroutine_threadsafe(cancel(), loop).result()
            return decide(*call)

        monkeypatch.setattr(gate, "decide", stops)
        outcome = await here.execute()
        assert (outcome.status, len(outcome.calls)) == ("cancelled", 1)


async def test_results_over_the_run_s_bytes_are_failures() -> None:
    def play(run: FakeRun) -> Steps:
        kinds = []
        for number in range(1, 4):
            answers = yield ask(read(number))
            failure = answers[number].failure
            kinds.append(failure.kind if failure else None)
        return kinds

    async with lab(play) as here:
        task = here.start(run_bytes=1_000)
        for _ in range(3):
            (await here.source.next()).answer("x" * 400)
        assert (await task).value == [None, None, "ValueError"]


# --- holding nothing


async def test_a_run_that_waits_holds_no_thread() -> None:
    def play(run: FakeRun) -> Steps:
        answers = yield ask(read(1))
        return answers[1].value

    async with lab(play, threads=1, runs=8) as here:
        tasks = [here.start() for _ in range(8)]
        calls = [await here.source.next() for _ in range(8)]
        for number, call in enumerate(calls):
            call.answer(number)
        outcomes = await asyncio.gather(*tasks)
        assert sorted(outcome.value for outcome in outcomes) == list(range(8))


async def test_places_and_the_queue_are_bounded() -> None:
    def play(run: FakeRun) -> Steps:
        answers = yield ask(read(1))
        return answers[1].value

    async with lab(play, runs=1, queue=1) as here:
        first = here.start()
        call = await here.source.next()
        second = here.start()
        await asyncio.sleep(0)
        with pytest.raises(SandboxBusy, match="waiting already"):
            await here.execute()
        call.answer("one")
        (await here.source.next()).answer("two")
        assert [(await first).value, (await second).value] == ["one", "two"]


async def test_a_run_that_finds_no_place_in_time_is_told_so() -> None:
    def play(run: FakeRun) -> Steps:
        yield ask(read(1))

    async with lab(play, runs=1, patience=0.01) as here:
        first = here.start()
        call = await here.source.next()
        with pytest.raises(SandboxBusy, match="within"):
            await here.execute()
        assert len(here.sandbox.runs) == 1
        call.answer()
        await first


async def test_a_run_cancelled_in_the_queue_leaves_no_trace() -> None:
    def play(run: FakeRun) -> Steps:
        yield ask(read(1))

    async with lab(play, runs=1, queue=1) as here:
        first = here.start()
        call = await here.source.next()
        second = here.start()
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        third = here.start()
        call.answer()
        await first
        (await here.source.next()).answer()
        assert (await third).ok


# --- calls nobody awaits


async def test_a_write_nobody_awaited_is_waited_for() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce(write(1))
        answers = yield ask(read(2))
        return answers[2].value

    async with lab(play) as here:
        task = here.start()
        unawaited, awaited = await here.source.next(), await here.source.next()
        awaited.answer("done")
        done, _ = await asyncio.wait([task], timeout=0.05)
        assert not done
        unawaited.answer("late")
        outcome = await task
        assert outcome.value == "done"
        assert statuses(outcome) == [(1, "lab.write", "ok"), (2, "lab.read", "ok")]
        assert outcome.calls[0].error == "the script did not await it"


async def test_a_read_nobody_awaited_is_cancelled() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce(read(1))
        answers = yield ask(read(2))
        return answers[2].value

    async with lab(play) as here:
        task = here.start()
        unawaited, awaited = await here.source.next(), await here.source.next()
        awaited.answer("done")
        outcome = await task
        assert outcome.value == "done"
        assert unawaited.cancelled
        assert statuses(outcome) == [(1, "lab.read", "cancelled"), (2, "lab.read", "ok")]


async def test_calls_of_a_failed_script_are_settled_too() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce(write(1), read(2))
        yield ask(read(3))
        raise ScriptFailed("ValueError", "enough")

    async with lab(play) as here:
        task = here.start()
        changing, reading, last = [await here.source.next() for _ in range(3)]
        last.answer()
        await until(lambda: reading.cancelled)
        changing.fail(ValueError("it broke"))
        outcome = await task
        assert outcome.status == "failed"
        assert [record.status for record in outcome.calls] == ["failed", "cancelled", "ok"]
        assert outcome.calls[0].error == "lab.write: it broke"


# --- deadlines and cancelling


async def test_the_deadline_ends_a_computing_script() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce()
        run.compute()

    async with lab(play) as here:
        outcome = await asyncio.wait_for(here.execute(timeout=0.05), 5)
        assert outcome.status == "failed"
        assert outcome.error is not None
        assert outcome.error.kind == "TimeoutError"
        assert "0.05 s" in outcome.error.message
        assert outcome.error.hint
        assert here.sandbox.runs[0].kills == 1


async def test_the_deadline_ends_a_waiting_script_at_its_call() -> None:
    def play(run: FakeRun) -> Steps:
        yield ask(write(3), read(4))

    async with lab(play) as here:
        task = here.start(timeout=0.1)
        calls = [await here.source.next(), await here.source.next()]
        outcome = await asyncio.wait_for(task, 5)
        assert outcome.error is not None
        assert outcome.error.kind == "TimeoutError"
        assert outcome.error.position == Position(3, 1, "line 3")
        assert all(call.cancelled for call in calls)
        assert statuses(outcome) == [(3, "lab.write", "unknown"), (4, "lab.read", "cancelled")]
        assert "unknown" in outcome.calls[0].error


async def test_calls_that_still_queue_at_the_deadline_were_never_sent() -> None:
    def play(run: FakeRun) -> Steps:
        yield ask(write(1), write(2))

    async with lab(play) as here:
        outcome = await asyncio.wait_for(here.execute(timeout=0.1, concurrent_calls=1), 5)
        assert statuses(outcome) == [(1, "lab.write", "unknown"), (2, "lab.write", "cancelled")]
        assert here.source.most == 1


async def test_the_deadline_ends_a_write_nobody_awaited() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce(write(1))
        answers = yield ask(read(2))
        return answers[2].value

    async with lab(play) as here:
        task = here.start(timeout=0.2)
        unawaited, awaited = await here.source.next(), await here.source.next()
        awaited.answer("done")
        outcome = await asyncio.wait_for(task, 5)
        assert outcome.value == "done"
        assert unawaited.cancelled
        assert outcome.calls[0].status == "unknown"


async def test_a_tool_that_will_not_be_cancelled_does_not_hold_the_run() -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    def play(run: FakeRun) -> Steps:
        yield ask(write(1))

    here = Lab(play)
    here.source._perform = lambda _tool, _arguments: stubborn()
    outcome = await asyncio.wait_for(here.execute(timeout=0.05), 5)
    assert outcome.error is not None
    assert outcome.error.kind == "TimeoutError"
    assert outcome.calls[0].status == "unknown"
    release.set()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    await here.idle()
    await here.runtime.close()


@pytest.mark.parametrize("cancels", [1, 2, 5])
async def test_cancelling_the_caller_while_the_script_computes(cancels: int) -> None:
    def play(run: FakeRun) -> Steps:
        yield announce()
        run.compute()

    async with lab(play) as here:
        task = here.start()
        await here.computing()
        for _ in range(cancels):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert here.sandbox.runs[0].kills >= 1


@pytest.mark.parametrize("cancels", [1, 2, 5])
async def test_cancelling_the_caller_while_the_script_waits(cancels: int) -> None:
    def play(run: FakeRun) -> Steps:
        yield ask(write(1))

    async with lab(play) as here:
        task = here.start()
        call = await here.source.next()
        for _ in range(cancels):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.cancelled


async def test_cancelling_a_run_by_its_id() -> None:
    def play(run: FakeRun) -> Steps:
        yield ask(write(1), read(2))

    async with lab(play) as here:
        task = here.start()
        await here.source.next()
        (run_id,) = here.runtime.running
        assert here.runtime.cancel(run_id)
        outcome = await task
        assert outcome.run_id == run_id
        assert outcome.status == "cancelled"
        assert outcome.error is not None
        assert outcome.error.kind == "Cancelled"
        assert outcome.calls[0].status == "unknown"
        assert not here.runtime.cancel(run_id)


async def test_cancelling_a_computing_run_by_its_id() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce()
        run.compute()

    async with lab(play) as here:
        task = here.start()
        await here.computing()
        (run_id,) = here.runtime.running
        assert here.runtime.cancel(run_id)
        assert (await task).status == "cancelled"


async def test_cancelling_a_run_that_only_waits_for_an_unawaited_write() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce(write(1))
        answers = yield ask(read(2))
        return answers[2].value

    async with lab(play) as here:
        task = here.start()
        unawaited, awaited = await here.source.next(), await here.source.next()
        awaited.answer("done")
        await until(lambda: all(run.closes for run in here.sandbox.runs))
        (run_id,) = here.runtime.running
        assert here.runtime.cancel(run_id)
        outcome = await asyncio.wait_for(task, 5)
        assert unawaited.cancelled
        assert (outcome.value, outcome.calls[0].status) == ("done", "unknown")


async def test_closing_ends_every_run() -> None:
    def play(run: FakeRun) -> Steps:
        yield ask(read(1))

    here = Lab(play)
    tasks = [here.start() for _ in range(3)]
    for _ in range(3):
        await here.source.next()
    await here.runtime.close()
    assert [(await task).status for task in tasks] == ["cancelled"] * 3
    assert here.sandbox.closed
    assert here.source.open_calls == []


# --- the machinery fails


@pytest.mark.parametrize("when", ["at once", "in a step"])
@pytest.mark.parametrize("error", [SandboxError("the pool is gone"), RuntimeError("a bug")])
async def test_failures_of_the_machinery_propagate_and_leave_nothing(when: str, error: Exception) -> None:
    def play(run: FakeRun) -> Steps:
        if when == "in a step":
            yield announce()
        raise error
        yield

    async with lab(play) as here:
        with pytest.raises(type(error), match=str(error)):
            await here.start()


@pytest.mark.parametrize(
    ("error", "kind"),
    [(SandboxError("the pool is gone"), "SandboxCrashed"), (RuntimeError("a bug"), "InternalError")],
)
async def test_no_failure_of_the_machinery_loses_the_record_of_calls(error: Exception, kind: str) -> None:
    def play(run: FakeRun) -> Steps:
        yield announce(read(1))
        yield ask(read(2))
        raise error

    async with lab(play) as here:
        task = here.start()
        await here.source.next()
        (await here.source.next()).answer()
        outcome = await task
    assert outcome.error is not None
    assert (outcome.status, outcome.error.kind) == ("failed", kind)
    assert "a bug" not in outcome.error.message
    assert [call.status for call in outcome.calls] == ["cancelled", "ok"]


async def test_a_busy_sandbox_is_an_exception_not_an_outcome() -> None:
    def play(run: FakeRun) -> Steps:
        raise SandboxBusy("no worker")
        yield

    async with lab(play) as here:
        with pytest.raises(SandboxBusy):
            await here.execute()


# --- direct calls


async def test_a_direct_call_passes_the_same_gate() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce()

    async with lab(play) as here:

        def call(name: str, **arguments: Any) -> asyncio.Task[Outcome]:
            return asyncio.create_task(
                here.runtime.call(name, arguments, view=here.view, limits=Limits(), caller="ann")
            )

        for name, arguments, kind in (
            ("lab.hidden", {}, "PermissionError"),
            ("lab.nope", {}, "NameError"),
            ("lab.read", {"x": 1}, "TypeError"),
        ):
            refused = await call(name, **arguments)
            assert refused.error is not None
            assert (refused.status, refused.error.kind) == ("failed", kind)
        task = call("tools.lab.read", value=3)
        sent = await here.source.next()
        assert sent.arguments == {"value": 3}
        sent.answer({"a": 1})
        outcome = await task
        assert (outcome.status, outcome.value) == ("succeeded", {"a": 1})
        assert statuses(outcome) == [(0, "lab.read", "ok")]
        task = call("lab.read")
        (await here.source.next()).fail(ValueError("kJ8x2Qp9 is wrong"))
        failed = await task
        assert failed.error is not None
        assert failed.error.message == "lab.read: [redacted] is wrong"
        assert isinstance(failed.calls[0], CallRecord)


async def test_a_direct_call_has_the_run_s_deadline() -> None:
    def play(run: FakeRun) -> Steps:
        yield announce()

    async with lab(play) as here:
        outcome = await asyncio.wait_for(
            here.runtime.call("lab.read", {}, view=here.view, limits=Limits(timeout=0.05), caller="ann"), 5
        )
        assert outcome.error is not None
        assert outcome.error.kind == "TimeoutError"


# --- calls the script no longer waits for


async def test_a_pause_that_is_dropped_is_over() -> None:
    def play(run: FakeRun) -> Steps:
        nap = Call(1, "sleep", "asyncio.sleep", (60.0,))
        yield Waiting((nap,), ())
        yield Waiting((), (), dropped=(1,))
        return "done"

    async with lab(play) as here:
        outcome = await here.execute(timeout=30.0)
        assert outcome.value == "done"
        assert outcome.seconds < 30


async def test_a_read_that_is_dropped_is_cancelled() -> None:
    sent = threading.Event()

    def play(run: FakeRun) -> Steps:
        yield Waiting((read(1),), ())
        assert sent.wait(30)  # one that has not left is simply not made
        yield Waiting((), (), dropped=(1,))
        yield ask(read(2))
        return "done"

    async with lab(play) as here:
        running = here.start()
        first = await here.source.next()
        sent.set()
        await until(lambda: first.cancelled)
        (await here.source.next()).answer("second")
        outcome = await running
        assert statuses(outcome) == [(1, "lab.read", "cancelled"), (2, "lab.read", "ok")]


async def test_a_write_that_is_dropped_goes_on() -> None:
    sent = threading.Event()

    def play(run: FakeRun) -> Steps:
        yield Waiting((write(1),), ())
        assert sent.wait(30)  # one that has not left is simply not made
        yield Waiting((), (), dropped=(1,))
        yield ask(read(2))
        return "done"

    async with lab(play) as here:
        running = here.start()
        first = await here.source.next()
        sent.set()
        (await here.source.next()).answer("second")
        await asyncio.sleep(0)
        assert not first.cancelled
        first.answer("written")
        outcome = await running
        assert statuses(outcome) == [(1, "lab.write", "ok"), (2, "lab.read", "ok")]
