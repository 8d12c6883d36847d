"""The remote sandbox, through the real SDK, against a service on this machine that confines nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

pytest.importorskip("e2b", reason="the e2b SDK is not installed: pip install 'oneturn[remote]'")

from hosted import KEY, Service

from oneturn import CodeMode
from oneturn.errors import ConfigError, SandboxBusy, SandboxError, SandboxUnavailable, SessionLost
from oneturn.sandbox.remote import RemoteSandbox
from oneturn.testing.contracts import SandboxContract
from oneturn.testing.steps import finish, script, until_blocked
from oneturn.types import Answer, Finished, Limits

PATIENCE = 30.0


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with Service().running() as service:
        monkeypatch.setenv("E2B_API_URL", service.url)
        monkeypatch.setenv("E2B_SANDBOX_URL", service.url)
        monkeypatch.setenv("E2B_API_KEY", KEY)
        yield service


@pytest.fixture
def sandbox(service: Service) -> Iterator[RemoteSandbox]:
    sandbox = RemoteSandbox()
    yield sandbox
    sandbox.close()


def value(sandbox: RemoteSandbox, source: str, limits: Limits | None = None) -> object:
    with closing(sandbox.open(limits or Limits(), 1)) as run:
        end, _, _ = finish(run, run.start(script(source)))
    assert end.error is None, end.error
    return end.value


class TestRuns:
    def test_a_script_calls_tools_and_gives_its_value(self, sandbox: RemoteSandbox) -> None:
        async def run() -> None:
            app = CodeMode(allow=["*"], sandbox=sandbox)

            @app.tool(effect="read")
            def double(n: int) -> int:
                return 2 * n

            async with app:
                outcome = await app.execute(
                    "import asyncio\nprint('so far')\n"
                    "sum(await asyncio.gather(*[double(n=n) for n in range(20)]))"
                )
            assert (outcome.value, outcome.prints, len(outcome.calls)) == (380, "so far\n", 20)
            assert outcome.isolation == "remote"

        import asyncio

        asyncio.run(run())

    @pytest.mark.parametrize("slice", [1, 7, 1 << 16])
    def test_output_may_come_in_pieces_of_any_size(self, service: Service, slice: int) -> None:
        service.slice = slice
        service.profile = "printf 'Welcome to \\xff the\\nmachine'"
        with_noise = RemoteSandbox()
        assert value(with_noise, "'é\\n' + await solo('ü' * 300)") == "é\n" + "ü" * 300
        with_noise.close()

    def test_large_values_both_ways(self, sandbox: RemoteSandbox) -> None:
        run = sandbox.open(Limits(), 1)
        _, calls = until_blocked(run, run.start(script("await solo('a' * 3_000_000)")))
        assert calls[0].args == ("a" * 3_000_000,)
        assert run.resume([Answer(calls[0].id, "b" * 5_000_000)]) == Finished("b" * 5_000_000)
        run.close()

    def test_a_configured_module_can_be_imported(self, service: Service) -> None:
        assert value(RemoteSandbox(imports=["sqlite3"]), "import sqlite3\nsqlite3.threadsafety > -1")

    def test_full_python(self, sandbox: RemoteSandbox) -> None:
        source = "class A:\n    x = property(lambda self: 4)\nclass B(A): pass\n[*(n for n in [B().x])]"
        assert value(sandbox, source) == [4]


class TestContract(SandboxContract):
    """The same as everywhere, but for the walls: they are the service's, and nothing of them is proved."""

    test_nothing_outside_is_in_reach = None
    test_every_required_control_is_proved = None

    @pytest.fixture(autouse=True)
    def _served(self, service: Service) -> None:
        pass

    def make_sandbox(self) -> RemoteSandbox:
        return RemoteSandbox(sandboxes=20)


