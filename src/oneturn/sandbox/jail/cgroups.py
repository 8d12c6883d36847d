"""A control group for one guest: the kernel counts its memory, processes and CPU time, and ends it whole.

`Cgroups.available` finds where this process may make groups, in the one hierarchy of version 2 or the
several of version 1, and clears away what hosts that died left behind. Where nothing is writable, as for
most ordinary users, there are no groups: the resource limits of the jail then stand alone, and `doctor`
says so.

A group's name tells whose it is: the namespace of processes, the process and its start time. So no host
ever touches the groups of another one that lives. What a host made and did not remove goes when it ends by
itself; what one left that was killed, the next host on the machine finds, wherever in the hierarchy it is.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import SandboxError

_CONTROLLERS = ("memory", "pids", "cpu")
_NAME = re.compile(r"oneturn-(\d+)-(\d+)-(\d+)-(\d+)")
_PERIOD = 100_000  # microseconds over which a share of CPU time is counted
_REMOVAL = 5.0  # seconds a group has to become empty once everything in it was killed
_PAUSE = 0.002
_numbers = itertools.count()
_made: dict[str, Cgroup] = {}  # by name, those of this process that were not removed yet


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where groups can be made: a folder for each controller, all the same one in version 2."""

    folders: Mapping[str, Path]
    version: int

    @classmethod
    def available(cls) -> Cgroups | None:
        """The groups this process may make, or None where it may make none with all the controllers."""
        for found in (_version_2(), _version_1()):
            if found is not None and found._works():
                found.sweep()
                return found
        return None

    def new(self, *, memory: int, processes: int, cpus: float | None = None) -> Cgroup:
        """A group that holds nothing yet.

        Args:
            memory: Bytes, swap included where the kernel counts it; what exceeds them is killed.
            processes: The most processes and threads at once.
            cpus: The most CPUs at once, such as 0.5; None for as many as there are.

        Raises:
            SandboxError: The kernel refuses the group or one of its limits. None is left behind.
        """
        name = f"oneturn-{_own_name()}-{next(_numbers)}"
        group = Cgroup({kind: folder / name for kind, folder in self.folders.items()}, self.version)
        try:
            group._make(memory, processes, cpus)
            _made[name] = group
        except OSError as error:
            group.remove()
            raise SandboxError(f"A control group could not be made: {error.strerror}.") from error
        return group

    def sweep(self) -> None:
        """Remove the groups of hosts that are dead. Whatever still runs in them is killed."""
        # A host is often not in the group its predecessor was in: services and shells get new ones.
        for top in dict.fromkeys(map(_top, self.folders.values())):
            for place, names, _ in os.walk(top):
                ours = [name for name in names if _NAME.fullmatch(name)]
                names[:] = [name for name in names if name not in ours]  # there is nothing below them
                for name in filter(_is_stale, ours):
                    with contextlib.suppress(OSError, SandboxError):
                        Cgroup({"pids": Path(place, name)}, self.version).remove()

    def _works(self) -> bool:
        try:
            self.new(memory=1 << 26, processes=1, cpus=1.0).remove()
        except SandboxError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One group. Made by `Cgroups.new`."""

    folders: Mapping[str, Path]
    version: int

    def add(self, pid: int) -> None:
        """Put a process into the group; what it starts from now on is in it too.

        Raises:
            SandboxError: It has ended, or is not ours to move.
        """
        try:
            for folder in self._each():
                _write(folder, "cgroup.procs", pid)
        except OSError as error:
            raise SandboxError(
                f"A guest could not be put into its control group: {error.strerror}."
            ) from error

    def kill(self) -> None:
        """Kill everything in the group. Idempotent, from any thread; `remove` waits for the end."""
        with contextlib.suppress(OSError):
            if self.version == 2:
                _write(self.folders["pids"], "cgroup.kill", 1)
                return
            _write(self.folders["pids"], "pids.max", 0)  # nothing new while we count
        with contextlib.ExitStack() as held:
            handles: dict[int, int] = {}
            for pid in self._members():
                with contextlib.suppress(OSError):
                    handles[pid] = os.pidfd_open(pid)
                    held.callback(os.close, handles[pid])
            # One that ended meanwhile may have given its number to somebody else, who is not in the group.
            for pid in handles.keys() & self._members():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handles[pid], signal.SIGKILL)

    def oom_killed(self) -> bool:
        """Whether the kernel killed something in it for its memory."""
        text = self._read("memory", "memory.events" if self.version == 2 else "memory.oom_control")
        return _field(text, "oom_kill") > 0

    def cpu_seconds(self) -> float | None:
        """CPU time of everything that ever ran in it; None when the kernel does not say."""
        if self.version == 2:
            text = self._read("cpu", "cpu.stat")
            return _field(text, "usage_usec") / 1e6 if text else None
        spent = self._read("cpuacct", "cpuacct.usage")
        return int(spent) / 1e9 if spent else None

    def remove(self) -> None:
        """Kill what is left, wait until it is gone, and give the group back. Idempotent.

        Raises:
            SandboxError: Something in it did not die within five seconds.
        """
        deadline = time.monotonic() + _REMOVAL
        while not self._removed():
            self.kill()
            if time.monotonic() > deadline:
                raise SandboxError(f"The control group {self._name} cannot be emptied.")
            time.sleep(_PAUSE)
        _made.pop(self._name, None)

    @property
    def _name(self) -> str:
        return self.folders["pids"].name

    def _make(self, memory: int, processes: int, cpus: float | None) -> None:
        for folder in self._each():
            folder.mkdir()
        quota = None if cpus is None else int(cpus * _PERIOD)
        if self.version == 2:
            folder = self.folders["memory"]
            _write(folder, "memory.max", memory)
            with contextlib.suppress(FileNotFoundError):  # a kernel without swap
                _write(folder, "memory.swap.max", 0)
            _write(folder, "memory.oom.group", 1)
            if quota is not None:
                _write(folder, "cpu.max", f"{quota} {_PERIOD}")
        else:
            _write(self.folders["memory"], "memory.limit_in_bytes", memory)
            with contextlib.suppress(FileNotFoundError):  # a kernel that does not count swap
                _write(self.folders["memory"], "memory.memsw.limit_in_bytes", memory)
            if quota is not None:
                _write(self.folders["cpu"], "cpu.cfs_period_us", _PERIOD)
                _write(self.folders["cpu"], "cpu.cfs_quota_us", quota)
        _write(self.folders["pids"], "pids.max", processes)

    def _each(self) -> list[Path]:
        return list(dict.fromkeys(self.folders.values()))

    def _members(self) -> list[int]:
        found: set[int] = set()
        for folder in self._each():
            with contextlib.suppress(OSError):
                found.update(map(int, (folder / "cgroup.procs").read_text().split()))
        return sorted(found - {0, os.getpid()})  # 0: somebody outside our namespace of processes

    def _removed(self) -> bool:
        gone = True
        for folder in self._each():
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:  # busy: something in it is still dying
                gone = False
        return gone

    def _read(self, kind: str, name: str) -> str:
        try:
            return (self.folders[kind] / name).read_text()
        except (KeyError, OSError):
            return ""


@atexit.register
def _leave() -> None:
    """Remove the groups that nobody closed, unless they are those of a process we were forked from."""
    own = f"oneturn-{_own_name()}-" if _made else ""
    for group in [group for name, group in _made.items() if name.startswith(own)]:
        with contextlib.suppress(SandboxError):
            group.remove()


def _top(folder: Path) -> Path:
    """The uppermost group that can be seen above one."""
    while (folder.parent / "cgroup.procs").exists():
        folder = folder.parent
    return folder


def _version_2() -> Cgroups | None:
    """The nearest group from our own upwards that hands out every controller.

    A group that holds processes cannot, so as a rule it is not our own but the one above.
    """
    own = dict(_own_groups()).get("")
    for mount, root, kind, _ in _mounts():
        if kind != "cgroup2" or own is None:
            continue
        place = _inside(mount, root, own)
        while place is not None and place.is_relative_to(mount):
            with contextlib.suppress(OSError):
                if {*_CONTROLLERS} <= {*(place / "cgroup.subtree_control").read_text().split()}:
                    return Cgroups(dict.fromkeys(_CONTROLLERS, place), 2)
            place = place.parent
    return None


def _version_1() -> Cgroups | None:
    """Our own group in each of the controllers' hierarchies."""
    own = dict(_own_groups())
    found: dict[str, Path] = {}
    for mount, root, kind, options in _mounts():
        for controller in (*_CONTROLLERS, "cpuacct"):
            if kind == "cgroup" and controller in options and controller in own:
                place = _inside(mount, root, own[controller])
                if place is not None:
                    found[controller] = place
    return Cgroups(found, 1) if {*_CONTROLLERS} <= {*found} else None


