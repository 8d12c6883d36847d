"""Showing that a container confines: each forbidden act is tried from inside, once, before any script.

What the engine was asked for counts for nothing here. Containers are started as for a guest, with a program
in them that tries; the host plants what must not be reached and looks at what became of them.
"""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ...errors import SandboxError
from ...types import Control
from ..channel import ChannelBroken
from .attached import AttachedChannel
from .guests import Guests

_PATIENCE = 60.0  # seconds for what is tried in one container
_END_PATIENCE = 10.0  # seconds a killed container may take to end
_TRIED = {
    "files": "reading a file of the host's",
    "read-only root": "writing outside the scratch folder",
    "scratch": "filling the scratch folder",
    "environment": "finding anything in the environment",
    "user": "being or becoming root",
    "capabilities": "having root's rights",
    "new privileges": "gaining rights through a set-uid program",
    "processes": "seeing other processes",
    "network": "connecting to the host and beyond",
    "system calls": "a call that the engine's filter is to stop",
    "guest filter": "opening a socket, forking and starting a program, once a guest is confined,",
}
_KERNEL = "own kernel"


def prove(guests: Guests, *, own_kernel: bool) -> tuple[Control, ...]:
    """Try everything. Takes some seconds.

    Args:
        own_kernel: Whether containers are said to have a kernel other than the machine's. That kernel does
            the work of the engine's filter of system calls, which need not be in force then.

    Raises:
        SandboxError: The engine could not start a container to try it in.
    """
    with ThreadPoolExecutor(4) as together:
        tried = together.submit(_tried_inside, guests)
        ends = [together.submit(act, guests) for act in (_memory, _processes, _ended)]
    found = tried.result()
    controls = [_control(name, found.get(name), act) for name, act in _TRIED.items()]
    if own_kernel:
        controls = [
            Control(control.name, None, "the guest has a kernel of its own", required=False)
            if control.name == "system calls" and not control.proved
            else control
            for control in controls
        ]
        controls.append(_control(_KERNEL, found.get("kernel"), "running on the machine's own kernel"))
    return (*controls, *(end.result() for end in ends))


def _control(name: str, wrong: Any, tried: str) -> Control:
    if wrong == "":
        return Control(name, True, f"{tried} was refused")
    return Control(name, False, str(wrong or f"{tried} could not be tried"))


@contextlib.contextmanager
def _trying(guests: Guests, act: str, more: Mapping[str, Any] | None = None) -> Iterator[AttachedChannel]:
    limits = guests.confinement
    plan = {"act": act, "memory": limits.memory, "pids": limits.pids, "kernel": guests.engine.kernel}
    probe = guests.start("box_probe.py", {**plan, **(more or {})})
    try:
        yield probe
    finally:
        probe.close()


def _tried_inside(guests: Guests) -> Mapping[str, Any]:
    with tempfile.NamedTemporaryFile(prefix="oneturn-planted-") as planted, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        more = {"planted": planted.name, "port": listener.getsockname()[1]}
        with _trying(guests, "try", more) as probe:
            try:
                found: Mapping[str, Any] = json.loads(probe.receive(_PATIENCE))
            except (ChannelBroken, TimeoutError, ValueError) as error:
                why = probe.said() or probe.fate() or str(error)
                raise SandboxError(f"The controls could not be tried in a container: {why}") from error
            return found


def _memory(guests: Guests) -> Control:
    return _bounded(guests, "memory")


def _processes(guests: Guests) -> Control:
    return _bounded(guests, "processes")


def _bounded(guests: Guests, what: str) -> Control:
    """A guest that takes more than it may."""
    name = f"{what} limit"
    with _trying(guests, what) as probe:
        try:
            worked = probe.receive(_PATIENCE).decode("utf-8", "replace")
        except ChannelBroken:
            return Control(name, True, f"a guest that took more {probe.fate() or 'was ended'}")
        except TimeoutError:
            return Control(name, False, "a guest that took more neither got it nor was ended")
    return Control(name, not worked, worked or "taking more was refused")


def _ended(guests: Guests) -> Control:
    """A guest that computes without end and is told to stop."""
    with _trying(guests, "compute") as guest:
        try:
            guest.receive(_PATIENCE)
        except (ChannelBroken, TimeoutError) as error:
            return Control("deadline", False, f"it could not be tried: {error}")
        guest.kill()
        until = time.monotonic() + _END_PATIENCE
        while guests.engine.state(guest.container).get("Running"):
            if time.monotonic() > until:
                return Control("deadline", False, "a guest that was killed goes on")
            time.sleep(0.02)
    return Control("deadline", True, "a guest that computed without end was ended")
