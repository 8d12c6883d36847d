"""Whose containers are whose, so that those of a host that died are removed by the next one.

An owner is a process: its machine, its id and when it started, as ids are used again. Containers of other
machines, which may share an engine, and of processes that still live are left alone.
"""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

from .engine import Engine


def this_process() -> str:
    """The owner that this process puts on its containers."""
    return f"{_machine()} {os.getpid()} {_started(os.getpid())}"


def sweep(engine: Engine) -> int:
    """Remove the containers whose owner is gone: how many there were."""
    stale = [container for container, owner in engine.owners().items() if _is_gone(owner)]
    for container in stale:
        engine.remove(container)
    return len(stale)


def _is_gone(owner: str) -> bool:
    machine, _, process = owner.partition(" ")
    pid, _, started = process.partition(" ")
    return machine == _machine() and pid.isdecimal() and _started(int(pid)) != started


def _machine() -> str:
    """This machine, and the part of it whose process ids we see."""
    with contextlib.suppress(OSError):
        return f"{platform.node()}/{Path('/proc/self/ns/pid').stat().st_ino}"
    return platform.node()


def _started(pid: int) -> str:
    """When a process started, in the machine's own count; empty when it is gone, "alive" without /proc."""
    if Path("/proc/self/stat").exists():
        with contextlib.suppress(OSError, IndexError):
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            fields = state.rpartition(")")[2].split()
            return "" if fields[0] in "ZX" else fields[19]
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass  # it lives and is somebody else's
    return "alive"
