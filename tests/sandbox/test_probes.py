"""The proofs: everything is refused in a jail, and each proof fails where its control is missing."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.unconfined import GuestProcess

from oneturn.errors import SandboxError, SandboxUnavailable
from oneturn.sandbox.channel import SocketChannel
from oneturn.sandbox.cpython import CPythonSandbox
from oneturn.sandbox.guest_run import Connect, GuestRun
from oneturn.sandbox.inside.probe import CALLS, PROBES
from oneturn.sandbox.jail import bubblewrap, seccomp, spec, zygote
from oneturn.sandbox.jail.cgroups import Cgroups
from oneturn.sandbox.jail.probes import Jail, prove
from oneturn.types import Control, Limits

DEADLINE = "a script is stopped at its deadline"
GROUP = "a control group for each run"
COLUMN = {"x86_64": 0, "aarch64": 1}
FREE = """
import importlib.util, os, resource, sys
spec = importlib.util.spec_from_file_location("guest", sys.argv[1])
guest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(guest)
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
os.environ["ONETURN_SECRET"] = "1"
guest.prepare()
guest.serve(0, lambda limits: None)
"""


def plan() -> spec.JailSpec:
    return spec.JailSpec(spec.interpreter(), seccomp.program(), scratch=4 << 20)


class Unconfined:
    """Guests with nothing round them at all."""

    grouped = False

    def guest(self, memory: int) -> SocketChannel:
        main = Path(spec.__file__).parent.parent / "inside" / "guest.py"
        ours, theirs = socket.socketpair()
        with theirs, open(__file__, "rb") as left_open:
            process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-c", FREE, str(main)],
                env={"PYTHONHASHSEED": "0"},
                stdin=theirs,
                pass_fds=[left_open.fileno()],
                start_new_session=True,
            )
        return SocketChannel(ours, GuestProcess(process))


def jails() -> Iterator[tuple[str, type[zygote.WarmJail] | type[bubblewrap.BubblewrapJail]]]:
    yield "zygote", zygote.WarmJail
    yield "bubblewrap", bubblewrap.BubblewrapJail


@contextlib.contextmanager
def started(kind: str, of: spec.JailSpec) -> Iterator[Jail]:
    try:
        jail = dict(jails())[kind](of)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    try:
        yield jail
    finally:
        jail.close()


def proved(kind: str, of: spec.JailSpec, said: spec.JailSpec | None = None) -> dict[str, Control]:
    with started(kind, of) as jail:
        try:
            return {control.name: control for control in prove(jail, said or of)}
        except SandboxUnavailable as error:
            pytest.skip(str(error))


def failed(controls: dict[str, Control]) -> set[str]:
    return {name for name, control in controls.items() if control.required and not control.proved}


@pytest.mark.parametrize("kind", ["zygote", "bubblewrap"])
def test_every_control_of_a_jail_is_proved(kind: str) -> None:
    controls = proved(kind, plan())
    assert {name: control.why for name, control in controls.items() if control.proved is False} == {}
    assert set(controls) == {*PROBES, DEADLINE, GROUP}
    assert controls[GROUP].proved is (True if Cgroups.available() else None)


def test_without_a_jail_every_probe_fires() -> None:
    held = {control.name for control in prove(Unconfined(), plan()) if control.proved}
    # The host itself ends a script that computes too long, jail or none. An ordinary user is not root, and
    # a machine may deny even ordinary users a place to write.
    expected = {DEADLINE}
    if os.getuid() != 0:
        expected |= {"no privileges", "read-only root"}
    assert held <= expected
    assert DEADLINE in held


def test_a_script_that_the_host_cannot_stop_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oneturn.sandbox.jail.probes._LATE", 0.5)
    monkeypatch.setattr(GuestProcess, "computed", lambda self: 0.0)
    controls = {control.name: control for control in prove(Unconfined(), plan())}
    assert not controls[DEADLINE].proved


def letting(number: int) -> bytes:
    """The filter with one system call let through first."""
    lines = ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x7FFF0000))
    return b"".join(struct.pack("<HBBI", *line) for line in lines) + seccomp.program()


NUMBERS = {
    "no network": (41, 198),  # socket
    "no other program": (59, 221),  # execve
    "no other process": (56, 220),  # clone
    "no tracing": CALLS["ptrace"],
    "no namespaces or mounts": CALLS["unshare"],
    "no other doors into the kernel": CALLS["bpf"],
    "limits cannot be changed": (302, 261),  # prlimit64
    "no memory that is written and executed": (9, 222),  # mmap
}


@pytest.mark.parametrize("kind", ["zygote", "bubblewrap"])
@pytest.mark.parametrize("name", NUMBERS)
def test_one_system_call_too_many_is_found(kind: str, name: str) -> None:
    weak = dataclasses.replace(plan(), syscalls=letting(NUMBERS[name][COLUMN[platform.machine()]]))
    assert name in failed(proved(kind, weak))


@pytest.mark.parametrize("kind", ["zygote", "bubblewrap"])
class TestWeakerThanItSays:
    def test_a_folder_of_the_host(self, kind: str) -> None:
        own = spec.interpreter()
        weak = dataclasses.replace(plan(), interpreter=dataclasses.replace(own, shared=(*own.shared, "/etc")))
        assert "host files out of reach" in failed(proved(kind, weak, plan()))

    def test_more_scratch(self, kind: str) -> None:
        weak = dataclasses.replace(plan(), scratch=32 << 20)
        assert failed(proved(kind, weak, plan())) == {"scratch folder has a size"}

    def test_more_threads(self, kind: str) -> None:
        weak = dataclasses.replace(plan(), threads=64)
        assert failed(proved(kind, weak, plan())) == {"limit on threads"}

    def test_more_memory(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def generous(connect: Connect, limits: Limits, seed: int, **rest: Any) -> GuestRun:
            return GuestRun(connect, dataclasses.replace(limits, memory=limits.memory * 8), seed, **rest)

        monkeypatch.setattr("oneturn.sandbox.jail.probes.GuestRun", generous)
        with started(kind, plan()) as jail:
            controls = {control.name: control for control in prove(Generous(jail), plan())}
        assert failed(controls) == {"memory limit"}


class Generous:
    """Asks for the guests of a jail with more memory than it is asked for."""

    def __init__(self, jail: Jail) -> None:
        self._jail = jail
        self.grouped = jail.grouped

    def guest(self, memory: int) -> SocketChannel:
        channel = self._jail.guest(memory * 8)
        assert isinstance(channel, SocketChannel)
        return channel


def test_a_guest_that_dies_of_a_probe_proves_nothing() -> None:
    # Killed at its first look at anything: the verdict of every control is missing.
    lines = ((0x20, 0, 0, 0), (0x15, 0, 1, (41, 198)[COLUMN[platform.machine()]]), (0x06, 0, 0, 0x80000000))
    deadly = b"".join(struct.pack("<HBBI", *line) for line in lines) + seccomp.program()
    controls = proved("zygote", dataclasses.replace(plan(), syscalls=deadly))
    assert failed(controls) == set(PROBES)
    assert "ended" in controls["no network"].why


@pytest.mark.parametrize("name", NUMBERS)
def test_the_tier_refuses_to_run_with_a_control_that_does_not_hold(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = letting(NUMBERS[name][COLUMN[platform.machine()]])
    monkeypatch.setattr("oneturn.sandbox.cpython.seccomp.program", lambda: weak)
    sandbox = CPythonSandbox()
    try:
        with pytest.raises(SandboxUnavailable, match=name):
            sandbox.open(Limits(), 1)
    finally:
        sandbox.close()


def test_a_jail_without_a_filter_is_refused() -> None:
    with started("zygote", dataclasses.replace(plan(), syscalls=b"")) as jail, pytest.raises(SandboxError):
        prove(jail, plan())
