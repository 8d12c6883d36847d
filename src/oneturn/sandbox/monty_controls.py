"""What Monty itself keeps from a script, shown by scripts that try it.

Each control is tried on the build that is installed, by a script in a worker, through the same code that
runs every other script: a limit that has become a no-op, or a function that has begun to reach out, is
found before anybody's script runs.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ..types import Control, Finished, Limits
from .base import SandboxRun, Script

_LIMITS = Limits(cpu_seconds=5.0, memory=4 * 1024 * 1024, printed_chars=1_000)
_SHORT = 0.003  # seconds of computing for the script that must not get more

_FILES = (
    "open({path!r}).read()",
    "open({path!r}, 'w').write('x')",
    "import os\nos.listdir({folder!r})",
    "from pathlib import Path\nPath({path!r}).read_text()",
    "from pathlib import Path\nPath({path!r}).unlink()",
)
_ENVIRONMENT = (
    "import os\nos.environ[{name!r}]",
    "import os\nos.getenv({name!r}) or 1/0",
)
_NETWORK = ("import socket", "import ssl", "import http.client", "import urllib.request")
_PROCESSES = (
    "import subprocess",
    "import multiprocessing",
    "import ctypes",
    "import os\nos.system('true')",
    "import os\nos.fork()",
    "import os\nos.kill(1, 0)",
)
_ENDLESS = "try:\n    while True:\n        pass\nexcept BaseException:\n    pass\nwhile True:\n    pass"
_HUNGRY = "x = []\nwhile True:\n    x.append('abc' * 100_000)"

Opener = Callable[[Limits], SandboxRun]


def interpreter_controls(open_run: Opener) -> tuple[Control, ...]:
    """Try everything; takes some ten milliseconds. `open_run` gives a run that served nobody yet.

    Raises:
        SandboxError: No worker could be started.
    """
    return tuple(_controls(open_run))


def _controls(open_run: Opener) -> Iterator[Control]:
    with tempfile.TemporaryDirectory(prefix="oneturn-") as folder:
        path, canary = Path(folder, "canary"), secrets.token_hex(16)
        path.write_text(canary)
        scripts = [script.format(path=str(path), folder=folder) for script in _FILES]
        open_file = _first_that_works(open_run, scripts, canary)
        changed = not path.exists() or path.read_text() != canary
        yield _control("Monty gives no files", "a planted file was changed" if changed else open_file)
    name = next(iter(os.environ), "PATH")
    environment = [script.format(name=name) for script in _ENVIRONMENT]
    yield _control("Monty gives no environment", _first_that_works(open_run, environment))
    yield _control("Monty gives no network", _first_that_works(open_run, _NETWORK))
    yield _control("Monty gives no processes", _first_that_works(open_run, _PROCESSES))
    yield _control(
        "Monty's recursion limit", _not_ended_by(open_run, "RecursionError", "f = lambda: f()\nf()")
    )
    yield _control("Monty's limit on prints", _floods(open_run))
    yield _control(
        "Monty's time limit", _not_ended_by(open_run, "TimeoutError", _ENDLESS, cpu_seconds=_SHORT)
    )
    yield _control("Monty's memory limit", _not_ended_by(open_run, "MemoryError", _HUNGRY))


def _control(name: str, fault: str) -> Control:
    return Control(name, not fault, fault or "tried by a script")


def _first_that_works(open_run: Opener, scripts: list[str] | tuple[str, ...], canary: str = "") -> str:
    for script in scripts:
        end = _end(open_run, script, _LIMITS)
        if end is None or end.error is None or (canary and canary in f"{end}"):
            return f"a script could do this: {script.rpartition(chr(10))[2]}"
    return ""


def _not_ended_by(open_run: Opener, kind: str, script: str, *, cpu_seconds: float = 5.0) -> str:
    limits = Limits(cpu_seconds=cpu_seconds, memory=_LIMITS.memory, recursion=100)
    end = _end(open_run, script, limits)
    if end is not None and end.error is not None and end.error.kind == kind:
        return ""
    return f"a script that goes past it ended with {end.error.kind if end and end.error else 'no error'}"


def _floods(open_run: Opener) -> str:
    end = _end(open_run, "for i in range(100):\n    print('x' * 1_000)", _LIMITS)
    held = end is not None and len(end.prints) <= _LIMITS.printed_chars and end.cut_prints > 0
    return "" if held else "a script printed more than it may"


def _end(open_run: Opener, source: str, limits: Limits) -> Finished | None:
    """How the script ended; None when it waits for something, which none of these should."""
    run = open_run(limits)
    try:
        step = run.start(Script(source))
    finally:
        run.close()
    return step if isinstance(step, Finished) else None
