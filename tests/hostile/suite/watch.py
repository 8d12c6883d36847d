"""Watching this process and everything below it, from outside, while a case is played."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Process:
    """A process as `/proc` tells of it."""

    pid: int
    state: str
    threads: int

    def memory(self) -> int:
        """Bytes that are its own: files that are mapped, and memory that is shared, are counted elsewhere."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()
        except OSError:
            return 0
        return (int(pages[1]) - int(pages[2])) * _PAGE


def process(pid: int) -> Process | None:
    """What `/proc` says of a process; None when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return Process(pid, fields[0], int(fields[17]))


def below(pid: int | None = None) -> list[Process]:
    """Every process below this one, zombies too."""
    found: list[Process] = []
    waiting = [pid or os.getpid()]
    while waiting:
        for task in _tasks(waiting.pop()):
            with contextlib.suppress(OSError):
                for child in map(int, (task / "children").read_text().split()):
                    if (seen := process(child)) is not None:
                        found.append(seen)
                        waiting.append(child)
    return found


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def meminfo(field: str) -> int:
    """A line of `/proc/meminfo`, in bytes."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def own_memory(field: str) -> int:
    """A line of our own `/proc/self/status`, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


class Watch:
    """From `start` to `stop`: the most memory of this process and of those below it, above what it was."""

    def __init__(self, ignore: int) -> None:
        self._ignore = ignore  # the victim is no guest

    def start(self) -> None:
        """Begin to look, forty times a second."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        self._own = own_memory("VmRSS")
        self._idle, self._most = self._guests(), 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()
        self.host_memory = max(0, own_memory("VmHWM") - self._own)
        self.guest_memory = max(0, self._most - self._idle)

    def _guests(self) -> int:
        """Memory of every guest, and all that is shared or in files in memory, wherever they are mounted."""
        return sum(each.memory() for each in below() if each.pid != self._ignore) + meminfo("Shmem")

    def _look(self) -> None:
        while not self._over.wait(0.025):
            self._most = max(self._most, self._guests())


class Heartbeat:
    """A task that only wants to run every few milliseconds: the longest time it was kept from it."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def beat(self) -> None:
        """Beat until cancelled."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            last = now
