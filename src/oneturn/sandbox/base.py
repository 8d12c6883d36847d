"""The protocol every sandbox implements: steps, not callbacks.

A sandbox runs a script and nothing else. It never calls us: it *returns a step* that says which
calls it waits for, and goes on when it is given answers. Only values cross. So approval, limits,
budgets, parallel calls and the record of a run are written once, in the runtime, for every
sandbox there will ever be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..types import Answer, Control, IsolationLevel, Limits, Step, TierName


@dataclass(frozen=True, slots=True)
class Script:
    """A script as a sandbox needs it: source, and which outside names it may mean.

    The runtime fills this in from the parsed program and the caller's scope, so a sandbox never
    sees the catalog. Names are dotted and without `tools.`.
    """

    source: str
    tools: frozenset[str] = frozenset()
    """Full names of the tools in scope that this script could mean."""
    namespaces: frozenset[str] = frozenset()
    """Every namespace the script mentions, known or not, such as `github` and `github.issues`.

    Unknown ones are bound too: the call then reaches the gate, which answers with the nearest
    names, instead of dying on a bare AttributeError.
    """
    globals: frozenset[str] = frozenset()
    """Names to bind before the script starts: `tools`, `runtime`, namespaces it uses bare."""
    awaited: frozenset[tuple[int, int]] = frozenset()
    """UTF-8 byte ranges of calls that stand directly under an `await`."""
    uses_tool_error: bool = False
    called: frozenset[str] = frozenset()
    """Bare names nothing binds that the script only ever calls: a call of one goes to the gate, which
    knows the nearest names; read in any other way it is a NameError."""


class SandboxRun(Protocol):
    """One run of one script. `start` and `resume` may be called from any thread, one at a time."""

    def start(self, script: Script) -> Step:
        """Run until the script ends or needs the host."""
        ...

    def resume(self, answers: Sequence[Answer]) -> Step:
        """Go on with answers to any subset of the open calls; none when nothing was pending."""
        ...

    def kill(self) -> None:
        """Stop at once, from any thread, at any time. Idempotent; a running step ends in an error."""
        ...

    def close(self) -> None:
        """Give everything back. Idempotent. Not while a step runs: `kill` first."""
        ...


class Session(Protocol):
    """Variables kept between runs, one run at a time."""

    @property
    def lost(self) -> str:
        """Why the variables are gone, as the end of a sentence; empty while they are there."""
        ...

    def open(self, limits: Limits, seed: int) -> SandboxRun:
        """The next run. It sees what the runs before it bound.

        Raises:
            SessionLost: A run before it hit a memory or time limit, was killed or crashed.
        """
        ...

    def close(self) -> None:
        """Forget the variables and give everything back. Idempotent. Not while a run is open."""
        ...


class Sandbox(Protocol):
    """A place to run scripts, kept warm and shared by runs."""

    name: TierName
    isolation: IsolationLevel

    def open(self, limits: Limits, seed: int, *, caller: str = "") -> SandboxRun:
        """A fresh run that shares nothing with any other. `seed` starts the script's `random`.

        Runs of two callers never meet in one process.

        Raises:
            SandboxBusy: Every place is taken.
            SandboxUnavailable: A control of this level does not hold on this machine.
        """
        ...

    def session(self, *, caller: str = "") -> Session:
        """Variables for further runs of one caller. Raises as `open`."""
        ...

    def controls(self) -> Sequence[Control]:
        """What confines a script here, each tried from inside where it can be. May take seconds."""
        ...

    def close(self) -> None:
        """Stop every worker. Idempotent."""
        ...
