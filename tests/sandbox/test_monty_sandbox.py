"""What is Monty's own: workers, their pool, and how its errors become ours."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oneturn.errors import SandboxBusy, SandboxClosed, SandboxError, SandboxUnavailable
from oneturn.sandbox import monty_controls
from oneturn.sandbox.base import Script
from oneturn.sandbox.monty import MontySandbox
from oneturn.sandbox.monty_run import MontyRun
from oneturn.testing.steps import echo, finish, script, until_blocked
from oneturn.types import Answer, Call, Failure, Finished, Limits

LIMITS = Limits()


@pytest.fixture
def sandbox() -> Iterator[MontySandbox]:
    sandbox = MontySandbox(workers=2, wait=0.05)
    yield sandbox
    sandbox.close()


def waiting(
    sandbox: MontySandbox, source: str = "await solo(1)", caller: str = ""
) -> tuple[MontyRun, int, Call]:
    """A run that waits for its first call, and the process it waits in."""
    run = sandbox.open(LIMITS, 1, caller=caller)
    _, calls = until_blocked(run, run.start(script(source)))
    pid = run.process
    assert pid is not None
    return run, pid, calls[0]


def value(sandbox: MontySandbox, source: str, limits: Limits = LIMITS) -> Any:
    run = sandbox.open(limits, 1)
    end, _, _ = finish(run, run.start(script(source)))
    run.close()
    assert end.error is None, end.error
    return end.value


def test_every_worker_taken_is_busy_and_closing_one_frees_it(sandbox: MontySandbox) -> None:
    first, _, _ = waiting(sandbox)
    second, _, _ = waiting(sandbox)
    for caller in ("", "another"):
        with pytest.raises(SandboxBusy, match="busy"):
            sandbox.open(LIMITS, 1, caller=caller)
    first.close()
    assert value(sandbox, "1 + 1") == 2
    second.close()


def process(sandbox: MontySandbox, caller: str) -> int:
    """The process that serves the next run of this caller."""
    run, pid, _ = waiting(sandbox, caller=caller)
    run.close()
    return pid


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_caller_gets_its_own_worker_again_and_nobody_else_s(sandbox: MontySandbox) -> None:
    ann, bob = process(sandbox, "ann"), process(sandbox, "bob")
    assert ann != bob
    assert [process(sandbox, caller) for caller in ("ann", "bob", "ann")] == [ann, bob, ann]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_new_caller_takes_the_place_of_the_worker_idle_longest(sandbox: MontySandbox) -> None:
    ann, bob = process(sandbox, "ann"), process(sandbox, "bob")
    cid = process(sandbox, "cid")
    assert cid not in (ann, bob)
    assert [alive(pid) for pid in (ann, bob, cid)] == [False, True, True]
    assert process(sandbox, "bob") == bob


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_workers_of_a_few_callers_are_kept() -> None:
    sandbox = MontySandbox(workers=20)
    used = [process(sandbox, f"caller {number}") for number in range(12)]
    assert [alive(pid) for pid in used] == [False] * 4 + [True] * 8
    sandbox.close()
    assert not any(alive(pid) for pid in used)


def test_runs_of_one_caller_at_once_have_a_worker_each(sandbox: MontySandbox) -> None:
    first, one, _ = waiting(sandbox, caller="ann")
    second, other, _ = waiting(sandbox, caller="ann")
    assert one != other
    first.close()
    second.close()
    assert {process(sandbox, "ann") for _ in range(4)} <= {one, other}


def test_a_waiting_caller_gets_the_place_that_becomes_free() -> None:
    sandbox = MontySandbox(workers=1, wait=20)
    run, _, _ = waiting(sandbox, caller="ann")
    with ThreadPoolExecutor(1) as threads:
        later = threads.submit(process, sandbox, "bob")
        run.close()
        assert later.result(20) is not None
    sandbox.close()


def test_nothing_runs_when_a_control_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = MontySandbox(workers=2)
    # As if this build of Monty gave scripts more memory than they may have.
    generous = replace(monty_controls._LIMITS, memory=1 << 30)
    monkeypatch.setattr(monty_controls, "_LIMITS", generous)
    monkeypatch.setattr(monty_controls, "_HUNGRY", "x = 'a' * 1_000_000")
    control = {each.name: each for each in sandbox.controls()}["Monty's memory limit"]
    assert not control.proved
    for place in (sandbox, sandbox.session()):
        with pytest.raises(SandboxUnavailable, match=r"memory limit: .*Nothing ran"):
            place.open(LIMITS, 1)
    sandbox.close()


@pytest.mark.parametrize("worked", ["open(__file__ and '/dev/null')", "1", "print('fine')"])
def test_an_act_that_works_is_noticed(worked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = MontySandbox(workers=2)
    monkeypatch.setattr(monty_controls, "_NETWORK", ("import socket", worked))
    control = {each.name: each for each in sandbox.controls()}["Monty gives no network"]
    assert control.proved is (worked not in ("1", "print('fine')"))
    sandbox.close()


@pytest.mark.parametrize("module", ["ctypes", "threading", "multiprocessing", "sysconfig"])
def test_modules_that_reach_out_are_not_there(sandbox: MontySandbox, module: str) -> None:
    run = sandbox.open(LIMITS, 1)
    end = run.start(script(f"import {module}"))
    run.close()
    assert isinstance(end, Finished)
    assert end.error is not None
    assert end.error.kind == "ModuleNotFoundError"


def test_a_call_in_a_text_given_to_eval_has_no_place_in_the_script(sandbox: MontySandbox) -> None:
    run, _, call = waiting(sandbox, "\n\nawait eval('solo(1)')")
    assert call.position is None
    run.close()


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("await solo(1)", "ConnectionError"),
        ("raise OSError('of the script')", "OSError"),
        ("try:\n    await solo(1)\nexcept OSError as error:\n    raise ValueError(str(error))", "ValueError"),
    ],
)
def test_a_connection_that_failed_ends_a_run_as_what_it_was(
    sandbox: MontySandbox, source: str, kind: str
) -> None:
    run = sandbox.open(LIMITS, 1)
    fail = Failure("ConnectionError", "solo: nobody answers")
    end, _, _ = finish(run, run.start(script(source)), lambda call: Answer(call.id, failure=fail))
    run.close()
    assert end.error is not None
    assert end.error.kind == kind


def test_a_worker_killed_from_outside_costs_one_run(sandbox: MontySandbox) -> None:
    run, pid, call = waiting(sandbox)
    os.kill(pid, signal.SIGKILL)
    end = run.resume([Answer(call.id, 1)])
    assert isinstance(end, Finished)
    assert end.error is not None
    assert end.error.kind == "SandboxCrashed"
    assert "only this run is lost" in end.error.message
    assert end.error.hint
    with pytest.raises(SandboxClosed):
        run.resume([])
    run.close()
    assert value(sandbox, "1 + 1") == 2


def test_kill_kills_only_its_own_worker(sandbox: MontySandbox) -> None:
    first, _, _ = waiting(sandbox)
    second, _, call = waiting(sandbox)
    first.kill()
    first.close()
    end, _, _ = finish(second, second.resume([Answer(call.id, "alive")]))
    assert end == Finished("alive")
    second.close()


def test_kill_after_close_does_not_touch_the_next_run(sandbox: MontySandbox) -> None:
    first, _, _ = waiting(sandbox)
    first.close()
    second, _, call = waiting(sandbox)
    first.kill()
    end, _, _ = finish(second, second.resume([Answer(call.id, "alive")]))
    assert end == Finished("alive")
    second.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_has_no_environment_and_no_files_but_its_pipes(
    sandbox: MontySandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ONETURN_CANARY", "in the environment")
    with (tmp_path / "held.txt").open("w") as held:
        os.set_inheritable(held.fileno(), False)
        run, pid, _ = waiting(sandbox)
        assert Path(f"/proc/{pid}/environ").read_bytes() == b""
        targets = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
        allowed = ("pipe:", "socket:", "anon_inode:", "/dev/null")
        outside = [each for each in targets if not each.startswith(allowed)]
        assert [each for each in outside if each != os.readlink("/proc/self/fd/2")] == []
        run.close()


def test_closing_the_sandbox_ends_its_workers(sandbox: MontySandbox) -> None:
    run, pid, _ = waiting(sandbox)
    run.close()
    sandbox.close()
    assert not alive(pid)
    assert value(sandbox, "1 + 1") == 2


@pytest.mark.parametrize(
    ("limits", "source", "kind"),
    [
        (Limits(cpu_seconds=0.2), "while True:\n    pass", "TimeoutError"),
        (Limits(memory=8_000_000), "'x' * 100_000_000", "MemoryError"),
    ],
)
def test_a_run_that_met_a_limit_takes_nothing_more(
    sandbox: MontySandbox, limits: Limits, source: str, kind: str
) -> None:
    run = sandbox.open(limits, 1)
    end = run.start(script(source))
    assert isinstance(end, Finished)
    assert end.error is not None
    assert end.error.kind == kind
    with pytest.raises(SandboxClosed):
        run.resume([])
    run.close()


def test_a_call_that_blocks_the_script_needs_its_own_answer(sandbox: MontySandbox) -> None:
    run = sandbox.open(LIMITS, 1)
    step = run.start(script("runtime.list_tools()"))
    assert not isinstance(step, Finished)
    with pytest.raises(SandboxError, match="needs its answer"):
        run.resume([])
    run.close()


def test_answers_may_come_before_the_script_needs_them(sandbox: MontySandbox) -> None:
    run = sandbox.open(LIMITS, 1)
    step = run.start(script("a = solo(1)\nb = solo(2)\n[await b, await a]"))
    assert not isinstance(step, Finished)
    step = run.resume([Answer(step.calls[0].id, "first")])
    assert not isinstance(step, Finished)
    end, _, _ = finish(run, run.resume([Answer(step.calls[0].id, "second")]), echo)
    assert end == Finished(["second", "first"])
    run.close()


def test_a_forgotten_await_shows_as_a_coroutine_not_as_a_value(sandbox: MontySandbox) -> None:
    assert value(sandbox, "solo(1)").startswith("<coroutine")


def test_tool_error_is_a_name_only_where_the_script_uses_it(sandbox: MontySandbox) -> None:
    assert value(sandbox, "try:\n    1/0\nexcept ToolError as e:\n    r = str(e)\nr") == "division by zero"


def test_the_cap_on_prints_covers_the_whole_run(sandbox: MontySandbox) -> None:
    run = sandbox.open(Limits(printed_chars=5), 1)
    end, _, prints = finish(run, run.start(script("print('abc')\nawait solo(1)\nprint('def')\nprint('ghi')")))
    assert prints == "abc\nd"
    assert end.cut_prints == 7
    run.close()


@pytest.mark.parametrize(
    "source", ["x = '\ud800'", "x\x00 = 1", "\ufeff1", "(" * 5_000, "x = " + "-" * 100_000 + "1"]
)
def test_odd_sources_end_in_an_error_or_a_value_never_in_an_exception(
    sandbox: MontySandbox, source: str
) -> None:
    run = sandbox.open(LIMITS, 1)
    assert isinstance(run.start(Script(source)), Finished)
    run.close()
    assert value(sandbox, "1 + 1") == 2


def test_a_tool_result_of_any_plain_kind_arrives_as_it_is(sandbox: MontySandbox) -> None:
    sent = {
        "n": None,
        "b": True,
        "i": 2**300,
        "f": 1e308,
        "t": "é\x00😀",
        "d": b"\x00\xff",
        "l": [[], {}],
        "": "",
        "k y": 1,
    }
    run = sandbox.open(LIMITS, 1)
    end, _, _ = finish(run, run.start(script("await solo()")), lambda call: Answer(call.id, sent))
    assert end == Finished(sent)
    run.close()
