"""What shows that a jail holds: every control is tried from inside, by a script like any other.

`prove` sends `inside/probe.py` to a guest on the path of every run, has it try each forbidden act, and
then lets another guest compute past its deadline. A control that was not refused, or could not be tried,
is not proved; the tier then refuses to run anything.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ...types import Control, Finished, Limits, Step
from ..base import Script
from ..channel import Channel
from ..guest_run import GuestRun
from ..inside.probe import PROBES
from .spec import JailSpec

_SCRIPT = Path(__file__).parent.parent / "inside" / "probe.py"
_MODULES = (
    "__future__", "collections", "contextlib", "ctypes", "errno", "mmap", "os", "resource", "signal",
    "socket", "stat", "subprocess", "sys", "threading", "typing",
)  # fmt: skip
_MEMORY = 64 * 1024 * 1024
_DEADLINE = 0.2  # seconds of computing for a script that must not get more
_ENDLESS = """
import signal
for number in range(1, 32):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
"""
_LATE = 5.0  # seconds after its deadline by which a script must have been stopped, on a machine under load


class Jail(Protocol):
    """Where guests come from: `zygote.WarmJail` or `bubblewrap.BubblewrapJail`."""

    @property
    def grouped(self) -> bool:
        """Whether each guest has a control group of its own."""
        ...

    def guest(self, memory: int) -> Channel:
        """A guest that has seen no script yet."""
        ...


def prove(jail: Jail, spec: JailSpec) -> tuple[Control, ...]:
    """Try every control in guests of `jail`, which is one of `spec`. Takes about a second.

    Raises:
        SandboxUnavailable: No guest can be made at all on this machine.
        SandboxError: No guest could be started.
    """
    return (*_tried(jail, spec), _ends(jail), _grouped(jail))


def _tried(jail: Jail, spec: JailSpec) -> list[Control]:
    with contextlib.ExitStack() as planted:
        plan = {
            "planted": [planted.enter_context(_planted(place)) for place in _writable()],
            "processes": [os.getpid(), os.getppid()],
            "shown": list(spec.shown),
            "scratch": spec.scratch,
            "threads": spec.threads,
            "memory": _MEMORY,
        }
        told, why = _said(jail, plan)
    controls = []
    for name in PROBES:
        worked = told.get(name)
        if worked is None:
            controls.append(Control(name, False, why or "it was not tried"))
        else:
            controls.append(Control(name, not worked, worked or "tried by a script"))
    return controls


def _writable() -> list[str]:
    places = (tempfile.gettempdir(), "/var/tmp", "/dev/shm")  # noqa: S108 (nothing secret is put there)
    return [place for place in dict.fromkeys(places) if os.access(place, os.W_OK)]


@contextlib.contextmanager
def _planted(place: str) -> Iterator[str]:
    """A file of the host's that everybody could read."""
    with tempfile.NamedTemporaryFile(prefix="oneturn-planted-", dir=place) as file:
        os.fchmod(file.fileno(), 0o644)
        yield file.name


def _said(jail: Jail, plan: dict[str, object]) -> tuple[dict[str, str], str]:
    """What the script found for each control, and why it found nothing."""
    source = f"{_SCRIPT.read_text(encoding='utf-8')}\nPLAN = {plan!r}\nreport()\n"
    step = _run(jail, source, Limits(memory=_MEMORY, cpu_seconds=20.0))
    if not isinstance(step, Finished):
        return {}, "the script that tries it waits for something"
    if step.error is not None:
        return {}, f"the script that tries it ended: {step.error.kind}: {step.error.message}"
    found = step.value if isinstance(step.value, dict) else {}
    return {name: worked for name, worked in found.items() if isinstance(worked, str)}, ""


def _ends(jail: Jail) -> Control:
    name = "a script is stopped at its deadline"
    began = time.monotonic()
    step = _run(jail, _ENDLESS, Limits(memory=_MEMORY, cpu_seconds=_DEADLINE))
    took = time.monotonic() - began
    if not isinstance(step, Finished) or step.error is None or step.error.kind != "TimeoutError":
        return Control(name, False, f"a script that never ends came to {step!r}"[:200])
    if took > _DEADLINE + _LATE:
        return Control(name, False, f"it was stopped after {took:.1f} s")
    return Control(name, True, "tried by a script")


def _grouped(jail: Jail) -> Control:
    name = "a control group for each run"
    if jail.grouped:
        return Control(name, True, "each guest was put into one", required=False)
    return Control(name, None, "this user may not make control groups; resource limits stand alone", False)


def _run(jail: Jail, source: str, limits: Limits) -> Step | None:
    run = GuestRun(lambda: jail.guest(limits.memory), limits, 0, modules=_MODULES)
    watch = threading.Timer(limits.cpu_seconds + _LATE, run.kill)
    watch.start()
    try:
        return run.start(Script(source))
    finally:
        watch.cancel()
        run.close()
