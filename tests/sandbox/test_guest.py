"""What scripts find in a guest beyond the contract of all sandboxes, and what a broken guest costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sandbox.unconfined import UnconfinedSandbox, connect

from oneturn.sandbox.guest_run import GuestRun, GuestSession
from oneturn.sandbox.modules import HINTS, SAFE
from oneturn.testing.steps import Responder, echo, finish, script, until_blocked
from oneturn.types import Answer, Call, Failure, Finished, Limits, Waiting
from oneturn.values import plain

SANDBOX = UnconfinedSandbox()


def world(call: Call) -> Answer:
    """Like `echo`, with a clock that stands at the same moment."""
    return Answer(call.id, 1_000.5) if call.kind == "clock" else echo(call)


def play(
    source: str, respond: Responder = world, *, limits: Limits | None = None, seed: int = 1
) -> tuple[Finished, list[Call], str]:
    run = SANDBOX.open(limits or Limits(), seed)
    try:
        return finish(run, run.start(script(source)), respond)
    finally:
        run.close()


def value(source: str, **options: Any) -> Any:
    end, _, _ = play(source, **options)
    assert end.error is None, end.error
    return plain(end.value, Limits(), from_script=True)


def error(source: str, **options: Any) -> tuple[str, str, int]:
    end, _, _ = play(source, **options)
    assert end.error is not None
    return end.error.kind, end.error.message, end.error.position.line if end.error.position else 0


# --- the top of a script


@pytest.mark.parametrize(
    ("source", "expected", "prints"),
    [
        ("try:\n    return 5\nexcept BaseException:\n    print('no')\nfinally:\n    print('y')", 5, "y\n"),
        ("import contextlib\nwith contextlib.suppress(BaseException):\n    return 3\n4", 3, ""),
        ("for i in 1, 2:\n    for j in 1, 2:\n        if i * j == 2:\n            return [i, j]\n"
         "    else:\n        print('round')\nelse:\n    print('else')\n9", [1, 2], ""),
        ("while True:\n    try:\n        return 1\n    finally:\n        print('out')\n9", 1, "out\n"),
        ("for i in ():\n    pass\nelse:\n    return 2\n9", 2, ""),
        ("match 3:\n    case 3:\n        return 'm'", "m", ""),
        ("import asyncio\nasync with asyncio.TaskGroup() as g:\n    g.create_task(solo(1))\n"
         "    return 7", 7, ""),
        ("return", None, ""),
        ("x = 1\nif x:\n    return\n3", None, ""),
        ("'''doc'''\nfrom __future__ import annotations\nreturn __doc__", "doc", ""),
        ("def f():\n    return 3\nclass A:\n    def g(self):\n        return 4\n[f(), A().g()]", [3, 4], ""),
    ],
)  # fmt: skip
def test_return_at_the_top_is_a_return(source: str, expected: Any, prints: str) -> None:
    end, _, printed = play(source)
    assert (end.error, end.value, printed) == (None, expected, prints)


@pytest.mark.parametrize(
    "source",
    ["if 1:\n    return\nbreak", "return\ncontinue", "class A:\n    return 1", "x = 1\n(yield)"],
)
def test_what_python_refuses_stays_refused(source: str) -> None:
    assert error(source)[0] == "SyntaxError"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 5\ndef f():\n    global x\n    x += 1\nf()\nx", 6),
        ("[x for x in range(3) if (lambda: x)()]", [1, 2]),
        ("class A:\n    y = 1\n    def f(self):\n        return y\ny = 2\nA().f()", 2),
        ("def outer():\n    n = 0\n    def inner():\n        nonlocal n\n        n += 1\n        return n\n"
         "    return inner\nf = outer()\n[f(), f()]", [1, 2]),
        ("__name__", "__main__"),
        ("exec('y = 1')\n[y, eval('y + 1')]", [1, 2]),
        ("import dataclasses, typing\n@dataclasses.dataclass\nclass A:\n    x: 'int'\n"
         "typing.get_type_hints(A)['x'] is int", True),
        ("import pickle\nclass A: pass\ntype(pickle.loads(pickle.dumps(A()))) is A", True),
        ("import datetime\nstr(datetime.datetime.strptime('2020', '%Y').year)", "2020"),
        ("async def agen():\n    yield 1\n    yield 2\n[await solo(i) async for i in agen()]", [1, 2]),
    ],
)  # fmt: skip
def test_names_mean_what_they_mean_in_a_module(source: str, expected: Any) -> None:
    assert value(source) == expected


# --- asyncio


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("async def m():\n    return await solo(1)\nasyncio.run(m())", 1),
        ("async def m():\n    return await solo(1)\n[await solo(2), asyncio.run(m())]", [2, 1]),
        ("async def m():\n    return await solo(1)\nasyncio.get_event_loop().run_until_complete(m())", 1),
        ("async def m():\n    return asyncio.run(n())\nasync def n():\n    return await solo(3)\n"
         "await asyncio.gather(m(), m(), n())", [3, 3, 3]),
        ("async with asyncio.timeout(5):\n    x = await solo(1)\nx", 1),
        ("try:\n    async with asyncio.timeout(5):\n        await asyncio.Event().wait()\n"
         "except TimeoutError:\n    x = 'late'\nx", "late"),
        ("try:\n    await asyncio.wait_for(asyncio.Future(), 5)\nexcept TimeoutError:\n    x = 1\nx", 1),
        ("q = asyncio.Queue()\nlock = asyncio.Lock()\nsem = asyncio.Semaphore(2)\nasync def w(i):\n"
         "    async with sem, lock:\n        await q.put(await solo(i))\n"
         "await asyncio.gather(*[w(i) for i in range(3)])\n[q.get_nowait() for _ in range(3)]", [0, 1, 2]),
        ("e = asyncio.Event()\nasync def w():\n    return [await e.wait(), 3][1]\n"
         "t = asyncio.create_task(w())\n"
         "await solo(1)\ne.set()\nawait t", 3),
        ("await asyncio.shield(solo(1))", 1),
        ("await asyncio.to_thread(lambda: 4)", 4),
        ("ts = [asyncio.create_task(solo(i)) for i in range(4)]\ndone, _ = await asyncio.wait(ts)\n"
         "[t.result() for t in done]", [0, 1, 2, 3]),
        ("async def w(i):\n    await solo(i)\n    return i\n"
         "[await f for f in asyncio.as_completed([w(3), w(1), w(2)])]", [3, 1, 2]),
        ("async def g():\n    for i in 1, 2:\n        yield await solo(i)\n[x async for x in g()]", [1, 2]),
        ("await asyncio.sleep(0, 'x')", "x"),
        ("asyncio.current_task() is not None", True),
    ],
)  # fmt: skip
def test_asyncio_works(source: str, expected: Any) -> None:
    assert value(f"import asyncio\n{source}") == expected


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import asyncio\n\nawait asyncio.Event().wait()", 3),
        ("import asyncio\nasync def f():\n    await asyncio.Event().wait()\nawait f()", 3),
        ("import asyncio\nlock = asyncio.Lock()\nasync with lock:\n    async with lock:\n        pass", 4),
        ("import asyncio\nasync def f():\n    await asyncio.Queue().get()\nasyncio.run(f())", 4),
    ],
)
def test_waiting_for_nothing_is_an_error_where_it_waits(source: str, line: int) -> None:
    kind, message, found = error(source)
    assert (kind, found) == ("RuntimeError", line)
    assert "nothing will ever answer" in message


def test_a_sleep_is_a_call_of_its_own() -> None:
    source = "import asyncio\nawait asyncio.gather(asyncio.sleep(3), asyncio.sleep(2.5), asyncio.sleep(0))"
    _, calls, _ = play(source)
    assert [(call.kind, call.name, call.args) for call in calls] == [
        ("sleep", "asyncio.sleep", (3,)),
        ("sleep", "asyncio.sleep", (2.5,)),
    ]


def test_a_timer_nobody_needs_any_more_is_dropped() -> None:
    run = SANDBOX.open(Limits(), 1)
    source = "import asyncio\nx = await asyncio.wait_for(solo(1), 60)\nawait solo(2)\nx"
    step, calls = until_blocked(run, run.start(script(source)))
    sleep = next(call for call in calls if call.kind == "sleep")
    tool = next(call for call in calls if call.kind == "tool")
    step = run.resume([Answer(tool.id, "here")])
    assert isinstance(step, Waiting)
    assert step.dropped == (sleep.id,)
    assert sleep.id not in step.pending
    end, _, _ = finish(run, run.resume([Answer(sleep.id), *map(world, step.calls)]))
    assert end == Finished("here")
    run.close()


def test_a_result_in_time_beats_its_own_timeout() -> None:
    """Both came with one frame, and the sleep was the earlier call."""
    assert value("import asyncio\nasync with asyncio.timeout(5):\n    x = await solo(1)\nx") == 1


def test_calls_that_nobody_awaits_are_made() -> None:
    source = "import asyncio\nt = asyncio.create_task(solo('task'))\nsolo('bare')\nfinal_answer(6)"
    end, calls, _ = play(source)
    assert end == Finished(6)
    assert [call.args[0] for call in calls] == ["task", "bare"]


def test_a_flood_of_calls_reaches_the_host_while_it_lasts() -> None:
    run = SANDBOX.open(Limits(), 1)
    step = run.start(script("while True:\n    solo(1)"))
    assert isinstance(step, Waiting)
    assert 0 < len(step.calls) < 1_000
    assert step.pending == ()
    run.kill()
    run.close()


def test_nothing_noisy_is_printed() -> None:
    source = (
        "import asyncio, warnings\nasync def f():\n    raise ValueError\nsolo(1)\nf()\n"
        "t = asyncio.create_task(f())\nawait solo(2)\ndel t\nwarnings.warn('w')"
    )
    _, _, prints = play(source)
    assert prints == ""


# --- replay


async_parts = st.sampled_from(
    [
        "await asyncio.gather(*[w(i) for i in range(4)])",
        "for f in asyncio.as_completed([w(i) for i in range(4)]):\n    log.append(await f)",
        "done, rest = await asyncio.wait([asyncio.create_task(w(i)) for i in range(5)], "
        "return_when=asyncio.FIRST_COMPLETED)\nlog.append([len(rest), [t.result() for t in done]])",
        "try:\n    async with asyncio.timeout(3):\n        await w(7)\nexcept TimeoutError:\n"
        "    log.append('late')",
        "async with asyncio.TaskGroup() as g:\n    for i in range(3):\n        g.create_task(w(i))",
        "log.append([random.random(), time.time(), str(uuid.uuid4()), list({'a', 'b', 'c', str(len(log))})])",
        "c = asyncio.create_task(w(8))\nawait asyncio.sleep(1)\nc.cancel()",
        "q = asyncio.Queue()\nfor t in [asyncio.create_task(put(i)) for i in range(3)]:\n"
        "    log.append(await q.get())",
    ]
)
HEAD = """import asyncio, random, time, uuid
log = []
q = None
async def w(i):
    try:
        log.append(('in', i))
        x = await crm.find(i)
        await asyncio.sleep(random.random() + 0.1)
        x = await solo([i, x])
        log.append(('out', i))
        return i
    except asyncio.CancelledError:
        log.append(('cancelled', i))
        raise
