"""The container tier against a real engine: what it decides of the contract, and what is its own."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.engine import PodmanService
from tests.journal.programs import comes_to_the_same
from tests.sandbox.sampled import SampledContract

from oneturn.errors import SandboxBusy, SandboxUnavailable
from oneturn.sandbox.base import SandboxRun
from oneturn.sandbox.container import ContainerSandbox, guests
from oneturn.sandbox.container.engine import Engine
from oneturn.testing.steps import finish, script, until_blocked
from oneturn.types import Answer, Control, Finished, Limits


def sandbox_on(service: PodmanService, **options: Any) -> ContainerSandbox:
    """More of the processor than scripts get by default: Python's start is most of what is waited for."""
    given = {"engine": service.runc, "image": service.image, "cpus": 2.0, "warm": 3, **options}
    return ContainerSandbox(**given)


def container_of(run: SandboxRun) -> str:
    """The container of a started run, which nobody but a test needs to know."""
    return run._channel.container  # type: ignore[attr-defined, no-any-return]


def play(sandbox: ContainerSandbox, source: str, **limits: Any) -> Finished:
    run = sandbox.open(Limits(**limits), 1)
    try:
        return finish(run, run.start(script(source)))[0]
    finally:
        run.close()


@pytest.fixture(scope="module")
def shared(podman_service: PodmanService) -> Iterator[ContainerSandbox]:
    sandbox = sandbox_on(podman_service)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module")
def engine(podman_service: PodmanService) -> Iterator[Engine]:
    engine = Engine(podman_service.runc)
    yield engine
    engine.close()


class TestContract(SampledContract):
    @pytest.fixture(autouse=True)
    def _service(self, podman_service: PodmanService, engine: Engine) -> None:
        self._podman, self._engine = podman_service, engine

    def make_sandbox(self) -> ContainerSandbox:
        return sandbox_on(self._podman)

    def process_of(self, run: SandboxRun) -> int | None:
        return int(self._engine.state(container_of(run))["Pid"])

    @pytest.fixture
    def sandbox(self, shared: ContainerSandbox) -> ContainerSandbox:
        return shared


@pytest.fixture(scope="module")
def small(podman_service: PodmanService) -> Iterator[ContainerSandbox]:
    """One with a single place."""
    sandbox = sandbox_on(podman_service, processes=1, warm=1, wait=0.1)
    yield sandbox
    sandbox.close()


class TestContainers:
    def test_each_run_has_a_container_that_is_gone_afterwards(
        self, shared: ContainerSandbox, engine: Engine
    ) -> None:
        runs = [shared.open(Limits(), 1) for _ in range(2)]
        for run in runs:
            until_blocked(run, run.start(script("await solo(1)")))
        used = {container_of(run) for run in runs}
        assert len(used) == 2
        assert used <= engine.owners().keys()
        for run in runs:
            run.close()
        assert not used & engine.owners().keys()

    def test_one_that_died_while_it_waited_costs_no_run(
        self, small: ContainerSandbox, engine: Engine
    ) -> None:
        before = engine.owners().keys()
        for _ in range(2):
            assert play(small, "6 * 7").value == 42
            for container in engine.owners().keys() - before:
                engine.kill(container)

    def test_no_more_places_than_there_are(self, small: ContainerSandbox) -> None:
        first, second = (small.open(Limits(), 1) for _ in range(2))
        _, calls = until_blocked(first, first.start(script("await solo(1)")))
        with pytest.raises(SandboxBusy, match="1 containers are in use"):
            second.start(script("1"))
        assert finish(first, first.resume([Answer(calls[0].id, 5)]))[0] == Finished(5)
        first.close()
        assert play(small, "2").value == 2

    def test_memory_beyond_the_container_s_ends_the_run_only(self, shared: ContainerSandbox) -> None:
        end = play(shared, "x = []\nwhile True:\n    x.append(bytearray(1 << 20))", memory=1 << 40)
        assert end.error is not None
        assert end.error.kind == "MemoryError"
        assert play(shared, "1 + 1").value == 2

    def test_imports_are_allowed_and_closing_removes_every_container(
        self, podman_service: PodmanService, engine: Engine
    ) -> None:
        before = engine.owners().keys()
        sandbox = sandbox_on(podman_service, imports=("sqlite3",), warm=1)
        source = "import sqlite3\nsqlite3.connect(':memory:').execute('select 7').fetchone()[0]"
        assert play(sandbox, source).value == 7
        session = sandbox.session()
        run = session.open(Limits(), 1)
        until_blocked(run, run.start(script("await solo(1)")))
        sandbox.close()
        assert engine.owners().keys() - before == set()

    def test_an_import_that_the_image_does_not_have(self, podman_service: PodmanService) -> None:
        sandbox = sandbox_on(podman_service, imports=("no_such_package",))
        with pytest.raises(SandboxUnavailable, match="importing no_such_package failed"):
            sandbox.open(Limits(), 1)
        sandbox.close()


ALLOWING = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)  # a filter that lets every system call through


