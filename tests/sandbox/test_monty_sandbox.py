"""What is Monty's own: workers, their pool, and how its errors become ours."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oneturn.errors import SandboxBusy, SandboxClosed, SandboxError
from oneturn.sandbox.base import Script
from oneturn.sandbox.monty import MontyRun, MontySandbox
from oneturn.testing.steps import echo, finish, script, until_blocked
from oneturn.types import Answer, Call, Finished, Limits

LIMITS = Limits()


@pytest.fixture
def sandbox() -> Iterator[MontySandbox]:
    sandbox = MontySandbox(workers=2, wait=0.05)
    yield sandbox
    sandbox.close()


def waiting(sandbox: MontySandbox, source: str = "await solo(1)") -> tuple[MontyRun, int, Call]:
    """A run that waits for its first call, and the process it waits in."""
    run = sandbox.open(LIMITS, 1)
    _, calls = until_blocked(run, run.start(script(source)))
    session = run._session
    assert session is not None
    pid = session.worker_pid
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
    third = sandbox.open(LIMITS, 1)
    with pytest.raises(SandboxBusy, match="busy"):
        third.start(script("1"))
    third.close()
    first.close()
    assert value(sandbox, "1 + 1") == 2
    second.close()


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
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
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