class TestLife:
    def test_each_run_has_a_sandbox_of_its_own_that_is_ended(
        self, service: Service, sandbox: RemoteSandbox
    ) -> None:
        for source in ("1", "1/0", "await solo(1)"):
            run = sandbox.open(Limits(timeout=7), 1)
            run.start(script(source))
            assert len(service.alive) == 1
            run.close()
            assert service.alive == {}
        assert len(service.ended) == 3
        for box in service.ended.values():
            assert box.asked["allow_internet_access"] is False
            assert box.asked["templateID"] == "base"
            assert 7 < box.asked["timeout"] < 600
            assert all(process.returncode is not None for process in box.processes.values())

    def test_the_template_is_the_one_that_was_named(self, service: Service) -> None:
        named = RemoteSandbox(template="mine", api_key=KEY)
        assert value(named, "1") == 1
        assert [box.asked["templateID"] for box in service.ended.values()] == ["mine"]

    def test_kill_does_not_wait_for_the_service(self, service: Service, sandbox: RemoteSandbox) -> None:
        run = sandbox.open(Limits(), 1)
        _, calls = until_blocked(run, run.start(script("await solo(1)\nwhile True:\n    pass")))
        service.slow_kill = 1.5
        ended = []

        def go_on() -> None:
            ended.append(run.resume([Answer(calls[0].id)]))
            ended.append(bool(service.alive))

        thread = threading.Thread(target=go_on)
        thread.start()
        time.sleep(0.3)
        run.kill()
        run.kill()
        thread.join(PATIENCE)
        assert isinstance(ended[0], Finished)
        assert ended[0].error is not None
        assert ended[1], "the step waited until the service had ended the sandbox"
        run.close()
        assert service.alive == {}

    def test_a_sandbox_the_service_ends_is_a_crash_of_that_run_only(
        self, service: Service, sandbox: RemoteSandbox
    ) -> None:
        run = sandbox.open(Limits(), 1)
        step, _ = until_blocked(run, run.start(script("await solo(1)")))
        service.drop(*service.alive)
        end = run.resume([Answer(step.pending[0])])
        assert isinstance(end, Finished)
        assert end.error is not None
        assert end.error.kind == "SandboxCrashed"
        run.close()
        assert value(sandbox, "1 + 1") == 2

    def test_a_sandbox_whose_end_failed_is_ended_later(
        self, service: Service, sandbox: RemoteSandbox
    ) -> None:
        service.refuse_kills = 3
        run = sandbox.open(Limits(), 1)
        run.start(script("1"))
        run.close()
        assert len(service.alive) == 1
        assert value(sandbox, "2") == 2
        assert service.alive == {}

    def test_close_ends_what_is_left(self, service: Service, sandbox: RemoteSandbox) -> None:
        session = sandbox.session()
        session.open(Limits(), 1).start(script("1"))
        service.refuse_kills = 3
        run = sandbox.open(Limits(), 1)
        run.start(script("1"))
        run.close()
        assert len(service.alive) == 2
        sandbox.close()
        sandbox.close()
        assert service.alive == {}

    def test_the_cpu_limit_holds(self, sandbox: RemoteSandbox) -> None:
        run = sandbox.open(Limits(cpu_seconds=0.5, timeout=20), 1)
        end = run.start(script("while True:\n    pass"))
        assert isinstance(end, Finished)
        assert end.error is not None
        assert end.error.kind == "TimeoutError"
        run.close()


class TestRefusals:
    def test_no_more_than_so_many_at_once(self, service: Service) -> None:
        small = RemoteSandbox(sandboxes=1)
        run = small.open(Limits(), 1)
        run.start(script("await solo(1)"))
        with pytest.raises(SandboxBusy):
            value(small, "3")
        run.close()
        assert value(small, "3") == 3

    def test_the_service_has_no_more(self, service: Service, sandbox: RemoteSandbox) -> None:
        service.refuse_create = 429
        with pytest.raises(SandboxBusy, match="gives no more sandboxes"):
            value(sandbox, "3")
        service.refuse_create = 0
        assert value(sandbox, "3") == 3

    def test_a_wrong_key_is_not_told(self, service: Service) -> None:
        wrong = RemoteSandbox(api_key="e2b_not_this_one")
        with pytest.raises(SandboxUnavailable, match="Unauthorized") as refused:
            value(wrong, "3")
        assert "not_this_one" not in str(refused.value)

    def test_a_template_without_python(self, service: Service, sandbox: RemoteSandbox) -> None:
        service.profile = "PATH=/nowhere"
        with pytest.raises(SandboxError, match="python3"):
            value(sandbox, "3")
        assert service.alive == {}

    def test_a_template_without_a_module_that_is_configured(self, service: Service) -> None:
        with pytest.raises(SandboxError, match="no_such_package"):
            value(RemoteSandbox(imports=["no_such_package"]), "3")
        assert service.alive == {}

    def test_without_a_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("E2B_API_KEY", raising=False)
        with pytest.raises(ConfigError, match="E2B_API_KEY"):
            RemoteSandbox()

    def test_without_the_sdk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "e2b", None)
        with pytest.raises(ConfigError, match=r"oneturn\[remote\]"):
            RemoteSandbox(api_key=KEY)

    def test_the_sdk_is_imported_when_it_is_needed(self) -> None:
        code = (
            "import sys\nfrom oneturn.sandbox.remote import RemoteSandbox\n"
            "RemoteSandbox(api_key='k').controls()\nassert 'e2b' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestSessions:
    def test_variables_are_kept_until_it_is_closed(self, service: Service, sandbox: RemoteSandbox) -> None:
        session = sandbox.session()
        for source, expected in (("x = [1]\nlen(x)", 1), ("x.append(await solo(5))\nx", [1, 5])):
            run = session.open(Limits(), 1)
            end, _, _ = finish(run, run.start(script(source)))
            run.close()
            assert (end.value, end.error) == (expected, None)
        assert len(service.alive) == 1
        assert session.lost == ""
        session.close()
        assert service.alive == {}

    def test_it_lives_as_long_as_it_is_used(self, service: Service) -> None:
        sandbox = RemoteSandbox(idle=100)
        session = sandbox.session()
        run = session.open(Limits(timeout=10), 1)
        run.start(script("1"))
        run.close()
        (box,) = service.alive.values()
        assert 110 <= box.lifetime < 200
        session.open(Limits(timeout=500), 1).close()
        assert 600 <= box.lifetime < 700
        sandbox.close()

    def test_one_that_was_left_alone_is_lost(self, service: Service, sandbox: RemoteSandbox) -> None:
        session = sandbox.session()
        run = session.open(Limits(), 1)
        run.start(script("x = 1"))
        run.close()
        service.drop(*service.alive)
        with pytest.raises(SessionLost):
            session.open(Limits(), 1)
        assert session.lost
        session.close()


def test_nothing_is_called_proved(sandbox: RemoteSandbox) -> None:
    controls = sandbox.controls()
    assert {control.name for control in controls} >= {"machine", "network"}
    assert all(control.proved is None and not control.required and control.why for control in controls)
