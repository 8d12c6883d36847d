"""The fake sandbox keeps what of the contract needs no Python: sessions, callers, controls and ends."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import pytest

from oneturn.errors import SandboxBusy, SandboxClosed, SessionLost
from oneturn.sandbox.base import Script
from oneturn.testing import FakeRun, FakeSandbox, ask
from oneturn.types import Answer, Call, Control, Finished, Limits, Waiting

LIMITS = Limits()


def count(run: FakeRun) -> Generator[Waiting, Mapping[int, Answer], Any]:
    """Counts the runs of its session, after one call."""
    yield ask(Call(1, "tool", "add"))
    run.variables["runs"] = run.variables.get("runs", 0) + 1
    return run.variables["runs"]


def end(run: FakeRun) -> Any:
    run.start(Script(""))
    step = run.resume([Answer(1)])
    run.close()
    assert isinstance(step, Finished)
    return step.value


def test_a_session_keeps_its_variables_to_itself() -> None:
    sandbox = FakeSandbox(count)
    session, other = sandbox.session(caller="ann"), sandbox.session()
    assert [end(session.open(LIMITS, 1)) for _ in range(3)] == [1, 2, 3]
    assert end(other.open(LIMITS, 1)) == 1
    assert end(sandbox.open(LIMITS, 1, caller="bob")) == 1
    assert [run.caller for run in sandbox.runs] == ["ann", "ann", "ann", "", "bob"]


def test_a_session_runs_one_script_at_a_time() -> None:
    session = FakeSandbox(count).session()
    run = session.open(LIMITS, 1)
    with pytest.raises(SandboxBusy):
        session.open(LIMITS, 1)
    run.close()
    assert end(session.open(LIMITS, 1)) == 1


def test_a_killed_run_loses_its_session_and_a_test_may_lose_one() -> None:
    sandbox = FakeSandbox(count)
    session, other = sandbox.session(), sandbox.session()
    run = session.open(LIMITS, 1)
    run.kill()
    run.close()
    other.lost = "it was too large"
    for lost, why in ((session, "stopped"), (other, "too large")):
        with pytest.raises(SessionLost, match=why):
            lost.open(LIMITS, 1)


def test_a_closed_session_runs_nothing() -> None:
    session = FakeSandbox(count).session()
    session.close()
    session.close()
    with pytest.raises(SandboxClosed):
        session.open(LIMITS, 1)


def test_it_is_what_a_test_says_it_is() -> None:
    control = Control("no network", True)
    sandbox = FakeSandbox(count, name="cpython", isolation="jailed", controls=[control])
    assert (sandbox.name, sandbox.isolation, sandbox.controls()) == ("cpython", "jailed", (control,))
    plain = FakeSandbox(count)
    assert (plain.name, plain.isolation, plain.controls()) == ("monty", "interpreter", ())
