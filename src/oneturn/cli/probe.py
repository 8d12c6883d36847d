"""Canaries: scripts that try what a sandbox must not let them do, and proof that they failed.

A control that is never tried is only a hope. Each canary plants something on the host (a file, a
variable, a listening port), lets scripts reach for it, and looks from the host's side whether one
of them got there.
"""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..app import CodeMode
from ..types import Limits, Outcome

_MEMORY = 32 * 1024 * 1024
_SECONDS = 2.0


@dataclass(frozen=True)
class Probe:
    """What one canary showed."""

    name: str
    ok: bool
    detail: str


async def probe_sandbox() -> list[Probe]:
    """Try the sandbox. Raises OneturnError when it cannot run at all."""
    variable, secret = f"ONETURN_CANARY_{secrets.token_hex(4).upper()}", secrets.token_hex(16)
    os.environ[variable] = secret  # before the workers start, so that they could inherit it
    limits = Limits(timeout=30.0, cpu_seconds=30.0, memory=_MEMORY)
    app = CodeMode("oneturn-doctor", limits=limits, runs=1)
    try:
        return [
            await _runs(app),
            await _files(app, secret),
            await _environment(app, variable, secret),
            await _network(app),
            await _processes(app),
            await _memory(app),
            await _time(app),
        ]
    finally:
        del os.environ[variable]
        await app.close()


async def _runs(app: CodeMode) -> Probe:
    outcome = await app.execute("sum([n * n for n in range(10)])")
    ok = outcome.ok and outcome.value == 285
    return Probe("a script runs", ok, f"isolation: {outcome.isolation}" if ok else _told(outcome))


async def _files(app: CodeMode, secret: str) -> Probe:
    with tempfile.TemporaryDirectory() as folder:
        planted = Path(folder) / "canary.txt"
        planted.write_text(secret)
        victim = Path(folder) / "written.txt"
        scripts = [
            f"open({str(planted)!r}).read()",
            f"from pathlib import Path\nPath({str(planted)!r}).read_text()",
            f"import os\nos.listdir({folder!r})",
            f"from pathlib import Path\nPath({str(victim)!r}).write_text('x')",
        ]
        leak = await _leak(app, scripts, (secret, planted.name))
        ok = leak is None and not victim.exists()
        return Probe(
            "files are out of reach",
            ok,
            "a planted file was not read, none was written" if ok else leak or "",
        )


async def _environment(app: CodeMode, variable: str, secret: str) -> Probe:
    scripts = [
        f"import os\nos.getenv({variable!r})",
        f"import os\nos.environ[{variable!r}]",
        "import os\ndict(os.environ)",
    ]
    leak = await _leak(app, scripts, (secret,))
    return Probe("the environment is out of reach", leak is None, leak or "a planted variable was not read")


async def _network(app: CodeMode) -> Probe:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        port = listener.getsockname()[1]
        scripts = [
            f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)",
            f"from urllib.request import urlopen\nurlopen('http://127.0.0.1:{port}', timeout=1)",
            f"import asyncio\nawait asyncio.open_connection('127.0.0.1', {port})",
        ]
        leak = await _leak(app, scripts, ())
        try:
            listener.accept()[0].close()
            reached = "a script reached a port of this machine"
        except BlockingIOError:
            reached = ""
    bad = reached or leak
    return Probe("the network is out of reach", not bad, bad or "a listening port was not reached")


async def _processes(app: CodeMode) -> Probe:
    scripts = [
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.system('true')",
        "import ctypes\nctypes.CDLL(None).getpid()",
    ]
    leak = await _leak(app, scripts, ())
    return Probe("processes are out of reach", leak is None, leak or "no command was started")


async def _memory(app: CodeMode) -> Probe:
    outcome = await app.execute("held = []\nwhile True:\n    held.append('x' * 1_000_000 + str(len(held)))")
    ok = not outcome.ok and outcome.error is not None and outcome.error.kind == "MemoryError"
    detail = f"stopped at {_MEMORY // 1024 // 1024} MiB" if ok else _told(outcome)
    return Probe("the memory limit holds", ok, detail)


async def _time(app: CodeMode) -> Probe:
    outcome = await app.execute("while True:\n    pass", timeout=_SECONDS)
    ok = not outcome.ok and outcome.error is not None and outcome.error.kind == "TimeoutError"
    again = await app.execute("1 + 1")  # one stuck script must not cost the next its place
    detail = f"stopped after {_SECONDS:g} s" if ok else _told(outcome)
    if ok and again.value != 2:
        return Probe("the time limit holds", False, f"but the next script failed: {_told(again)}")
    return Probe("the time limit holds", ok, detail)


async def _leak(app: CodeMode, scripts: Sequence[str], forbidden: Sequence[str]) -> str | None:
    """What went wrong when these scripts tried; None when each of them was held.

    With words to look for, a script may end well as long as none of them comes back (an empty
    environment is no leak); without, it must fail.
    """
    for script in scripts:
        outcome = await app.execute(script)
        seen = f"{outcome.value!r} {outcome.prints} {outcome.error}"
        if any(word in seen for word in forbidden if word not in script):
            return f"a script got through: {script.splitlines()[-1]}"
        if not forbidden and outcome.ok:
            return f"a script was not refused: {script.splitlines()[-1]}"
    return None


def _told(outcome: Outcome) -> str:
    return (
        f"{outcome.error.kind}: {outcome.error.message}"
        if outcome.error
        else f"its value was {outcome.value!r}"
    )
