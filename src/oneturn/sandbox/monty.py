"""The `interpreter` level: scripts run in Monty, a Python interpreter in a crash-isolated worker.

Worker processes are kept warm, each for one caller, and one serves one run at a time. This module
translates: Monty's snapshots become our steps, its exceptions become `ScriptError`s, and the names a
script may use (`tools`, `runtime`, namespaces, bare tool names) become Monty objects that suspend when
they are called. Nothing is decided here. At the `jailed` level the same workers run in an OS jail.
"""

from __future__ import annotations

import threading

from ..errors import SandboxUnavailable
from ..types import Control, IsolationLevel, Limits, TierName
from .monty_controls import interpreter_controls
from .monty_jail import WorkerJail
from .monty_run import MontyRun
from .monty_session import MontySession
from .monty_workers import Workers


class MontySandbox:
    """Monty workers, kept warm.

    Args:
        jailed: Run each worker in an operating-system jail (Linux, needs bubblewrap).
        workers: The most worker processes at once; each serves one run at a time.
        warm: Workers started ahead of need.
        wait: Seconds `open` waits for a free worker before `SandboxBusy`.
    """

    name: TierName = "monty"

    def __init__(self, *, jailed: bool = False, workers: int = 32, warm: int = 1, wait: float = 10.0) -> None:
        self.isolation: IsolationLevel = "jailed" if jailed else "interpreter"
        self._jail = WorkerJail() if jailed else None
        self._workers = Workers(
            most=workers, warm=warm, wait=wait, binary=self._jail.binary if self._jail else _monty_itself
        )
        self._lock = threading.Lock()
        self._proved = False

    def open(self, limits: Limits, seed: int, *, caller: str = "") -> MontyRun:
        """A fresh run on a worker of this caller's own.

        The first one tries what must hold at this level; see `controls`.

        Raises:
            SandboxBusy: Every worker was taken for as long as `wait` says.
            SandboxUnavailable: A control does not hold here.
            SandboxError: No worker could be started.
        """
        return MontyRun(self._usable(), caller, limits, seed)

    def session(self, *, caller: str = "") -> MontySession:
        """Variables for further runs of one caller. No worker is held between them."""
        return MontySession(self._usable, caller)

    def controls(self) -> tuple[Control, ...]:
        """What confines a script here, each tried. Takes well under a second."""
        found = interpreter_controls(lambda limits: MontyRun(self._workers, None, limits, 0))
        return found if self._jail is None else (*found, *self._jail.controls())

    def close(self) -> None:
        """Stop every worker. Idempotent; a later `open` starts new ones."""
        self._workers.close()
        if self._jail is not None:
            self._jail.close()

    def _usable(self) -> Workers:
        """The workers, once it was shown that everything this level promises holds."""
        if not self._proved:
            with self._lock:
                if not self._proved:
                    failed = [each for each in self.controls() if each.required and not each.proved]
                    if failed:
                        raise SandboxUnavailable(
                            f"Monty at the level {self.isolation} does not confine scripts here: "
                            + "; ".join(f"{each.name}: {each.why}" for each in failed)
                            + ". Nothing ran; `oneturn doctor` shows every control."
                        )
                    self._proved = True
        return self._workers


def _monty_itself() -> None:
    """No binary in its place: Monty finds its own."""
