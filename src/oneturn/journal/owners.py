"""Who holds a run: this process, in words that another one can tell alive from dead.

A process is known dead only by one that sees it or would see it: on the same machine, since the same boot
(or a later one), in the same namespace of processes. Of all others only their silence tells.
"""

from __future__ import annotations

import functools
import os
import socket
import sys
import uuid
from pathlib import Path

LEASE = 30.0
"""Seconds after which another host may take a run whose host has fallen silent."""


@functools.cache
def _place() -> tuple[str, str, str]:
    """This machine, its boot, and the namespace of processes."""
    boot = _text("/proc/sys/kernel/random/boot_id") or "-"
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = "-"
    return f"{socket.gethostname()}~{uuid.getnode():x}", boot, space


def this_process() -> str:
    """The owner that this process writes into the runs it has."""
    return "/".join([*_place(), str(os.getpid()), _began(os.getpid())]).replace(" ", "")


def is_dead(owner: str) -> bool:
    """Whether the process that wrote this is known to be gone."""
    parts = owner.split("/")
    if len(parts) != 5 or not sys.platform.startswith("linux"):
        return False
    machine, boot, space, pid, began = parts
    here_machine, here_boot, here_space = _place()
    if machine != here_machine:
        return False
    if boot != here_boot:
        return True  # before this machine was started
    return space == here_space and pid.isdigit() and _began(int(pid)) != began


def _began(pid: int) -> str:
    """When a process began, in ticks since the boot; empty when there is none."""
    stat = _text(f"/proc/{pid}/stat")
    fields = stat.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in ("Z", "X"):
        return ""
    return fields[19]


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
