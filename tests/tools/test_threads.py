"""Threads for blocking functions: parallel, with context, and never in the way of an exit."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest

from oneturn.tools.threads import Threads


@pytest.fixture
def threads() -> Iterator[Threads]:
    found = Threads(4)
    yield found
    found.close()


async def test_functions_run_at_once_with_the_callers_context(threads: Threads) -> None:
    who: contextvars.ContextVar[int] = contextvars.ContextVar("who")
    together = threading.Barrier(4)

    def meet() -> int:
        together.wait(timeout=30)
        found = who.get()
        who.set(-1)
        return found

    async def one(number: int) -> tuple[int, int]:
        who.set(number)
        return await threads.run(meet), who.get()

    assert await asyncio.gather(*map(one, range(4))) == [(number, number) for number in range(4)]


async def test_more_work_than_threads_queues_and_threads_are_used_again(threads: Threads) -> None:
    used = [await threads.run(threading.get_ident) for _ in range(20)]
    assert len(set(used)) == 1
    used = await asyncio.gather(*(threads.run(threading.get_ident) for _ in range(200)))
    assert len(set(used)) <= 4


@pytest.mark.parametrize("error", [KeyError("k"), SystemExit(3), KeyboardInterrupt()], ids=repr)
async def test_what_is_raised_comes_out_and_the_thread_lives_on(
    threads: Threads, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    before = await threads.run(threading.get_ident)
    with pytest.raises(type(error)) as caught:
        await threads.run(fail)
    assert caught.value is error
    assert await threads.run(threading.get_ident) == before


async def test_stop_iteration_comes_out_as_a_runtime_error(threads: Threads) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(threads.run(lambda: next(iter([]))), 20)


async def test_work_that_was_given_up_before_it_began_never_begins() -> None:
    threads, go, ran = Threads(1), threading.Event(), []
    first = asyncio.create_task(threads.run(go.wait))
    second = asyncio.create_task(threads.run(lambda: ran.append(1)))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    go.set()
    assert await first is True
    assert await threads.run(lambda: list(ran)) == []
    threads.close()


async def test_close_cancels_what_waits_and_lets_go_of_its_threads() -> None:
    threads, go, begun = Threads(1), threading.Event(), threading.Event()
    who: list[threading.Thread] = []

    def work() -> str:
        who.append(threading.current_thread())
        begun.set()
        go.wait(30)
        return "done"

    first = asyncio.create_task(threads.run(work))
    second = asyncio.create_task(threads.run(work))
    await asyncio.to_thread(begun.wait, 30)
    threads.close()
    threads.close()
    with pytest.raises(asyncio.CancelledError):
        await second
    go.set()
    assert await first == "done"
    await asyncio.to_thread(who[0].join, 30)
    assert not who[0].is_alive()
    with pytest.raises(RuntimeError, match="closed"):
        await threads.run(work)


async def test_an_idle_thread_keeps_no_result_alive(threads: Threads) -> None:
    class Large: ...

    found = await threads.run(Large)
    watched = weakref.ref(found)
    del found
    await threads.run(int)
    gc.collect()
    assert watched() is None


def test_an_answer_for_a_closed_loop_is_dropped() -> None:
    threads, go, begun = Threads(1), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(30)

    async def give_up() -> None:
        task = asyncio.create_task(threads.run(work))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()

    asyncio.run(give_up())
    go.set()
    assert asyncio.run(threads.run(lambda: "still works")) == "still works"
    threads.close()


@pytest.mark.parametrize("closing", ["await source.close()", "pass"])
def test_a_function_that_hangs_does_not_keep_the_process_from_ending(closing: str) -> None:
    code = f"""
import asyncio, threading
from oneturn.tools.function import FunctionSource

def hang() -> None:
    threading.Event().wait()

async def main() -> None:
    source = FunctionSource()
    await source.open()
    try:
        await asyncio.wait_for(source.call(source.add(hang), {{}}), 0.2)
    except TimeoutError:
        print("given up")
    {closing}

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "given up", "")