def _own_groups() -> Iterator[tuple[str, str]]:
    """Each controller with our path in its hierarchy; the empty name is version 2."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                yield controller, path


def _mounts() -> Iterator[tuple[Path, str, str, list[str]]]:
    """Where hierarchies are mounted: place, the group that is its root, version, controllers."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            left, _, right = line.partition(" - ")
            kind, _, options = right.split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                _, _, _, root, place, *_ = left.split(" ")
                yield Path(place), root, kind, options.split(",")


def _inside(mount: Path, root: str, own: str) -> Path | None:
    if root == "/":
        return mount / own.lstrip("/")
    if own == root or own.startswith(f"{root}/"):
        return mount / own[len(root) :].lstrip("/")
    return None


def _own_name() -> str:
    return f"{os.stat('/proc/self/ns/pid').st_ino}-{os.getpid()}-{_started(os.getpid())}"


def _is_stale(name: str) -> bool:
    found = _NAME.fullmatch(name)
    if found is None or int(found[1]) != os.stat("/proc/self/ns/pid").st_ino:
        return False
    return _started(int(found[2])) != int(found[3])


def _started(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def _field(text: str, name: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0)


def _write(folder: Path, name: str, value: int | str) -> None:
    with open(folder / name, "w", encoding="ascii") as file:
        file.write(str(value))
