"""The proofs: everything is refused in a jail, and each proof fails where its control is missing."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.sandbox.unconfined import GuestProcess

from oneturn.errors import SandboxError, SandboxUnavailable
from oneturn.sandbox.channel import SocketChannel
from oneturn.sandbox.cpython import CPythonSandbox
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


def letting(*numbers: int) -> bytes:
    """The filter with one system call, by its numbers on both architectures, let through first."""
    number = numbers[COLUMN[platform.machine()]]
    lines = ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x7FFF0000))
    return b"".join(struct.pack("<HBBI", *line) for line in lines) + seccomp.program()


class Without:
    """Takes away every layer of one control, in a copy of what runs inside, and nothing else."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._inside = folder / "inside"
        self._monkeypatch = monkeypatch
        shutil.copytree(Path(zygote.__file__).parent.parent / "inside", self._inside)
        monkeypatch.setattr(zygote, "_MAIN", self._inside / "zygote.py")

    def lines(self, file: str, *edits: tuple[str, str]) -> None:
        """Replace pieces of a file, each of which must be there."""
        path = self._inside / file
        text = path.read_text()
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        path.write_text(text)

    def call(self, *numbers: int) -> None:
        """Let one system call through the filter."""
        weak = letting(*numbers)
        self._monkeypatch.setattr("oneturn.sandbox.cpython.seccomp.program", lambda: weak)

    def showing(self, path: str) -> None:
        """Show one more folder of the host."""
        more = f'[*spec["shown"], "{path}"],'
        self.lines("jail.py", ('_new_root(spec["shown"],', f"_new_root({more}"))
        self.lines("jail.py", ('_landlock(spec["shown"],', f"_landlock({more}"))

    def groups(self) -> None:
        """Make no control groups."""
        self._monkeypatch.setattr(Cgroups, "available", classmethod(lambda cls: None))


def no_memory_limit(without: Without) -> None:
    without.lines("jail.py", ("_limit(resource.RLIMIT_DATA,", "max(0,"))
    without.lines("jail.py", ("_limit(resource.RLIMIT_AS,", "max(0,"))
    without.groups()


def same_processes(without: Without) -> None:
    without.lines(
        "jail.py",
        ('_check("A namespace of processes", _libc.unshare(NEW_PROCESSES))', "pass"),
        ('_check("Going back to the own processes", _libc.setns(own, NEW_PROCESSES))', "pass"),
    )


def writable_root(without: Without) -> None:
    without.lines(
        "jail.py",
        ('_set_attributes("A read-only root",', "max(0, 0); ('',"),
        ("mode=755,size=1m", "mode=777,size=1m"),
        ('    _landlock(spec["shown"], spec["devices"])', "    pass"),
    )


def unlimited_threads(without: Without) -> None:
    without.lines("jail.py", ("_limit(resource.RLIMIT_NPROC,", "max(0,"))
    without.groups()


def core_dumps(without: Without) -> None:
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("this machine allows nobody core dumps")
    without.lines(
        "jail.py",
        ("_limit(resource.RLIMIT_CORE, 0)", "pass"),
        ("resource.setrlimit(resource.RLIMIT_CORE, (0, 0))", "pass"),
    )


def never_stopped(without: Without) -> None:
    without._monkeypatch.setattr("oneturn.sandbox.jail.probes._LATE", 0.5)
    without._monkeypatch.setattr(zygote.Guest, "computed", lambda self: 0.0)


WITHOUT: dict[str, Callable[[Without], None]] = {
    "memory limit": no_memory_limit,
    "host files out of reach": lambda it: it.showing("/etc"),
    "read-only root": writable_root,
    "scratch folder has a size": lambda it: it.lines("jail.py", ("size={spec['scratch']},", "")),
    "no network": lambda it: it.call(41, 198),  # socket
    "other processes out of reach": same_processes,
    "no /proc": lambda it: it.showing("/proc"),
    "no inherited descriptors": lambda it: it.lines("zygote.py", ("os.closerange(_CHANNEL + 1,", "max(0,")),
    "empty environment": lambda it: it.lines("zygote.py", ("os.environ.clear()", "pass")),
    "no name of the host": lambda it: it.lines("jail.py", ('_NAME = b"jail"', '_NAME = b"host"')),
    "no other program": lambda it: it.call(59, 221),  # execve
    "no other process": lambda it: it.call(56, 220),  # clone
    "limit on threads": unlimited_threads,
    "no tracing": lambda it: it.call(*CALLS["ptrace"]),
    "no namespaces or mounts": lambda it: it.call(*CALLS["unshare"]),
    "no other doors into the kernel": lambda it: it.call(*CALLS["bpf"]),
    "no privileges": lambda it: it.call(105, 146),  # setuid
    "limits cannot be changed": lambda it: it.call(302, 261),  # prlimit64
    "no core dumps": core_dumps,
    "no memory that is written and executed": lambda it: it.call(9, 222),  # mmap
    DEADLINE: never_stopped,
}


def test_every_control_is_taken_away_once() -> None:
    assert set(WITHOUT) == {*PROBES, DEADLINE}


@pytest.fixture(scope="module")
def has_jail() -> None:
    sandbox = CPythonSandbox(way="zygote", warm=0)
    try:
        sandbox.controls()
    except SandboxUnavailable as error:
        pytest.skip(f"this machine has no jail: {error}")
    finally:
        sandbox.close()


@pytest.mark.usefixtures("has_jail")
@pytest.mark.parametrize("name", WITHOUT)
def test_the_tier_refuses_to_run_without_a_control(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WITHOUT[name](Without(tmp_path, monkeypatch))
    sandbox = CPythonSandbox(way="zygote", warm=0)
    try:
        with pytest.raises(SandboxUnavailable, match=f"does not hold, so nothing ran: .*{re.escape(name)}"):
            sandbox.open(Limits(), 1)
    finally:
        sandbox.close()


class TestOtherWay:
    """The proofs are the same ones; what they find in a jail of bubblewrap's is sampled."""

    def test_one_system_call_too_many(self) -> None:
        weak = dataclasses.replace(plan(), syscalls=letting(41, 198))
        assert "no network" in failed(proved("bubblewrap", weak))

    def test_a_folder_of_the_host(self) -> None:
        own = spec.interpreter()
        weak = dataclasses.replace(plan(), interpreter=dataclasses.replace(own, shared=(*own.shared, "/etc")))
        assert "host files out of reach" in failed(proved("bubblewrap", weak, plan()))

    def test_more_scratch(self) -> None:
        weak = dataclasses.replace(plan(), scratch=32 << 20)
        assert failed(proved("bubblewrap", weak, plan())) == {"scratch folder has a size"}


def test_a_guest_that_dies_of_a_probe_proves_nothing() -> None:
    # Killed at its first look at anything: the verdict of every control is missing.
    lines = ((0x20, 0, 0, 0), (0x15, 0, 1, (41, 198)[COLUMN[platform.machine()]]), (0x06, 0, 0, 0x80000000))
    deadly = b"".join(struct.pack("<HBBI", *line) for line in lines) + seccomp.program()
    controls = proved("zygote", dataclasses.replace(plan(), syscalls=deadly))
    assert failed(controls) == set(PROBES)
    assert "ended" in controls["no network"].why


def test_a_jail_without_a_filter_is_refused() -> None:
    with started("zygote", dataclasses.replace(plan(), syscalls=b"")) as jail, pytest.raises(SandboxError):
        prove(jail, plan())
