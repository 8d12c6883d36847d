"""A sandbox that holds back nothing at all, to show that the oracles see.

The same guest as in every full-Python tier, with the host's environment, its descriptors and its rights.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.sandbox.unconfined import GuestProcess

import oneturn.sandbox
from oneturn.sandbox.channel import SocketChannel
from oneturn.sandbox.guest_run import GuestRun, GuestSession
from oneturn.sandbox.modules import allowed
from oneturn.types import Control, IsolationLevel, Limits, TierName

_INSIDE = Path(oneturn.sandbox.__file__).parent / "inside"
_MAIN = """
import sys
sys.path.insert(0, sys.argv[2])
import guest
guest.prepare()
guest.serve(int(sys.argv[1]), lambda limits: None)
"""


class ExposedSandbox:
    """One subprocess for each run, which may do whatever its host may."""

    name: TierName = "cpython"
    isolation: IsolationLevel = "interpreter"

    def open(self, limits: Limits, seed: int, *, caller: str = "") -> GuestRun:
        """A run in a process of its own."""
        return GuestRun(_connect, limits, seed, modules=allowed())

    def session(self, *, caller: str = "") -> GuestSession:
        """A process that stays."""
        return GuestSession(_connect, modules=allowed())

    def controls(self) -> Sequence[Control]:
        """None."""
        return ()

    def close(self) -> None:
        """Each run closes its own."""


def _connect() -> SocketChannel:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", _MAIN, str(theirs.fileno()), str(_INSIDE)],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            close_fds=False,
            preexec_fn=lambda: os.set_inheritable(theirs.fileno(), True),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    return SocketChannel(ours, GuestProcess(process))
