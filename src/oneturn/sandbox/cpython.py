"""The `jailed` level with all of Python: each script runs in a process of its own, in an OS jail.

Two ways lead to a guest. The *zygote* is a warm process with the imports done, from which a guest is
forked in a few milliseconds. Where the machine refuses its jail, *bubblewrap* builds one for each run,
which takes as long as Python and the imports take. Both put up the same walls, and before the first script
the forbidden acts are tried from inside: a wall that does not hold makes the sandbox unavailable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from ..errors import SandboxBusy, SandboxError, SandboxUnavailable
from ..types import Control, Finished, IsolationLevel, Limits, TierName
from .base import Script
from .channel import Channel
from .guest_run import GuestRun, GuestSession
from .jail import seccomp
from .jail.bubblewrap import BubblewrapJail
from .jail.probes import prove
from .jail.spec import JailSpec, interpreter
from .jail.zygote import WarmJail
from .modules import HINTS, SAFE, allowed

Way = Literal["zygote", "bubblewrap"]
"""How guests are started: forked from a warm process, or each by itself."""

Jail = WarmJail | BubblewrapJail


class CPythonSandbox:
    """Runs each script in a confined CPython process. Linux only.

    Nothing is started before the first use, which takes about a second and what the imports take.

    Args:
        imports: Modules a script may import beside the safe part of the standard library. They are
            imported once, inside the jail; `python` must have them.
        python: Path of the interpreter scripts run in, such as a virtual environment's; the one that runs us
            by default. Python 3.11 or later.
        scratch: Bytes of room in each script's own `/tmp`, which is memory; 64 MiB by default.
        processes: Guests at once, those of sessions included; 50 by default.
        warm: Guests kept ready ahead of need.
        wait: Seconds a run waits for a free place before SandboxBusy.
        way: Use this way and no other; by default the zygote, and bubblewrap where that is refused.
    """

    name: TierName = "cpython"
    isolation: IsolationLevel = "jailed"

    def __init__(
        self,
        *,
        imports: Sequence[str] = (),
        python: str | None = None,
        scratch: int = 64 * 1024 * 1024,
        processes: int = 50,
        warm: int = 2,
        wait: float = 10.0,
        way: Way | None = None,
    ) -> None:
        self._imports = tuple(imports)
        self._python = python
        self._scratch = scratch
        self._processes = processes
        self._warm = warm
        self._wait = wait
        self._asked = way
        self._modules = allowed(self._imports)
        self._places = threading.BoundedSemaphore(processes)
        self._lock = threading.Lock()  # guards what follows; held while a jail is started and tried
        self._jail: Jail | None = None
        self._controls: tuple[Control, ...] = ()
        self._refused = ""

    @property
    def way(self) -> Way | None:
        """The way in use; None before the first use."""
        if self._jail is None:
            return None
        return "zygote" if isinstance(self._jail, WarmJail) else "bubblewrap"

    @property
    def refused(self) -> str:
        """Why the zygote could not be used, when bubblewrap is instead."""
        return self._refused

    def open(self, limits: Limits, seed: int, *, caller: str = "") -> GuestRun:
        """A run in a process of its own, which it takes when it starts.

        Raises:
            ConfigError: The interpreter cannot be used, or an import fails.
            SandboxUnavailable: This machine has no jail, or one of its walls does not hold.
        """
        jail = self._started()
        return GuestRun(
            partial(self._take, jail, limits.memory), limits, seed, modules=self._modules, hints=HINTS
        )

    def session(self, *, caller: str = "") -> CPythonSession:
        """Variables in one process, taken when the first run starts and held until the end; as `open`."""
        return CPythonSession(partial(self._take, self._started()), self._modules)

    def controls(self) -> tuple[Control, ...]:
        """What confines a script here, each tried from inside where it can be. Takes a second at first.

        Raises:
            ConfigError: The interpreter cannot be used, or an import fails.
            SandboxUnavailable: This machine has no jail at all.
        """
        with self._lock:
            return self._proved()

    def close(self) -> None:
        """End every guest. Idempotent; a later `open` starts anew."""
        with self._lock:
            jail, self._jail = self._jail, None
            self._controls = ()
        if jail is not None:
            jail.close()

    # --- guests

    def _take(self, jail: Jail, memory: int) -> Channel:
        if not self._places.acquire(timeout=self._wait):
            raise SandboxBusy(
                f"All {self._processes} processes for scripts are in use; try again in a moment."
            )
        try:
            return _Placed(jail.guest(memory), self._places)
        except BaseException:
            self._places.release()
            raise

    # --- the jail

    def _started(self) -> Jail:
        with self._lock:
            controls, jail = self._proved(), self._jail
        if jail is None:
            failed = [control for control in controls if not _holds(control)]
            names = "; ".join(f"{control.name} ({control.why})" for control in failed)
            raise SandboxUnavailable(f"The jail of this machine does not hold, so nothing ran: {names}.")
        return jail

    def _proved(self) -> tuple[Control, ...]:
        """What was tried. A jail that holds is kept; one that does not is tried anew the next time."""
        if self._jail is None:
            spec = self._spec()
            jail = self._made(spec)
            try:
                self._controls = prove(jail, spec)
            except BaseException:
                jail.close()
                raise
            if all(map(_holds, self._controls)):
                self._jail = jail
            else:
                jail.close()
        return self._controls

    def _spec(self) -> JailSpec:
        return JailSpec(
            interpreter(self._python, self._imports),
            seccomp.program(),
            imports=self._imports,
            warm=SAFE,
            scratch=self._scratch,
        )

    def _made(self, spec: JailSpec) -> Jail:
        if self._asked != "bubblewrap":
            jail = WarmJail(spec, spares=self._warm)
            try:
                _try_once(jail)
            except SandboxUnavailable as refused:
                jail.close()
                if self._asked == "zygote":
                    raise
                self._refused = str(refused)
            except BaseException:
                jail.close()
                raise
            else:
                self._refused = ""
                return jail
        try:
            return BubblewrapJail(spec)
        except SandboxUnavailable as error:
            raise SandboxUnavailable(f"{self._refused} {error}".strip()) from error


def _holds(control: Control) -> bool:
    return control.proved is True or not control.required


def _try_once(jail: Jail) -> None:
    """Run a script that does nothing.

    Raises:
        SandboxUnavailable: A part of the jail is refused, so another way may be tried.
        SandboxError: It went wrong in another way, which says nothing about the machine.
    """
    limits = Limits()
    run = GuestRun(partial(jail.guest, limits.memory), limits, 0)
    try:
        end = run.start(Script(""))
    finally:
        run.close()
    if not isinstance(end, Finished) or end.error is not None:
        raise SandboxError(f"A guest that was to do nothing did not: {end}")


class CPythonSession(GuestSession):
    """Variables that live in one process. How much memory they may use, the limits of the first run say."""

    def __init__(self, take: Callable[[int], Channel], modules: Sequence[str]) -> None:
        self._memory = 0
        super().__init__(lambda: take(self._memory), modules=modules, hints=HINTS)

    def open(self, limits: Limits, seed: int) -> GuestRun:
        """The next run. Raises SessionLost."""
        self._memory = limits.memory
        return super().open(limits, seed)


class _Placed:
    """A guest's channel that gives its place back when it is closed."""

    def __init__(self, channel: Channel, places: threading.BoundedSemaphore) -> None:
        self._channel = channel
        self._places: threading.BoundedSemaphore | None = places
        self._lock = threading.Lock()
        self.send = channel.send
        self.receive = channel.receive
        self.computed = channel.computed
        self.kill = channel.kill
        self.fate = channel.fate

    def close(self) -> None:
        """Close the channel; its place is free when the guest is gone."""
        with self._lock:
            places, self._places = self._places, None
        try:
            self._channel.close()
        finally:
            if places is not None:
                places.release()
