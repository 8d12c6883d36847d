"""The full-CPython tier: the contract of every sandbox, on each way there is, and what it adds."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.sampled import SampledContract
from tests.sandbox.test_zygote import family, left, ordinary_user, soon

from oneturn.errors import ConfigError, SandboxBusy, SandboxClosed, SandboxUnavailable, SessionLost
from oneturn.sandbox.base import SandboxRun, Session
from oneturn.sandbox.cpython import CPythonSandbox, Way
from oneturn.sandbox.jail import seccomp
from oneturn.sandbox.jail.zygote import WarmJail
from oneturn.testing.contracts import SandboxContract
from oneturn.testing.steps import Responder, echo, finish, script, until_blocked
from oneturn.types import Answer, Call, Finished, Limits


def usable(way: Way | None = None, **options: Any) -> CPythonSandbox:
    """A sandbox that works, or a skip that says why there is none."""
    sandbox = CPythonSandbox(way=way, **options)
    try:
        sandbox.controls()
    except SandboxUnavailable as error:
        pytest.skip(f"this machine has no jail: {error}")
    return sandbox


@pytest.fixture(scope="module")
def shared() -> Iterator[CPythonSandbox]:
    sandbox = usable()
    yield sandbox
    sandbox.close()


def play(where: CPythonSandbox | Session, source: str, respond: Responder = echo, **limits: Any) -> Finished:
    run = where.open(Limits(**limits), 1)
    try:
        return finish(run, run.start(script(source)), respond)[0]
    finally:
        run.close()


@pytest.fixture(scope="module")
def bubblewrapped() -> Iterator[CPythonSandbox]:
    sandbox = usable("bubblewrap")
    yield sandbox
    sandbox.close()


class TestZygote(SandboxContract):
    def make_sandbox(self) -> CPythonSandbox:
        return usable("zygote")

    @pytest.fixture
    def sandbox(self, shared: CPythonSandbox) -> CPythonSandbox:
        assert shared.way == "zygote"
        return shared

    def process_of(self, run: SandboxRun) -> int:
        guest: Any = run
        return int(guest._channel._channel._process._pid)


class TestBubblewrap(SampledContract):
    def make_sandbox(self) -> CPythonSandbox:
        return usable("bubblewrap")

    @pytest.fixture
    def sandbox(self, bubblewrapped: CPythonSandbox) -> CPythonSandbox:
        assert bubblewrapped.way == "bubblewrap"
        return bubblewrapped


class TestWays:
    def test_bubblewrap_is_used_where_the_zygote_is_refused_and_it_is_said(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usable("bubblewrap").close()

        def refused(self: WarmJail, memory: int) -> None:
            raise SandboxUnavailable("A user namespace was refused by this machine.")

        monkeypatch.setattr(WarmJail, "guest", refused)
        sandbox = CPythonSandbox()
        assert (sandbox.way, sandbox.refused) == (None, "")
        assert play(sandbox, "1 + 1") == Finished(2)
        assert (sandbox.way, sandbox.refused) == (
            "bubblewrap", "A user namespace was refused by this machine.",
        )  # fmt: skip
        sandbox.close()
        with pytest.raises(SandboxUnavailable, match="user namespace was refused"):
            CPythonSandbox(way="zygote").open(Limits(), 1)

    def test_a_wall_that_does_not_hold_makes_it_unavailable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        usable().close()
        everything = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)  # a filter that allows every system call
        monkeypatch.setattr(seccomp, "program", lambda: everything)
        sandbox = CPythonSandbox()
        before = family()
        with pytest.raises(SandboxUnavailable, match=r"does not hold, so nothing ran: .*no network"):
            sandbox.open(Limits(), 1)
        with pytest.raises(SandboxUnavailable, match="does not hold"):
            sandbox.session()
        sandbox.close()
        assert left(before) == set()

    def test_every_required_control_is_proved_on_both_ways(
        self, shared: CPythonSandbox, bubblewrapped: CPythonSandbox
    ) -> None:
        for sandbox in (shared, bubblewrapped):
            controls = sandbox.controls()
            assert len(controls) > 10
            assert [control for control in controls if control.required and not control.proved] == []


class TestPlaces:
    def test_a_run_beyond_them_is_refused_until_one_ends(self) -> None:
        sandbox = usable(processes=1, wait=0.05)
        first = sandbox.open(Limits(), 1)
        until_blocked(first, first.start(script("await solo(1)")))
        second = sandbox.open(Limits(), 1)
        with pytest.raises(SandboxBusy, match="All 1 processes"):
            second.start(script("1"))
        second.close()
        first.close()
        assert play(sandbox, "1 + 1") == Finished(2)
        sandbox.close()

    def test_a_session_keeps_its_place_until_it_is_closed_or_lost(self) -> None:
        sandbox = usable(processes=1, wait=0.05)
        session = sandbox.session()
        assert play(session, "x = 1").error is None
        with pytest.raises(SandboxBusy):
            play(sandbox, "1")
        session.close()
        assert play(sandbox, "1 + 1") == Finished(2)
        lost = sandbox.session()
        end = play(lost, "x = []\nwhile True:\n    x.append(bytes(1 << 20))", memory=1 << 24)
        assert end.error is not None
        assert end.error.kind == "MemoryError"
        assert play(sandbox, "1 + 1") == Finished(2)
        with pytest.raises(SessionLost):
            lost.open(Limits(), 1)
        sandbox.close()


class TestLife:
    def test_closing_ends_what_runs_and_leaves_nothing(self) -> None:
        before = family()
        sandbox = usable()
        run = sandbox.open(Limits(), 1)
        step, _ = until_blocked(run, run.start(script("await solo(1)")))
        unstarted = sandbox.open(Limits(), 1)
        sandbox.close()
        end = run.resume([Answer(step.pending[0])])
        assert isinstance(end, Finished)
        assert end.error is not None
        assert end.error.kind == "SandboxCrashed"
        run.close()
        with pytest.raises(SandboxClosed):
            unstarted.start(script("1"))
        unstarted.close()
        assert left(before) == set()
        assert play(sandbox, "1 + 1") == Finished(2)
        sandbox.close()
        assert left(before) == set()

    def test_guests_killed_from_outside_cost_their_runs_and_no_other(self, shared: CPythonSandbox) -> None:
        run = shared.open(Limits(), 1)
        step, _ = until_blocked(run, run.start(script("await solo(1)")))
        guests = [pid for pid in family() if _is_guest(pid)]  # those that wait to be used among them
        assert guests
        for pid in guests:
            os.kill(pid, signal.SIGKILL)
        end = run.resume([Answer(step.pending[0])])
        assert isinstance(end, Finished)
        assert end.error is not None
        assert end.error.kind == "SandboxCrashed"
        run.close()
        assert soon(lambda: not any(Path(f"/proc/{pid}").exists() for pid in guests))
        assert play(shared, "1 + 1") == Finished(2)

    def test_sets_and_chance_are_the_same_in_every_process(self, shared: CPythonSandbox) -> None:
        source = (
            "import random, uuid, secrets\n"
            "[list({'a', 'b', 'c', 'd'}), hash('x'), random.random(), str(uuid.uuid4()), secrets.randbits(9)]"
        )
        assert play(shared, source) == play(shared, source)

    def test_a_clock_that_a_module_took_when_it_was_loaded_is_the_host_s(
        self, shared: CPythonSandbox
    ) -> None:
        def world(call: Call) -> Answer:
            return Answer(call.id, 7.5) if call.kind == "clock" else echo(call)

        source = (
            "import sched, timeit\nhow = sched.scheduler()\nhow.enter(30, 1, lambda: None)\n"
            "[how.timefunc(), timeit.Timer().timer(), timeit.timeit(number=1)]"
        )
        assert play(shared, source, world) == Finished([7.5, 7.5, 0.0])
        nap = "import sched\nsched.scheduler().delayfunc(3600)\n'slept'"
        assert play(shared, nap, world) == Finished("slept")

    @pytest.mark.parametrize(("memory", "works"), [(1 << 24, False), (1 << 28, True)])
    def test_memory_is_what_each_run_may_use(self, shared: CPythonSandbox, memory: int, works: bool) -> None:
        end = play(shared, "x = bytearray(100 << 20)\nlen(x)", memory=memory)
        assert (end.error is None) is works
        assert works or (end.error is not None and end.error.kind == "MemoryError")


def _is_guest(pid: int) -> bool:
    """Whether it is process 1 of a namespace below the zygote's."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return any(line.startswith("NSpid:") and len(line.split()) > 3 for line in text.splitlines())


