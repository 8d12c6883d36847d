"""What this process holds that could leak: processes, descriptors, control groups, mounts, threads.

Linux only; everything is read from `/proc` and the control group file systems.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_PATIENCE = 3.0  # seconds
_OURS = "oneturn"  # control groups whose names begin like this are made by sandboxes


@dataclass(frozen=True)
class Held:
    """What is held at one moment. Descriptors are counted by what they are, such as `pipe`."""

    processes: frozenset[int]
    descriptors: Counter[str]
    cgroups: frozenset[str]
    mounts: frozenset[str]
    threads: int

    def beyond(self, before: Held) -> list[str]:
        """What there is more of than before, one line for each."""
        more = self.descriptors - before.descriptors
        lines = [f"process {pid}: {_command(pid)}" for pid in self.processes - before.processes]
        lines += [f"descriptor: {count} × {what}" for what, count in more.items()]
        lines += [f"control group: {path}" for path in self.cgroups - before.cgroups]
        lines += [f"mount: {line}" for line in self.mounts - before.mounts]
        if self.threads > before.threads:
            lines.append(f"threads: {self.threads - before.threads}")
        return lines


def leaked(before: Held) -> list[str]:
    """What is held beyond what was held before, once the kernel has had time to clear up."""
    until = time.monotonic() + _PATIENCE
    while (found := held().beyond(before)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def held() -> Held:
    """What this process holds now, its dead but unreaped children too."""
    return Held(
        frozenset(descendants(zombies=True)),
        Counter(_descriptors()),
        frozenset(_cgroups()),
        frozenset(_mounts()),
        threading.active_count(),
    )


def descendants(*, zombies: bool = False) -> dict[int, int]:
    """The processes below this one, each with its parent."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            status = _status(int(name))
            if status is not None and (zombies or status[1] != "Z"):
                children.setdefault(status[0], []).append(int(name))
    found: dict[int, int] = {}
    left = [os.getpid()]
    while left:
        parent = left.pop()
        below = children.get(parent, [])
        found.update(dict.fromkeys(below, parent))
        left += below
    return found


def kill(pid: int) -> bool:
    """Kill a process below this one. False when it is gone already: its number is never mistaken."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if pid not in descendants():
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _status(pid: int) -> tuple[int, str] | None:
    """Parent and state of a process; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return int(parent), state


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace")[:80]
    return "gone"


def _descriptors() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own
            yield os.readlink(f"/proc/self/fd/{name}").partition(":[")[0]


def _cgroups() -> Iterator[str]:
    """Control groups of sandboxes of this process; their names hold its number."""
    for folder, names, _ in os.walk(_CGROUPS):
        for name in names:
            if name.startswith(_OURS) and f"-{os.getpid()}-" in name:
                yield str(Path(folder, name))


def _mounts() -> Iterator[str]:
    """Mounts, but for those of container engines, which come and go with what others on this machine do."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, kind = line.split()[4], line.partition(" - ")[2].split()[0]
        if "/overlay" not in place and kind not in ("overlay", "nsfs"):
            yield line
