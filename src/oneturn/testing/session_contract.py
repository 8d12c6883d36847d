"""The part of the suite for sandboxes that is about more than one run: sessions, callers and controls.

`oneturn.testing.contracts.SandboxContract` includes it; subclass that one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from ..errors import SandboxBusy, SandboxClosed, SessionLost
from ..sandbox.base import Sandbox, SandboxRun, Session
from ..types import Answer, Call, Failure, Finished, IsolationLevel, Limits, TierName, Waiting
from .steps import Responder, echo, finish, script, until_blocked


class SessionContract:
    """What every sandbox must do across runs, and the helpers all tests of a sandbox use."""

    lacks: frozenset[str] = frozenset()
    """The `FEATURES` this sandbox does not have. Using one must then fail at its line, never silently."""

    def make_sandbox(self) -> Sandbox:
        """A sandbox of the kind under test, able to hold 20 runs at once."""
        raise NotImplementedError

    def process_of(self, run: SandboxRun) -> int | None:
        """The id of the process a started run is in; None where a test cannot know it."""
        return None

    @pytest.fixture
    def sandbox(self) -> Iterator[Sandbox]:
        """The sandbox under test; closed afterwards."""
        sandbox = self.make_sandbox()
        yield sandbox
        sandbox.close()

    def play(
        self,
        place: Sandbox | Session,
        source: str,
        respond: Responder = echo,
        *,
        limits: Limits | None = None,
        seed: int = 1,
    ) -> tuple[Finished, list[Call], str]:
        """Run `source` from start to end, on its own or as the next run of a session."""
        run = place.open(limits or Limits(), seed)
        try:
            return finish(run, run.start(script(source)), respond)
        finally:
            run.close()

    def value(self, place: Sandbox | Session, source: str, respond: Responder = echo) -> Any:
        """The value of `source`, which must not fail."""
        end, _, _ = self.play(place, source, respond)
        assert end.error is None, end.error
        return end.value

    # --- sessions

    def test_a_session_keeps_what_its_scripts_bind(self, sandbox: Sandbox) -> None:
        session = sandbox.session()
        self.value(session, "import json\nx = {'n': [1]}\ny = x['n']\ndef twice(v):\n    return v * 2")
        assert self.value(session, "y.append(2)\ntwice(3)") == 6
        assert self.value(session, "json.dumps(x)") == '{"n": [1, 2]}'
        assert self.value(session, "x = 5") is None
        assert self.value(session, "x") == 5
        assert session.lost == ""
        session.close()

    def test_two_sessions_and_single_runs_share_nothing(self, sandbox: Sandbox) -> None:
        first, second = sandbox.session(), sandbox.session()
        self.value(first, "left = 'first'\nToolError = int")
        self.value(second, "right = 'second'")
        for place, source in ((second, "left"), (first, "right"), (sandbox, "left"), (sandbox, "right")):
            end, _, _ = self.play(place, f"{source}.upper()")
            assert end.error is not None
            assert end.error.kind in ("NameError", "AttributeError")
        assert self.value(first, "left") == "first"
        first.close()
        assert self.value(second, "right") == "second"
        second.close()

    @pytest.mark.parametrize(
        ("source", "kind"),
        [
            ("after = 1\nkept = 2\n1 / 0\nafter = 3", "ZeroDivisionError"),
            ("after = 1\nkept = 2\nraise ValueError('no')", "ValueError"),
            ("after = 1\nkept = 2\ndef f():\n    return f()\nf()", "RecursionError"),
            ("after = 1\nkept = 2\nawait solo(1)", "PermissionError"),
        ],
    )
    def test_an_error_of_a_script_keeps_what_was_bound_before_it(
        self, sandbox: Sandbox, source: str, kind: str
    ) -> None:
        def respond(call: Call) -> Answer:
            return Answer(call.id, failure=Failure("PermissionError", "not yours"))

        session = sandbox.session()
        self.value(session, "early = 0")
        end, _, _ = self.play(session, source, respond)
        assert end.error is not None
        assert end.error.kind == kind
        assert session.lost == ""
        assert self.value(session, "(early, after, kept)") in ((0, 1, 2), [0, 1, 2])
        session.close()

    def test_a_script_that_is_no_python_changes_nothing(self, sandbox: Sandbox) -> None:
        session = sandbox.session()
        self.value(session, "x = 1")
        end, _, _ = self.play(session, "x = = 2")
        assert end.error is not None
        assert end.error.kind == "SyntaxError"
        assert self.value(session, "x") == 1
        session.close()

    @pytest.mark.parametrize(
        "source",
        [
            "try:\n    final_answer(x)\nexcept BaseException:\n    x = 8\nfinally:\n    x = 9\n    print(1)",
            "def deep(v):\n    try:\n        final_answer(v)\n    except:\n        print(1)\ndeep(x)\nx = 9",
        ],
    )
    def test_final_answer_ends_a_run_and_not_the_session(self, sandbox: Sandbox, source: str) -> None:
        session = sandbox.session()
        self.value(session, "x = 7")
        end, _, prints = self.play(session, source)
        assert (end.value, end.error, prints) == (7, None, "")
        assert self.value(session, "x") == 7
        assert self.play(session, "final_answer(x + 1)\nx = 9")[0] == Finished(8)
        assert self.value(session, "x") == 7
        session.close()

    @pytest.mark.parametrize(
        ("first", "second", "name"),
        [
            ("gh = tools.crm", "await gh.find('v')", "crm.find"),
            ("gh = tools.crm", "await gh.notes.add('v')", "crm.notes.add"),
            ("gh = tools.crm", "f = gh.save\nawait f('v')", "crm.save"),
            ("f = tools.crm.find", "await f('v')", "crm.find"),
            ("fs = [solo, crm.save]", "await fs[1]('v')", "crm.save"),
            ("import tools as t", "await t.crm.notes.add('v')", "crm.notes.add"),
            ("from tools import crm as c", "await c.find('v')", "crm.find"),
            ("from tools.crm import find as f", "await f('v')", "crm.find"),
            ("def f(v):\n    return crm.find(v)", "await f('v')", "crm.find"),
            ("async def f(v):\n    return await tools.solo(v)", "await f('v')", "solo"),
        ],
    )
    def test_a_tool_that_an_earlier_script_bound_is_still_a_tool(
        self, sandbox: Sandbox, first: str, second: str, name: str
    ) -> None:
        session = sandbox.session()
        self.value(session, first)
        end, calls, _ = self.play(session, second)
        assert end == Finished("v")
        assert [(call.kind, call.name) for call in calls] == [("tool", name)]
        session.close()

    def test_what_an_earlier_script_bound_wins_over_a_namespace(self, sandbox: Sandbox) -> None:
        session = sandbox.session()
        self.value(session, "crm = {'id': 5}\ndef solo(v):\n    return v + 1")
        end, calls, _ = self.play(session, "[crm['id'], solo(1)]")
        assert (end, calls) == (Finished([5, 2]), [])
        session.close()

    def test_runtime_helpers_work_in_functions_of_an_earlier_script(self, sandbox: Sandbox) -> None:
        session = sandbox.session()
        self.value(
            session,
            "def plain(v):\n    return runtime.list_tools(v)\n"
            "async def awaits(v):\n    return await runtime.list_tools(v)",
        )
        assert self.value(session, "[plain('a'), await awaits('b'), runtime.list_tools('c')]") == [
            "a", "b", "c",
        ]  # fmt: skip
        session.close()

    def test_tool_error_is_the_same_name_in_every_run(self, sandbox: Sandbox) -> None:
        def respond(call: Call) -> Answer:
            return Answer(call.id, failure=Failure("ValueError", "it is bad"))

        session = sandbox.session()
        self.value(session, "def known(e):\n    return isinstance(e, ToolError)")
        source = "try:\n    await solo(1)\nexcept ToolError as e:\n    r = [str(e), known(e)]\nr"
        assert self.value(session, source, respond) == ["it is bad", True]
        session.close()

    def test_each_run_of_a_session_has_its_own_seed(self, sandbox: Sandbox) -> None:
        session = sandbox.session()
        source = "import random\n[random.random(), random.randint(0, 10**9)]"
        drawn = [self.play(session, source, seed=seed)[0].value for seed in (7, 7, 8)]
        alone = self.play(sandbox, source, seed=7)[0].value
        assert drawn[0] == drawn[1] == alone
        assert drawn[2] != alone
        session.close()

    def test_a_call_left_behind_never_gets_the_answer_of_another(self, sandbox: Sandbox) -> None:
        session = sandbox.session()
        self.play(session, "left = solo('old')\n1")
        end, calls, _ = self.play(
            session, "new = solo('new')\ngot = [await new]\ngot.append(await left)\ngot"
        )
        assert [call.args[0] for call in calls][:1] == ["new"]
        assert end.error is not None
        session.close()

    @pytest.mark.parametrize(
        ("limits", "source", "kind", "why"),
        [
            (Limits(cpu_seconds=0.2), "while True:\n    pass", "TimeoutError", "0.2 s"),
            (
                Limits(memory=16 * 1024 * 1024),
                "y = []\nwhile True:\n    y.append('abc' * 100)",
                "MemoryError",
                "memory",
            ),
        ],
    )
    def test_a_limit_ends_the_session_and_says_so(
        self, sandbox: Sandbox, limits: Limits, source: str, kind: str, why: str
    ) -> None:
        session = sandbox.session()
        self.value(session, "x = 1")
        end, _, _ = self.play(session, source, limits=limits)
        assert end.error is not None
        assert end.error.kind == kind
        assert why in session.lost
        for _ in range(2):
            with pytest.raises(SessionLost, match=why):
                session.open(Limits(), 1)
        session.close()
        assert self.value(sandbox.session(), "1 + 1") == 2

    def test_time_limits_are_those_of_each_run(self, sandbox: Sandbox) -> None:
        session = sandbox.session()
        self.play(session, "x = 1", limits=Limits(cpu_seconds=0.2))
        longer = Limits(cpu_seconds=60)
        end, _, _ = self.play(session, "for i in range(3_000_000):\n    x += 1\nx", limits=longer)
        assert end == Finished(3_000_001)
        session.close()

    def test_a_kill_ends_the_session(self, sandbox: Sandbox) -> None:
        session = sandbox.session()
        self.value(session, "x = 1")
        run = session.open(Limits(), 1)
        _, calls = until_blocked(run, run.start(script("await solo(1)\nwhile True:\n    pass")))
        killer = threading.Timer(0.1, run.kill)
        killer.start()
        end = run.resume([Answer(calls[0].id)])
        killer.join()
        assert isinstance(end, Finished)
        assert end.error is not None
        run.close()
        assert session.lost
        with pytest.raises(SessionLost):
            session.open(Limits(), 1)
        session.close()

    def test_a_run_closed_before_its_end_ends_the_session(self, sandbox: Sandbox) -> None:
        session = sandbox.session()
        run = session.open(Limits(), 1)
        until_blocked(run, run.start(script("x = await solo(1)")))
        run.close()
        assert session.lost
        with pytest.raises(SessionLost):
            session.open(Limits(), 1)
        session.close()

    def test_a_session_runs_one_script_at_a_time(self, sandbox: Sandbox) -> None:
        session = sandbox.session()
        run = session.open(Limits(), 1)
        _, calls = until_blocked(run, run.start(script("x = await solo(1)")))
        with pytest.raises(SandboxBusy):
            session.open(Limits(), 1)
        finish(run, run.resume([Answer(calls[0].id, 3)]))
        run.close()
        assert self.value(session, "x") == 3
        session.close()

    def test_a_run_that_never_started_changes_nothing(self, sandbox: Sandbox) -> None:
        session = sandbox.session()
        self.value(session, "x = 1")
        session.open(Limits(), 1).close()
        assert self.value(session, "x") == 1
        session.close()

    def test_a_closed_session_runs_nothing(self, sandbox: Sandbox) -> None:
        session = sandbox.session()
        self.value(session, "x = 1")
        session.close()
        session.close()
        with pytest.raises(SandboxClosed):
            session.open(Limits(), 1)

    # --- callers

    def test_callers_share_nothing(self, sandbox: Sandbox) -> None:
        held: dict[str, Any] = {}
        for caller in ("ann", "bob"):
            run = sandbox.open(Limits(), 1, caller=caller)
            _, calls = until_blocked(run, run.start(script(f"mine = {caller!r}\nawait solo(1)\nmine")))
            held[caller] = (run, calls[0].id)
        for caller, (run, call_id) in held.items():
            assert finish(run, run.resume([Answer(call_id)]))[0] == Finished(caller)
            run.close()
        sessions = {caller: sandbox.session(caller=caller) for caller in ("ann", "bob")}
        for caller, session in sessions.items():
            self.value(session, f"mine = {caller!r}")
        for caller, session in sessions.items():
            assert self.value(session, "mine") == caller
            session.close()

    def test_no_process_serves_two_callers(self, sandbox: Sandbox) -> None:
        used: dict[str, set[int]] = {"ann": set(), "bob": set(), "cid": set()}
        for caller in ("ann", "bob", "ann", "cid", "bob", "ann"):
            run = sandbox.open(Limits(), 1, caller=caller)
            until_blocked(run, run.start(script("await solo(1)")))
            process = self.process_of(run)
            run.close()
            if process is None:
                pytest.skip("this sandbox does not tell which process a run is in")
            used[caller].add(process)
        assert not used["ann"] & used["bob"]
        assert not used["ann"] & used["cid"]
        assert not used["bob"] & used["cid"]

    # --- what it is

    def test_it_says_what_it_is(self, sandbox: Sandbox) -> None:
        assert sandbox.name in get_args(TierName)
        assert sandbox.isolation in get_args(IsolationLevel)

    def test_every_required_control_is_proved(self, sandbox: Sandbox) -> None:
        controls = sandbox.controls()
        assert [control for control in controls if control.required]
        assert [control for control in controls if control.required and not control.proved] == []
        assert [control.name for control in controls if not control.proved and not control.why] == []
        names = [control.name for control in controls]
        assert sorted(set(names)) == sorted(names)

    def test_a_cancelled_call_is_dropped(self, sandbox: Sandbox) -> None:
        if "create_task" in self.lacks:
            pytest.skip("no script can cancel a call here")
        source = (
            "import asyncio\ntask = asyncio.create_task(solo('gone'))\nawait solo('first')\ntask.cancel()\n"
            "try:\n    await task\nexcept asyncio.CancelledError:\n    pass\nawait solo('last')"
        )
        run = sandbox.open(Limits(), 1)
        step = run.start(script(source))
        calls: dict[Any, Call] = {}
        dropped: list[int] = []
        while isinstance(step, Waiting):
            calls.update((call.args[0], call) for call in step.calls)
            dropped += step.dropped
            answers = [echo(call) for call in calls.values() if call.id in step.pending]
            # An answer to a call that was dropped may be on its way already.
            late = [echo(calls["gone"])] if dropped else []
            step = run.resume([*(each for each in answers if each.value != "gone"), *late])
        run.close()
        assert step == Finished("last")
        assert dropped == [calls["gone"].id]
