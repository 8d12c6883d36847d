"""What is Monty's own in a session: the sealed snapshot, and that no worker is held between two runs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pydantic_monty
import pytest

from oneturn.errors import SandboxBusy, SessionLost
from oneturn.sandbox import monty_session
from oneturn.sandbox.monty import MontySandbox
from oneturn.sandbox.monty_session import MontySession, Sealed
from oneturn.testing.steps import finish, script, until_blocked
from oneturn.types import Answer, Finished, Limits

LIMITS = Limits()


@pytest.fixture
def sandbox() -> Iterator[MontySandbox]:
    sandbox = MontySandbox(workers=2, wait=0.05)
    yield sandbox
    sandbox.close()


def play(session: MontySession, source: str, limits: Limits = LIMITS) -> Finished:
    run = session.open(limits, 1)
    try:
        end, _, _ = finish(run, run.start(script(source)))
    finally:
        run.close()
    return end


def kept(session: MontySession) -> Sealed:
    assert session._kept is not None
    return session._kept


# --- the seal


def test_a_snapshot_opens_where_it_was_kept_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = Sealed.make(b"state", "a session", 3)
    assert sealed.opened("a session", 3) == b"state"
    for session, sequence in (("another", 3), ("a session", 2), ("a session", 4), ("a sessio", 3)):
        with pytest.raises(SessionLost, match="another session's"):
            sealed.opened(session, sequence)
    monkeypatch.setattr(pydantic_monty, "__version__", "0.0.1")
    with pytest.raises(SessionLost, match="another interpreter's"):
        sealed.opened("a session", 3)


def test_every_bit_of_a_snapshot_counts() -> None:
    sealed = Sealed.make(b"state", "s", 1)
    for part in ("data", "seal"):
        content = getattr(sealed, part)
        for index in range(len(content)):
            flipped = bytearray(content)
            flipped[index] ^= 1
            with pytest.raises(SessionLost):
                replace(sealed, **{part: bytes(flipped)}).opened("s", 1)


def test_a_snapshot_of_another_process_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = Sealed.make(b"state", "s", 1)
    monkeypatch.setattr(monty_session, "_KEY", os.urandom(32))
    with pytest.raises(SessionLost):
        sealed.opened("s", 1)


@pytest.mark.parametrize("foreign", ["a flipped bit", "an earlier one", "another session's"])
def test_a_foreign_snapshot_is_refused_before_it_is_loaded(
    sandbox: MontySandbox, foreign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, other = sandbox.session(), sandbox.session()
    play(session, "x = 1")
    early = kept(session)
    play(session, "x = 2")
    play(other, "x = 'other'")
    play(other, "x = 'other'")
    data = kept(session).data
    session._kept = {
        "a flipped bit": replace(kept(session), data=data[:-1] + bytes([data[-1] ^ 1])),
        "an earlier one": early,
        "another session's": kept(other),
    }[foreign]
    run = session.open(LIMITS, 1)
    entered: list[Any] = []
    monkeypatch.setattr(run, "_feed", entered.append)
    with pytest.raises(SessionLost, match="Nothing was loaded"):
        run.start(script("x"))
    run.close()
    assert entered == []
    assert "snapshot" in session.lost
    with pytest.raises(SessionLost, match="snapshot"):
        session.open(LIMITS, 1)
    assert play(other, "x") == Finished("other")


# --- workers


def test_idle_sessions_hold_no_worker(sandbox: MontySandbox) -> None:
    sessions = [sandbox.session() for _ in range(5)]
    for number, session in enumerate(sessions):
        play(session, f"x = {number}")
    assert [play(session, "x").value for session in sessions] == [0, 1, 2, 3, 4]
    first, second = sessions[0].open(LIMITS, 1), sessions[1].open(LIMITS, 1)
    with pytest.raises(SandboxBusy, match="worker is busy"):
        sessions[2].open(LIMITS, 1)
    first.close()
    second.close()
    assert play(sessions[2], "x") == Finished(2)


def test_variables_survive_the_worker_they_were_made_in(sandbox: MontySandbox) -> None:
    session = sandbox.session()
    run = session.open(LIMITS, 1)
    assert run.start(script("x = {'a': [1, 2]}")) == Finished(None)
    process = run.process
    assert process is not None
    run.close()
    os.kill(process, signal.SIGKILL)
    sandbox.close()
    assert play(session, "x") == Finished({"a": [1, 2]})


def test_a_worker_that_crashes_takes_the_session_with_it(sandbox: MontySandbox) -> None:
    session = sandbox.session()
    play(session, "x = 1")
    run = session.open(LIMITS, 1)
    _, calls = until_blocked(run, run.start(script("await solo(1)")))
    assert run.process is not None
    os.kill(run.process, signal.SIGKILL)
    end = run.resume([Answer(calls[0].id)])
    assert isinstance(end, Finished)
    assert end.error is not None
    assert end.error.kind == "SandboxCrashed"
    run.close()
    with pytest.raises(SessionLost, match="worker died"):
        session.open(LIMITS, 1)


# --- limits


def test_a_tighter_limit_stays_and_a_looser_one_is_not_silently_used(sandbox: MontySandbox) -> None:
    session = sandbox.session()
    deep = "def f(n):\n    return 0 if n == 0 else 1 + f(n - 1)\nf({})"
    assert play(session, deep.format(300)) == Finished(300)
    end = play(session, deep.format(300), Limits(recursion=100))
    assert end.error is not None
    assert end.error.kind == "RecursionError"
    assert session.lost == ""


def test_variables_that_do_not_fit_a_tighter_limit_are_lost_and_said_to_be(sandbox: MontySandbox) -> None:
    session = sandbox.session()
    play(session, "x = 'a' * 20_000_000")
    end = play(session, "len(x)", Limits(memory=8_000_000))
    assert end.error is not None
    with pytest.raises(SessionLost, match="8,000,000 bytes of memory"):
        session.open(LIMITS, 1)


def test_computing_is_counted_over_all_steps_of_a_run(sandbox: MontySandbox) -> None:
    session = sandbox.session()
    run = session.open(Limits(cpu_seconds=0.3), 1)
    source = "while True:\n    for i in range(50_000):\n        pass\n    await solo(1)"
    end, calls, _ = finish(run, run.start(script(source)))
    run.close()
    assert len(calls) > 1
    assert end.error is not None
    assert end.error.kind == "TimeoutError"
    assert "0.3 s" in session.lost


def test_waiting_for_an_answer_is_not_computing(sandbox: MontySandbox) -> None:
    session = sandbox.session()
    run = session.open(Limits(cpu_seconds=0.1), 1)
    _, calls = until_blocked(run, run.start(script("x = await solo(1)\nx")))
    threading.Event().wait(0.4)
    assert finish(run, run.resume([Answer(calls[0].id, 5)]))[0] == Finished(5)
    run.close()
    assert session.lost == ""


def test_no_thread_is_left_when_a_run_is_closed(sandbox: MontySandbox) -> None:
    session = sandbox.session()
    play(session, "x = 1")
    play(session, "x = 2")
    assert [thread.name for thread in threading.enumerate() if thread.name == "oneturn-watch"] == []


# --- scripts


def test_a_call_in_a_function_of_an_earlier_script_has_no_place_in_this_one(sandbox: MontySandbox) -> None:
    session = sandbox.session()
    play(session, "async def f():\n    return await solo(1)")
    run = session.open(LIMITS, 1)
    _, calls = until_blocked(run, run.start(script("await f()")))
    assert [call.position for call in calls] == [None]
    run.close()


def test_an_error_in_a_function_of_an_earlier_script_is_placed_where_this_one_calls_it(
    sandbox: MontySandbox,
) -> None:
    session = sandbox.session()
    play(session, "def f():\n    return 1 / 0")
    end = play(session, "x = 1\n\nx + f()")
    assert end.error is not None
    assert end.error.position is not None
    assert (end.error.position.line, end.error.position.source) == (3, "x + f()")


def test_an_await_of_a_call_that_nobody_will_answer_says_so(sandbox: MontySandbox) -> None:
    session = sandbox.session()
    play(session, "left = solo(1)\n1")
    end = play(session, "await left")
    assert end.error is not None
    assert "nothing will ever answer" in end.error.message
    assert "makes it" in end.error.hint