class TestImports:
    def test_what_is_configured_can_be_imported_and_nothing_else(self, shared: CPythonSandbox) -> None:
        sandbox = usable(imports=("numpy",))
        assert play(sandbox, "import numpy as np\nint(np.arange(10).sum())") == Finished(45)
        assert play(sandbox, "import numpy.linalg as l\nfloat(l.norm([3, 4]))") == Finished(5.0)
        assert _kind(play(sandbox, "import pytest")) == "ModuleNotFoundError"
        sandbox.close()
        assert _kind(play(shared, "import numpy")) == "ModuleNotFoundError"

    def test_one_that_is_not_there_is_a_setting_to_mend(self) -> None:
        usable().close()
        for options in ({"imports": ("no_such_module",)}, {"python": "/no/such/python"}):
            with pytest.raises(ConfigError):
                CPythonSandbox(**options).open(Limits(), 1)

    def test_scripts_run_in_the_interpreter_that_was_chosen(self) -> None:
        other = "/usr/bin/python3"
        ask = "import sys; sys.stdout.write(sys.version if sys.version_info >= (3, 11) else '')"
        try:
            version = subprocess.run([other, "-I", "-c", ask], capture_output=True, text=True).stdout
        except OSError:
            version = ""
        if not version:
            pytest.skip(f"{other} is no Python from 3.11 on")
        sandbox = usable(python=other)
        assert play(sandbox, "import sys\nsys.version") == Finished(version)
        sandbox.close()


def _kind(end: Finished) -> str:
    return "" if end.error is None else end.error.kind


def test_it_holds_for_an_ordinary_user() -> None:
    python, nobody, environment = ordinary_user()
    chosen = "TestLife or (TestZygote and (limit or kill))"
    line = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", __file__, "-k", chosen]
    done = subprocess.run(
        [*nobody, *line], env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stdout[-4_000:]
    assert "passed" in done.stdout


@pytest.fixture
def in_real_time() -> Iterator[None]:
    """This thread runs before all others, and so does what it starts."""
    ordinary = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        pytest.skip("this user may not have a real-time priority")
    try:
        yield
    finally:
        os.sched_setscheduler(0, ordinary, os.sched_param(0))


@pytest.mark.parametrize("way", ["zygote", "bubblewrap"])
def test_a_host_of_real_time_priority_starts_guests_that_have_none(way: Way, in_real_time: None) -> None:
    others = family()
    sandbox = usable(way)
    run = sandbox.open(Limits(), 1)
    try:
        until_blocked(run, run.start(script("await echo(1)")))
        started = family() - others
        assert started
        assert {os.sched_getscheduler(pid) for pid in started} == {os.SCHED_OTHER}
    finally:
        run.close()
        sandbox.close()
