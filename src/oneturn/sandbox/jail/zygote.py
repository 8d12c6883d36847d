"""The host's handle on the warm process: started once, it gives a confined guest in a few milliseconds.

`Zygote` is one such process; what it is and says is told in `inside/zygote.py`. `WarmJail` keeps one
alive, replaces it when it has died, and has a few guests forked and sealed ahead of need, none of which
has seen a script. `Guest` is one of them: the process behind a channel.

Nothing here waits in a thread of its own. Each guest has a report socket, so whoever waits for a guest
reads only what concerns that guest, and everything may be called from any thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError, SandboxClosed, SandboxError, SandboxUnavailable
from ..channel import LARGEST, SocketChannel
from .cgroups import Cgroup, Cgroups
from .spec import JailSpec

_MAIN = Path(__file__).parent.parent / "inside" / "zygote.py"
_STARTING = 120.0  # seconds for the imports
_FORKING = 20.0  # seconds until a guest must be there, on a machine under load
_DYING = 10.0  # seconds until a killed process must be gone
_LINGERING = 1.0  # seconds a process may take to end after it has closed its channel
_PACKET = 4096
_SHORT = 75  # as `inside/zygote.py` has it


class Guest:
    """One forked process and all it starts. Thread-safe."""

    def __init__(self, report: socket.socket, group: Cgroup | None) -> None:
        self._report = report
        self._group = group
        self._lock = threading.Lock()  # the descriptors are used by no one while they are closed
        self._pidfd: int | None = None
        self._pid: int | None = None
        self._fate = ""
        self._killed = False
        self._closed = False

    def started(self) -> None:
        """Wait until it is there. Idempotent, for one thread.

        Raises:
            SandboxError: It could not be forked.
        """
        if self._pidfd is not None:
            return
        told, descriptors = self._told(_FORKING)
        if "started" not in told or not descriptors:  # there may be no room for one more of those
            why = told.get("failed", "the process it is forked from has gone, or has no room for it")
            raise SandboxError(f"No guest could be started: {why}")
        (self._pidfd,) = descriptors
        self._pid = _pid(self._pidfd)

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._pidfd is not None and not _ready(self._pidfd, 0)

    def computed(self) -> float | None:
        """CPU seconds of the process, all of its threads; None once it has gone."""
        with self._lock:
            if self._pid is None or not self.alive():
                return None
            try:
                return time.clock_gettime((~self._pid << 3) | 2)  # as clock_getcpuclockid(3) makes it
            except OSError:
                return None

    def kill(self) -> None:
        """Kill it, and with it everything in its namespace of processes."""
        with self._lock:
            self._killed = True
            if self._pidfd is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Kill it, wait until it is gone, and give the descriptors back."""
        self.kill()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            gone = self._pidfd is None or _ready(self._pidfd, _DYING)
            self._report.close()
            if self._pidfd is not None:
                os.close(self._pidfd)
                self._pid = self._pidfd = None
        if self._group is not None:
            self._group.remove()
        if not gone:
            raise SandboxError("A guest is still there after it was killed.")

    def fate(self) -> str:
        """Why it has gone; empty when nobody knows, or it has not."""
        with self._lock:
            if not self._fate and not self._closed:
                self._fate = self._read_fate()
            return self._fate

    def _read_fate(self) -> str:
        if self._pidfd is not None and not _ready(self._pidfd, _LINGERING):
            return ""
        told, _ = self._told(_DYING)
        if "ended" not in told:
            return "was lost with the process it was forked from"
        code = told["ended"]
        if code == _SHORT:
            return "ended with status 75, which says that the machine is short of processes or descriptors"
        if code >= 0:
            return f"ended by itself, with status {code}"
        if code == -signal.SIGKILL:
            if self._killed:
                return "was stopped"
            starved = self._group is not None and self._group.oom_killed()
            return "was killed for its memory" if starved else "was killed from outside"
        if code == -signal.SIGSYS:
            return "was killed for a system call that is not allowed"
        return f"crashed ({signal.Signals(-code).name})"

    def _told(self, patience: float) -> tuple[dict[str, Any], list[int]]:
        """The next packet of the report and its descriptors; empty when there is none."""
        if not _ready(self._report.fileno(), patience):
            return {}, []
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._report, _PACKET, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return {}, []
        return (json.loads(packet) if packet else {}), descriptors