async def put(i):
    await q.put(await solo(i))
"""


def recorded(source: str, choose: Any) -> tuple[list[Any], list[list[Answer]]]:
    """Run `source`, answering what `choose` picks of the open calls: all steps, and all batches."""
    run = SANDBOX.open(Limits(), 11)
    steps: list[Any] = [run.start(script(source))]
    batches: list[list[Answer]] = []
    waiting: dict[int, Call] = {}
    while isinstance(steps[-1], Waiting):
        step = steps[-1]
        waiting.update((call.id, call) for call in step.calls)
        for call_id in step.dropped:
            waiting.pop(call_id)
        batches.append([answer_to(waiting.pop(call_id)) for call_id in choose(step, list(waiting))])
        steps.append(run.resume(batches[-1]))
    run.close()
    return steps, batches


def answer_to(call: Call) -> Answer:
    if call.kind == "clock":
        return Answer(call.id, call.id * 0.25)
    if call.kind == "tool" and call.id % 7 == 0:
        return Answer(call.id, failure=Failure("ValueError", "seven"))
    return Answer(call.id, call.id)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(async_parts, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_same_answers_give_the_same_run(parts: Sequence[str], chance: Any) -> None:
    body = "\n".join(
        f"try:\n{indented(part)}\nexcept (ValueError, ExceptionGroup):\n    pass" for part in parts
    )
    source = f"{HEAD}{body}\nlog"

    def some(step: Waiting, waiting: list[int]) -> list[int]:
        if not step.pending:
            return []
        first = chance.choice(step.pending)
        others = [call_id for call_id in waiting if call_id != first and chance.random() < 0.4]
        batch = [first, *others]
        chance.shuffle(batch)
        return batch

    steps, batches = recorded(source, some)
    again = iter(batches)
    replayed, _ = recorded(source, lambda *_: [answer.call_id for answer in next(again)])
    assert replayed == steps


# --- what every script tries


def safely(source: str, *imports: str) -> tuple[Finished, str]:
    """Its end and prints, with the modules that a script may import in a real tier."""
    run = GuestRun(connect, Limits(), 1, modules=(*SAFE, *imports), hints=HINTS)
    try:
        end, _, prints = finish(run, run.start(script(source)), world)
    finally:
        run.close()
    return end, prints


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os\nos.path.join('a', 'b.txt')", "a/b.txt"),
        ("from os.path import splitext\nsplitext('a.txt')[1]", ".txt"),
        ("import os\n[os.sep, os.getenv('HOME', 'none'), os.environ.get('PATH')]", ["/", "none", None]),
        ("import os\n[os.cpu_count(), os.times().user]", [1, 0.0]),
        ("from pathlib import Path\np = Path('a') / 'b.txt'\n[str(p), p.suffix, p.stem]",
         ["a/b.txt", ".txt", "b"]),
        ("import posixpath, ntpath, fnmatch\nposixpath.basename('/a/b')", "b"),
        ("import tomllib\ntomllib.loads('a = 1')", {"a": 1}),
        ("import argparse\np = argparse.ArgumentParser()\np.add_argument('--n', type=int, default=3)\n"
         "p.parse_args().n", 3),
        ("import sys\nsys.argv", ["script.py"]),
    ],
)  # fmt: skip
def test_paths_and_the_like_work_without_files(source: str, expected: Any) -> None:
    end, _ = safely(source)
    assert end.error is None, end.error
    assert plain(end.value, Limits(), from_script=True) == expected


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("open('data.csv')", "PermissionError", "a script has no files; 'data.csv' cannot be opened"),
        (
            "from pathlib import Path\nPath('a.txt').write_text('x')",
            "PermissionError",
            "a script has no files",
        ),
        ("from pathlib import Path\nPath('/etc/passwd').read_text()", "PermissionError", "has no files"),
        ("import io\nio.open('a.txt', 'w')", "PermissionError", "a script has no files"),
        (
            "import os\nos.system('true')",
            "PermissionError",
            "there are no processes in a script; call a tool",
        ),
        ("import threading", "ModuleNotFoundError", "there are no threads; use asyncio.gather"),
        ("import concurrent.futures", "ModuleNotFoundError", "there are no threads; use asyncio.gather"),
        ("import tempfile", "ModuleNotFoundError", "there are no files; call a tool"),
        ("import urllib.request", "ModuleNotFoundError", "there is no network; call a tool"),
    ],
)
def test_what_would_be_in_vain_says_so(source: str, kind: str, words: str) -> None:
    end, _ = safely(source)
    assert end.error is not None
    assert end.error.kind == kind
    assert words in end.error.message


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("import sys\nsys.stdout.buffer.write('é\\n'.encode())\nprint('b')", "é\nb\n"),
        ("import sys\nsys.stdout.reconfigure(encoding='utf-8')\nprint(sys.stdout.encoding)", "utf-8\n"),
        ("import sys\nsys.__stdout__.write('a')\nprint('b', file=sys.__stderr__)", "ab\n"),
        ("import io, sys\nw = io.TextIOWrapper(sys.stdout.buffer, 'utf-8')\nprint('w', file=w, flush=True)\n"
         "print('x')", "w\nx\n"),
    ],
)  # fmt: skip
def test_every_way_to_print_prints(source: str, printed: str) -> None:
    end, prints = safely(source)
    assert (end.error, prints) == (None, printed)


@pytest.mark.parametrize("way", ["sys.exit()", "sys.exit(0)", "raise SystemExit", "sys.exit(main())"])
def test_an_exit_that_reports_success_is_one(way: str) -> None:
    end, prints = safely(f"import sys\ndef main():\n    print('done')\n    return 0\nmain()\n{way}")
    assert (end.value, end.error) == (None, None)
    assert prints.startswith("done\n")


@pytest.mark.parametrize(("way", "words"), [("sys.exit(2)", "2"), ("sys.exit('no data')", "no data")])
def test_an_exit_that_reports_failure_is_an_error(way: str, words: str) -> None:
    assert error(f"import sys\n{way}") == ("SystemExit", words, 2)


def test_an_error_tells_its_notes_and_what_a_group_holds() -> None:
    assert error("e = ValueError('a')\ne.add_note('of row 3')\nraise e")[1] == "a\nof row 3"
    group = "ExceptionGroup('two', [ValueError('a'), ExceptionGroup('in', [KeyError('b')])])"
    assert error(f"raise {group}")[1] == "two (2 sub-exceptions): ValueError: a; KeyError: 'b'"


def test_what_notes_and_groups_are_made_of_is_bounded() -> None:
    source = "e = ExceptionGroup('g', [ValueError('x' * 10**6)] * 10**4)\ne.add_note('n' * 10**6)\nraise e"
    assert len(error(source)[1]) <= 10_001
    for odd in ("7", "[7, None]", "'text'"):
        assert error(f"e = ValueError('a')\ne.__notes__ = {odd}\nraise e")[1] == "a"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def ask():\n    for _ in range(100):\n        found.append(time.time())\n", 400),
        ("def ask():\n    async def one():\n        found.append(await solo(1))\n"
         "    for _ in range(20):\n        asyncio.run(one())\n", 80),
    ],
)  # fmt: skip
def test_threads_that_were_allowed_take_turns_with_the_host(source: str, expected: int) -> None:
    end, _ = safely(
        f"import asyncio, threading, time\nfound = []\n{source}"
        "threads = [threading.Thread(target=ask) for _ in range(4)]\n"
        "for thread in threads:\n    thread.start()\n"
        "await asyncio.gather(*[solo(n) for n in range(50)])\n"
        "for thread in threads:\n    thread.join()\n"
        "len(found)",
        "threading",
    )
    assert (end.value, end.error) == (expected, None)


def test_only_the_main_thread_has_a_final_answer() -> None:
    source = "import threading\nt = threading.Thread(target=final_answer, args=(1,))\nt.start()\nt.join()\n2"
    end, prints = safely(source, "threading")
    assert (end.value, end.error) == (2, None)
    assert "final_answer(value) ends the script's main thread" in prints


def indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n"))


# --- time and chance


def test_every_clock_is_the_host_s() -> None:
    source = (
        "import time, datetime, calendar\nfrom time import time as t\nz = datetime.timezone.utc\n"
        "class D(datetime.datetime): pass\n"
        "[time.time(), t(), time.time_ns(), time.monotonic(), time.perf_counter_ns(), time.process_time(), "
        "time.localtime().tm_year, time.gmtime().tm_min, time.strftime('%Y'), time.ctime(), time.asctime(), "
        "datetime.datetime.now(), datetime.datetime.now(z), datetime.datetime.utcnow(), "
        "datetime.datetime.today(), datetime.date.today(), type(D.now()) is D, "
        "isinstance(datetime.datetime.now(), datetime.datetime), time.clock_gettime(time.CLOCK_REALTIME)]"
    )
    moment = "1970-01-01T00:16:40.500000"
    assert value(source) == [
        1000.5, 1000.5, 1_000_500_000_000, 1000.5, 1_000_500_000_000, 0.0,
        1970, 16, "1970", "Thu Jan  1 00:16:40 1970", "Thu Jan  1 00:16:40 1970",
        moment, f"{moment}+00:00", moment, moment, "1970-01-01", True, True, 1000.5,
    ]  # fmt: skip


def test_every_source_of_chance_follows_the_seed() -> None:
    source = (
        "import random, secrets, uuid\n[random.random(), random.Random().random(), random.seed(), "
        "random.random(), random.SystemRandom().random(), secrets.token_hex(8), str(uuid.uuid4()), "
        "str(uuid.uuid1()), uuid.getnode(), hash('text'), list({'a', 'b', 'c'})]"
    )
    first, same, other = (value(source, seed=seed) for seed in (7, 7, 8))
    assert first == same
    assert [a == b for a, b in zip(first[:9], other[:9], strict=True)] == [False, False, True, *[False] * 6]
    assert first[9:] == other[9:]


def test_numpy_follows_the_seed() -> None:
    pytest.importorskip("numpy")
    source = "import numpy as np\n[np.random.rand(), np.random.default_rng().random()]"
    first, same, other = (value(source, seed=seed, limits=Limits(memory=1 << 30)) for seed in (7, 7, 8))
    assert first == same
    assert not set(first) & set(other)


# --- names and imports


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("import socket", "ModuleNotFoundError", "No module named 'socket'"),
        ("import os.path", "ModuleNotFoundError", "No module named 'os.path'"),
        ("from os import path", "ModuleNotFoundError", "No module named 'os'"),
        ("__import__('subprocess')", "ModuleNotFoundError", "No module named 'subprocess'"),
        ("import requests", "ModuleNotFoundError", "there is no network; call a tool"),
        ("import tools.nope", "ModuleNotFoundError", "No module named 'tools.nope'"),
        ("from tools import nope", "ImportError", "cannot import name 'nope' from 'tools'"),
        ("from runtime import nope", "ImportError", "cannot import name 'nope' from 'runtime'"),
        ("open('/etc/passwd')", "PermissionError", "a script has no files"),
        ("input()", "NameError", "nobody can answer"),
        ("breakpoint()", "NameError", "print"),
        ("exit()", "NameError", "final_answer"),
        ("help(int)", "NameError", "get_tool_info"),
        ("crm.__wrapped__", "AttributeError", "__wrapped__"),
        ("crm.x = 1", "AttributeError", "takes no attributes"),
        ("for x in crm:\n    pass", "TypeError", "not iterable"),
        ("never_bound", "NameError", "never_bound"),
    ],
)
def test_what_is_not_there(source: str, kind: str, words: str) -> None:
    found, message, line = error(source)
    assert (found, line) == (kind, 1)
    assert words in message


def test_a_module_below_an_allowed_one_can_be_imported() -> None:
    assert value("import collections.abc\nfrom json import decoder\nimport zoneinfo\n1") == 1


def test_names_of_the_host_are_inert() -> None:
    assert value("[repr(tools), repr(crm.find), crm.find == crm.find, len({crm.find, tools.crm.find})]") == [
        "<tools>", "<crm.find>", True, 1,
    ]  # fmt: skip


# --- values and errors


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from collections import Counter, OrderedDict, defaultdict, deque, namedtuple\n"
         "[Counter('aa'), OrderedDict(a=1), defaultdict(int, b=2), deque([1]), namedtuple('P', 'x')(3)]",
         [{"a": 2}, {"a": 1}, {"b": 2}, [1], [3]]),
        ("from enum import IntEnum\nclass E(IntEnum):\n    A = 1\n{'e': E.A, E.A: 2, None: 3}",
         {"e": 1, "1": 2, "null": 3}),
        ("[range(2), {1: 2}.keys(), {1: 2}.items(), {3}]", [[0, 1], [1], [[1, 2]], [3]]),
        ("class S(str):\n    def __str__(self):\n        raise SystemExit\n[S('x')]", ["x"]),
        ("{'$': ['bytes', 'x']}", {"$": ["bytes", "x"]}),
    ],
)  # fmt: skip
def test_builtin_data_in_disguise_is_data(source: str, expected: Any) -> None:
    assert value(source) == expected


def test_numpy_and_pandas_values() -> None:
    pytest.importorskip("pandas")
    roomy = Limits(memory=4 << 30)
    assert value(
        "import numpy as np, pandas as pd\n"
        "[np.float64(1.5), np.int64(3), np.bool_(True), np.array([[1], [2]]), "
        "pd.Timestamp('2020-01-02'), pd.DataFrame({'a': [1]}).to_dict('records')]",
        limits=roomy,
    ) == [1.5, 3, True, [[1], [2]], "2020-01-02T00:00:00", [{"a": 1}]]
    for what, hint in (("DataFrame({'a': [1]})", "to_dict"), ("Series([1])", "tolist")):
        kind, message, _ = error(f"import pandas as pd\npd.{what}", limits=roomy)
        assert kind == "ValueError"
        assert hint in message


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = [1]\nfor i in range(28):\n    x = [x, x]\n", "has more than 1,000,000 nodes"),
        ("x = []\nfor i in range(101):\n    x = [x]\n", "is nested deeper than 100 levels"),
        ("x = []\nx.append(x)\n", "contains itself"),
        ("x = ['a' * 17_000_000]\n", "is larger than 16,777,216 bytes"),
        ("x = 10 ** 5000\n", "more than 4,000 digits"),
        ("x = {(1, 2): 3}\n", "dict key of type tuple"),
        ("x = range(10 ** 15)\n", "has more than 1,000,000 nodes"),
    ],
)
def test_what_is_too_large_never_leaves(source: str, words: str) -> None:
    for use in ("x", "final_answer(x)", "await solo(x)"):
        end, calls, _ = play(source + use)
        assert end.error is not None
        assert end.error.kind == "ValueError"
        assert words in end.error.message
        assert calls == []


@pytest.mark.parametrize(
    "raised", ["SystemExit(3)", "KeyboardInterrupt", "GeneratorExit", "MemoryError('m')"]
)
def test_whatever_a_script_raises_is_an_error_of_the_script(raised: str) -> None:
    inside = f"import asyncio\nasync def f():\n    raise {raised}\nt = asyncio.create_task(f())\nawait t"
    for source, line in ((f"\nraise {raised}", 2), (inside, 3)):
        kind, _, found = error(source)
        assert (kind, found) == (raised.partition("(")[0], line)


def test_hostile_errors_are_bounded() -> None:
    hostile = (
        "class M(type):\n    def __getattribute__(c, n):\n        raise SystemExit\n"
        "class E(Exception, metaclass=M):\n    def __str__(s):\n        raise SystemExit\nraise E('x')"
    )
    assert error(hostile) == ("E", "the error has no readable text", 7)
    assert len(error("raise ValueError('x' * 10**7)")[1]) < 20_000
    assert error("raise ValueError('\\ud800')")[1] == "\ufffd"
    assert len(error("raise type('x' * 100_000, (Exception,), {})")[0]) <= 200


def test_deep_recursion_into_calls_leaves_the_run_whole() -> None:
    source = (
        "deepest = 0\ndef down(n):\n    global deepest\n    deepest = n\n"
        "    runtime.list_tools(n)\n    down(n + 1)\n"
        "try:\n    down(0)\nexcept RecursionError:\n    pass\n[deepest > 50, await solo('still here')]"
    )
    assert value(source, limits=Limits(recursion=150)) == [True, "still here"]


# --- sessions


@pytest.fixture
def session() -> Iterator[GuestSession]:
    session = SANDBOX.session()
    yield session
    session.close()


def next_run(
    session: GuestSession, source: str, respond: Responder = world
) -> tuple[Finished, list[Call], str]:
    run = session.open(Limits(), 1)
    try:
        return finish(run, run.start(script(source)), respond)
    finally:
        run.close()


def test_many_final_answers_in_one_session(session: GuestSession) -> None:
    next_run(session, "x = 0\nimport asyncio\nasync def deep():\n    final_answer(await solo(x))")
    for number in range(120):
        end, _, _ = next_run(session, f"x = {number}\nawait asyncio.gather(deep(), deep())")
        assert end == Finished(number)


def test_an_error_in_a_function_of_an_earlier_script_is_placed_in_the_present_one(
    session: GuestSession,
) -> None:
    next_run(session, "\n\n\n\ndef f():\n    return 1 / 0")
    end, _, _ = next_run(session, "x = 1\nf()")
    assert end.error is not None
    assert end.error.position is not None
    assert (end.error.position.line, end.error.position.source) == (2, "f()")


@pytest.mark.parametrize("order", ["[await left, await new]", "[await new, await left]"])
def test_the_answer_to_a_call_of_an_earlier_script_is_gone(session: GuestSession, order: str) -> None:
    next_run(session, "left = solo('old')\n1")
    end, _, _ = next_run(session, f"new = solo('new')\n{order}")
    assert end.error is not None
    assert (end.error.kind, end.error.message) == (
        "RuntimeError",
        "an earlier script made this call, and its answer is gone",
    )
    end, _, _ = next_run(session, "3")
    assert (end.value, session.lost) == (3, "")


def test_tasks_of_an_earlier_script_do_not_go_on(session: GuestSession) -> None:
    source = (
        "import asyncio\nasync def f():\n    await solo('a')\n    print('b')\nt = asyncio.create_task(f())\n"
    )
    next_run(session, f"{source}await asyncio.sleep(0)")
    end, calls, prints = next_run(
        session, "import asyncio\nawait solo('c')\nawait asyncio.sleep(0)\nt.done()"
    )
    assert (end, [call.args for call in calls], prints) == (Finished(False), [("c",), (0,)][:1], "")
