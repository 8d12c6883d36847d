"""The OS jail round a Monty worker: what the pool starts in place of Monty's own binary, and its proof.

The jail is bubblewrap's (`jail.bubblewrap`). Killing the process that the pool started kills everything
below it, so workers are ended in the same way at both levels. A worker cannot try what it must not do, so
a Python takes its place in the same jail and tries: what of `inside/probe.py` has a meaning for a program
that only computes.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic_monty._binary import find_monty_binary

from ..types import Control
from .jail import seccomp
from .jail.bubblewrap import Root, command, worker_binary
from .jail.spec import Interpreter, interpreter

_PROBE = Path(__file__).parent / "inside" / "probe.py"
_TRIED = (
    "no network", "other processes out of reach", "no /proc", "empty environment",
    "no other process", "no tracing", "no namespaces or mounts", "no other doors into the kernel",
    "no core dumps", "no memory that is written and executed",
)  # fmt: skip
_TELL = """
def host_files():
    for path in (*PLAN["planted"], "/etc/passwd"):
        with contextlib.suppress(OSError), open(path, "rb"):
            yield f"{path} can be read"
    yield from (f"/{name} is there" for name in os.listdir("/") if name not in PLAN["roots"])

def writing():
    for folder in (*PLAN["shown"], "/", "/tmp", "/dev/shm"):
        if can_be_written(folder):
            yield f"{folder} can be written to"

def descriptors():
    for number in range(3, 4096):
        with contextlib.suppress(OSError):
            os.fstat(number)
            yield f"descriptor {number} was inherited"
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if not 0 <= most <= PLAN["files"]:
        yield f"{most} can be open at once"

def numbers():
    if os.getpid() != 1:
        yield "it has those of the machine"

PROBES |= {
    "host files out of reach": host_files,
    "read-only root": writing,
    "no descriptors but its own": descriptors,
    "process numbers of its own": numbers,
}
print(json.dumps({name: tried(PROBES[name]) for name in PLAN["names"]}))
"""
_MORE = (
    "host files out of reach", "read-only root", "no descriptors but its own", "process numbers of its own",
)  # fmt: skip
_WAIT = "import sys\nprint('waiting', flush=True)\nsys.stdin.read()"
_FOR_PYTHON = seccomp.Group(
    "getdents64 uname",
    "Python lists its own folders, and the probe asks for the architecture; a worker does not.",
)
_FILES = 64
_PATIENCE = 20.0  # seconds a probe has to answer
_DYING = 10.0  # seconds until a killed worker must be gone


class WorkerJail:
    """Makes the jailed worker's executable, in a folder of its own that only the host's user can enter."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._binary: Path | None = None

    def binary(self) -> Path:
        """The executable, written when it is first asked for.

        Raises:
            SandboxUnavailable: This machine has no bubblewrap, or cannot build the jail.
        """
        with self._lock:
            if self._binary is None:
                folder = tempfile.TemporaryDirectory(prefix="oneturn-jail-")
                try:
                    self._binary = worker_binary(Path(folder.name), Path(find_monty_binary()))
                except BaseException:
                    folder.cleanup()
                    raise
                self._folder = folder
            return self._binary

    def controls(self) -> tuple[Control, ...]:
        """What the operating system keeps from a worker, tried from inside the jail."""
        python = interpreter()
        told = _tried(python)
        controls = [Control(name, not fault, fault or "tried in the jail") for name, fault in told.items()]
        fault = _outlives(python)
        return (*controls, Control("killed as a whole", not fault, fault or "tried in the jail"))

    def close(self) -> None:
        """Remove the executable. Workers that run are not touched; a later `binary` writes it anew."""
        with self._lock:
            folder, self._folder, self._binary = self._folder, None, None
        if folder is not None:
            folder.cleanup()


def _shown(python: Interpreter) -> tuple[str, ...]:
    return (python.executable, *python.library, *python.shared)


def _line(python: Interpreter, program: str) -> list[str]:
    """The command line of a worker's jail in which a Python program takes the worker's place."""
    # As text: opening a script, unlike a module, needs one more system call.
    return command(
        Root(_shown(python)),
        [python.executable, "-I", "-S", "-B", "-c", program],
        syscalls=seccomp.program((*seccomp.WORKER, _FOR_PYTHON)),
    )


def _probe(planted: str, shown: tuple[str, ...]) -> str:
    """The program that tries everything and prints what was not refused."""
    plan = {
        "names": (*_TRIED, *_MORE),
        "planted": [planted],
        "shown": shown,
        "roots": sorted({Path(path).parts[1] for path in shown}),
        "processes": [os.getpid(), os.getppid()],
        "files": _FILES,
    }
    return (
        f"{_PROBE.read_text(encoding='utf-8')}\nimport json\nPLAN = json.loads({json.dumps(plan)!r})\n{_TELL}"
    )


def _tried(python: Interpreter) -> dict[str, str]:
    """What went wrong with each control, as the probe tells it."""
    with tempfile.NamedTemporaryFile(prefix="oneturn-planted-") as planted:
        os.fchmod(planted.fileno(), 0o644)  # readable for everybody who gets there
        try:
            done = subprocess.run(  # noqa: S603 (made by us)
                _line(python, _probe(planted.name, _shown(python))),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE,
                check=True,
            )
            told = dict(json.loads(done.stdout))
        except (OSError, TypeError, ValueError, subprocess.SubprocessError) as error:
            return {"a jail that can be tried": f"the probe in it did not answer ({type(error).__name__})"}
    return told or {"a jail that can be tried": "the probe in it tried nothing"}


def _outlives(python: Interpreter) -> str:
    """Whether anything in the jail outlives a kill of the process that the host started."""
    with _started(_line(python, _WAIT)) as process:
        assert process.stdout is not None
        pipe = process.stdout.fileno()
        if not _readable(pipe, _PATIENCE) or not os.read(pipe, 100):
            return "the probe in it did not start"
        process.kill()
        # The pipe ends when nobody is left who could write to it.
        until = time.monotonic() + _DYING
        while _readable(pipe, until - time.monotonic()):
            if not os.read(pipe, 100):
                return ""
        return f"a process in it was still there {_DYING:g} s after the kill"


@contextlib.contextmanager
def _started(line: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(  # noqa: S603 (made by us)
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _readable(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], max(seconds, 0.0))[0])