class Zygote:
    """One warm process.

    Raises:
        SandboxUnavailable: The machine refuses a part of the jail; the text says which.
        ConfigError: An import failed.
        SandboxError: It ended before it was ready, or the machine is short of something; a retry is safe.
    """

    def __init__(self, spec: JailSpec) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 (the operator's own choice of interpreter)
                    [spec.interpreter.executable, "-S", "-s", "-P", "-B", "-X", "utf8", str(_MAIN)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={"PYTHONHASHSEED": "0"},
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                self._control.close()
                raise SandboxError(f"No warm process could be started: {error.strerror}.") from error
        try:
            self._start(spec)
        except BaseException:
            self.close()
            raise

    def _start(self, spec: JailSpec) -> None:
        executable = spec.interpreter.executable
        host = os.pidfd_open(os.getpid())
        try:
            self._control.settimeout(_STARTING)
            socket.send_fds(self._control, [json.dumps(spec.to_json()).encode()], [host])
            packet = self._control.recv(_PACKET)
        except TimeoutError:
            raise ConfigError(
                f"The imports {', '.join(spec.imports)} were not done after {_STARTING:g} s in {executable}."
            ) from None
        except OSError:
            packet = b""
        finally:
            os.close(host)
        told = json.loads(packet) if packet else {}
        if told.get("of") == "import":
            raise ConfigError(told["failed"])
        if told.get("of") == "shortage":
            raise SandboxError(f"{told['failed']} Try again in a moment.")
        if "failed" in told:
            raise SandboxUnavailable(told["failed"])
        if "resident" not in told:
            doing = f", while it imported {', '.join(spec.imports)}" if spec.imports else ""
            raise SandboxError(f"The warm process of {executable} ended before it was ready{doing}.")
        self.resident: int = told["resident"]
        """Bytes of memory in use; a guest copies what of it it changes."""

    def alive(self) -> bool:
        """Whether it still runs."""
        gone = select.poll()
        gone.register(self._control, 0)  # the zygote's end is closed before the launcher has noticed
        return self._process.poll() is None and not gone.poll(0)

    def fork(self, group: Cgroup | None) -> tuple[Guest, socket.socket]:
        """Ask for a guest, without waiting for it: its process, and the host's end of its channel.

        Args:
            group: A control group of its own, which it joins before anything else.

        Raises:
            SandboxError: The warm process has gone.
        """
        ours, channel = socket.socketpair()
        report, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        guest = Guest(report, group)
        with channel, told, contextlib.ExitStack() as stack:
            try:
                lists = [stack.enter_context(path.open("wb")) for path in _lists_of_processes(group)]
                socket.send_fds(
                    self._control,
                    [b"{}"],
                    [channel.fileno(), told.fileno(), *(file.fileno() for file in lists)],
                )
            except OSError as error:
                ours.close()
                guest.close()
                raise SandboxError(f"No guest could be asked for: {error.strerror}.") from error
        return guest, ours

    def close(self) -> None:
        """End it and every guest forked from it. Idempotent."""
        self._control.close()
        self._process.terminate()
        try:
            self._process.wait(_DYING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True, slots=True)
class _Forked:
    """A guest that was asked for, how much memory it was given, and the host's end of its channel."""

    guest: Guest
    sock: socket.socket
    memory: int

    def close(self) -> None:
        self.sock.close()
        self.guest.close()


class WarmJail:
    """Guests from a warm process that is started with the first one. Thread-safe.

    Args:
        spec: The jail.
        spares: Guests kept ready ahead of need, for as much memory as the last one had.
    """

    def __init__(self, spec: JailSpec, *, spares: int = 2) -> None:
        self._spec = spec
        self._wanted = spares
        self._groups = Cgroups.available()
        self._lock = threading.Lock()
        self._zygote: Zygote | None = None
        self._spares: list[_Forked] = []
        self._closed = False

    @property
    def grouped(self) -> bool:
        """Whether each guest has a control group of its own."""
        return self._groups is not None

    def guest(self, memory: int, *, largest: int = LARGEST) -> SocketChannel:
        """A guest that has seen no script yet.

        Args:
            memory: Bytes a script may use, on top of what the warm process has.
            largest: The most bytes of one of its frames.

        Raises:
            SandboxUnavailable: The machine refuses a part of the jail.
            ConfigError: An import failed.
            SandboxClosed: It was closed.
            SandboxError: No guest could be started; a retry is safe.
        """
        try:
            forked = self._ready(memory)
        except (SandboxClosed, SandboxUnavailable):
            raise
        except SandboxError:  # the warm process died meanwhile; nothing has run, so another may be tried
            forked = self._ready(memory)
        self._refill(memory)
        return SocketChannel(forked.sock, forked.guest, largest=largest)

    def close(self) -> None:
        """End the warm process and all its guests. Idempotent."""
        with self._lock:
            self._closed = True
            self._stop()

    def _ready(self, memory: int) -> _Forked:
        forked = self._spare(memory)
        if forked is None:
            with self._lock:
                forked = self._forked(memory)
        try:
            forked.guest.started()
        except BaseException:
            forked.close()
            raise
        return forked

    def _spare(self, memory: int) -> _Forked | None:
        """A guest that is ready; those that are of no use, or have gone, make room."""
        while True:
            with self._lock:
                if not self._spares:
                    return None
                spare = self._spares.pop(0)
            with contextlib.suppress(SandboxError):
                spare.guest.started()
                if spare.memory == memory and spare.guest.alive():
                    return spare
            spare.close()

    def _refill(self, memory: int) -> None:
        """Ask for what is missing; it is waited for when it is needed."""
        with self._lock, contextlib.suppress(SandboxError, ConfigError):  # the next guest says what is wrong
            while len(self._spares) < self._wanted:
                self._spares.append(self._forked(memory))

    def _forked(self, memory: int) -> _Forked:
        """Call it with the lock held."""
        zygote = self._living()
        group = None
        if self._groups is not None:
            room = memory + self._spec.scratch + zygote.resident
            group = self._groups.new(memory=room, processes=self._spec.threads)
        return _Forked(*zygote.fork(group), memory)

    def _living(self) -> Zygote:
        if self._closed:
            raise SandboxClosed("This sandbox was closed.")
        if self._zygote is not None and not self._zygote.alive():
            self._stop()
        if self._zygote is None:
            self._zygote = Zygote(self._spec)
        return self._zygote

    def _stop(self) -> None:
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            zygote.close()
        while self._spares:
            self._spares.pop().close()


def _lists_of_processes(group: Cgroup | None) -> list[Path]:
    """Where a process writes itself down to join the group."""
    return [] if group is None else [folder / "cgroup.procs" for folder in sorted({*group.folders.values()})]


def _ready(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read, such as the end of a process, within `seconds`."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def _pid(pidfd: int) -> int | None:
    """The number the host knows a process by."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text(encoding="ascii").splitlines():
            if line.startswith("Pid:"):
                pid = int(line.split()[1])
                return pid if pid > 0 else None
    return None