def without(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    """Have the engine asked for less."""
    real_host, real_make = docker.APIClient.create_host_config, docker.APIClient.create_container

    def host_config(client: docker.APIClient, **options: Any) -> Any:
        more = {k: v for k, v in changed.items() if k in options or k in _NEW}
        return real_host(client, **{**options, **more})

    def make(client: docker.APIClient, image: str, **options: Any) -> Any:
        return real_make(client, image, **{**options, **{k: v for k, v in changed.items() if k in options}})

    monkeypatch.setattr(docker.APIClient, "create_host_config", host_config)
    monkeypatch.setattr(docker.APIClient, "create_container", make)


_NEW = ("binds", "pid_mode")  # of the host's, which are never asked for

# What the engine is asked for in place of each control, and whose proof then fails.
_LESS: dict[str, dict[str, Any]] = {
    "network": {"network_mode": "host", "network_disabled": False},
    "read-only root": {"read_only": False},
    "scratch": {"tmpfs": {"/tmp": "rw,size=64m,mode=1777"}},
    "user": {"user": "0:0"},
    "capabilities": {"cap_drop": []},
    "new privileges": {"security_opt": ["seccomp=unconfined"]},
    "system calls": {"security_opt": ["seccomp=unconfined"]},
    "processes": {"pid_mode": "host"},
    "processes limit": {"pids_limit": 500},
    "memory limit": {"mem_limit": 1 << 30, "memswap_limit": 1 << 30},
}


class TestProof:
    def test_each_control_that_is_not_there_is_noticed(
        self, podman_service: PodmanService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        less = {key: value for options in _LESS.values() for key, value in options.items()}
        without(monkeypatch, **less, binds={str(tmp_path): {"bind": str(tmp_path), "mode": "ro"}})
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setattr(guests, "_START", guests._START.replace("{", "{'SECRET': 'x', "))
        monkeypatch.setattr(guests.seccomp, "program", lambda arch: ALLOWING)
        monkeypatch.setattr(Engine, "kill", lambda engine, container: None)
        monkeypatch.setattr("oneturn.sandbox.container.proof._END_PATIENCE", 0.5)
        sandbox = sandbox_on(podman_service)
        controls = sandbox.controls()
        assert {one.name for one in controls if one.proved} == set()
        for use in (lambda: sandbox.open(Limits(), 1), sandbox.session):
            with pytest.raises(SandboxUnavailable, match=r"container does not hold.*network \(.*Nothing ran"):
                use()
        sandbox.close()

    @pytest.mark.parametrize("control", ["network", "memory limit"])
    def test_one_that_is_not_there_is_enough(
        self, podman_service: PodmanService, monkeypatch: pytest.MonkeyPatch, control: str
    ) -> None:
        without(monkeypatch, **_LESS[control])
        sandbox = sandbox_on(podman_service)
        with pytest.raises(SandboxUnavailable, match=rf"container does not hold.*: {control} \("):
            sandbox.open(Limits(), 1)
        sandbox.close()

    def test_a_runtime_that_the_engine_ignored(self, podman_service: PodmanService) -> None:
        sandbox = sandbox_on(podman_service, runtime="runsc", warm=0)
        assert sandbox.isolation == "gvisor"
        with pytest.raises(SandboxUnavailable, match=r"gvisor does not hold.*own kernel \(the guest runs on"):
            sandbox.open(Limits(), 1)
        sandbox.close()


class TestGVisor:
    @pytest.fixture(scope="class")
    @classmethod
    def gvisor(cls, podman_service: PodmanService) -> Iterator[ContainerSandbox]:
        sandbox = sandbox_on(podman_service, engine=podman_service.gvisor, runtime="runsc", warm=1)
        yield sandbox
        sandbox.close()

    def test_its_controls_hold(self, gvisor: ContainerSandbox) -> None:
        controls: dict[str, Control] = {control.name: control for control in gvisor.controls()}
        assert [one for one in controls.values() if one.required and not one.proved] == []
        assert controls["own kernel"].proved
        assert gvisor.isolation == "gvisor"

    def test_a_script_and_its_calls(self, gvisor: ContainerSandbox) -> None:
        source = "import asyncio\nsum(await asyncio.gather(*[crm.find(i) for i in range(5)]))"
        assert play(gvisor, source) == Finished(10)

    def test_a_session_keeps_its_variables(self, gvisor: ContainerSandbox) -> None:
        session = gvisor.session()
        for source, value in (("x = 20", None), ("x + 1", 21)):
            run = session.open(Limits(), 1)
            assert finish(run, run.start(script(source)))[0] == Finished(value)
            run.close()
        session.close()

    @pytest.mark.parametrize(
        ("source", "kind"),
        [
            ("while True:\n    pass", "TimeoutError"),
            ("x = []\nwhile True:\n    x.append('abc' * 100)", "MemoryError"),
            ("import ctypes", "ModuleNotFoundError"),
        ],
    )
    def test_limits(self, gvisor: ContainerSandbox, source: str, kind: str) -> None:
        end = play(gvisor, source, cpu_seconds=0.5, memory=16 << 20)
        assert end.error is not None
        assert end.error.kind == kind
        assert play(gvisor, "1 + 1").value == 2

    def test_kill(self, gvisor: ContainerSandbox) -> None:
        run = gvisor.open(Limits(), 1)
        until_blocked(run, run.start(script("await solo(1)")))
        run.kill()
        run.close()
        assert play(gvisor, "1 + 1").value == 2


async def test_a_program_taken_up_again_comes_to_the_same(
    podman_service: PodmanService, tmp_path: Path
) -> None:
    await comes_to_the_same(
        tmp_path, lambda: {"sandbox": sandbox_on(podman_service, warm=1)}, seed=0, most=2, python=True
    )
