"""A sandbox that confines nothing: the guest in an ordinary subprocess. For tests of the guest and the wire.

It has the memory limit of a real tier, because that is part of what a script sees, and the determinism.
Never for anything but tests.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from oneturn.sandbox.base import Script
from oneturn.sandbox.channel import SocketChannel
from oneturn.sandbox.guest_run import GuestRun, GuestSession
from oneturn.types import Control, Finished, Limits

MAIN = Path(__file__).with_name("unconfined_main.py")
MODULES = (
    "__future__", "abc", "array", "asyncio", "base64", "bisect", "calendar", "collections", "contextlib",
    "contextvars", "copy", "csv", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools",
    "gc", "hashlib", "heapq", "inspect", "io", "itertools", "json", "logging", "math", "numpy", "operator",
    "pandas", "pickle", "queue", "random", "re", "secrets", "statistics", "string", "sys", "textwrap",
    "time", "traceback", "types", "typing", "uuid", "warnings", "weakref", "zoneinfo",
)  # fmt: skip
HINTS = {"requests": "there is no network; call a tool"}


class GuestProcess:
    """An ordinary child process, and all it starts."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def computed(self) -> float | None:
        """CPU seconds, as the kernel counts them."""
        try:
            return time.clock_gettime((~self.process.pid << 3) | 2)
        except OSError:
            return None

    def kill(self) -> None:
        """Kill its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill it and wait until it has gone."""
        self.kill()
        self.process.wait()

    def fate(self) -> str:
        """How it ended, if it has."""
        try:
            return f"ended with status {self.process.wait(timeout=1)}"
        except subprocess.TimeoutExpired:
            return ""


def connect(python: str = sys.executable) -> SocketChannel:
    """A channel to a fresh guest."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [python, "-s", "-P", str(MAIN), str(theirs.fileno())],
        env={"PYTHONHASHSEED": "0"},
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    theirs.close()
    return SocketChannel(ours, GuestProcess(process))


class UnconfinedSandbox:
    """One subprocess for each run."""

    def __init__(self, python: str = sys.executable) -> None:
        self._connect = partial(connect, python)

    name = "cpython"
    isolation = "interpreter"

    def open(self, limits: Limits, seed: int, *, caller: str = "") -> GuestRun:
        """A run in a process of its own."""
        return GuestRun(self._connect, limits, seed, modules=MODULES, hints=HINTS)

    def session(self, *, caller: str = "") -> GuestSession:
        """A process that stays."""
        return GuestSession(self._connect, modules=MODULES, hints=HINTS)

    def controls(self) -> Sequence[Control]:
        """Its one limit."""
        run = self.open(Limits(memory=16 * 1024 * 1024), 1)
        end = run.start(Script("x = 'a' * 10**9"))
        run.close()
        refused = isinstance(end, Finished) and end.error is not None and end.error.kind == "MemoryError"
        return (Control("memory", refused, "a script took more than it may"),)

    def close(self) -> None:
        """Each run closes its own."""
