"""Starting guests: what a container is told to run, and when it counts as ready."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import SandboxError
from ..channel import ChannelBroken
from ..jail import seccomp
from .attached import AttachedChannel
from .engine import FILES, SCRATCH, Confinement, Engine
from .owner import this_process

_START_PATIENCE = 60.0  # seconds until a guest that is not ready is given up; imports may be slow
# The environment of an image is for its own program: the guest is started anew with an empty one, except
# for what makes sets of text have one order in every process.
_START = (
    "import os, sys; os.execve(sys.executable, [sys.executable, '-s', '-P', '-B', *sys.argv[1:]], "
    "{'PYTHONHASHSEED': '0'})"
)
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Guests:
    """How guests are started on one engine."""

    engine: Engine
    image: str
    confinement: Confinement
    imports: tuple[str, ...] = ()

    def start(self, main: str = "boxed.py", more: Mapping[str, Any] | None = None) -> AttachedChannel:
        """A container that has just started one of the guest's programs."""
        machine = _MACHINES.get(self.engine.machine, self.engine.machine)
        plan = {
            "imports": self.imports,
            "syscalls": base64.b64encode(seccomp.program(arch=machine)).decode(),
            "files": FILES,
            "scratch": SCRATCH,
            **(more or {}),
        }
        command = ["python3", "-I", "-S", "-c", _START, f"/opt/oneturn/{main}", json.dumps(plan)]
        return AttachedChannel(self.engine, self.image, command, self.confinement, owner=this_process())

    def ready(self) -> AttachedChannel:
        """A container whose guest waits for a script.

        Raises:
            SandboxError: It could not be started; what it said is in the text.
        """
        guest = self.start()
        try:
            guest.look(_START_PATIENCE)
        except (ChannelBroken, TimeoutError) as error:
            why = guest.said() or guest.fate() or str(error)
            guest.close()
            raise SandboxError(f"A guest could not be started in its container: {why}") from error
        return guest
