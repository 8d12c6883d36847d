"""The `remote` level: full Python in a hosted sandbox, one for each run. Experimental.

Nothing of it can be proved from here: what confines the script is the service's word. It is asked for no
network, the guest limits itself as every guest does, and each sandbox is ended when its run is over; one
whose end the service did not confirm is tried again later, and has a lifetime of its own besides.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from ..errors import ConfigError, SandboxBusy
from ..types import Control, IsolationLevel, Limits, TierName
from .channel import Channel
from .guest_run import GuestRun, GuestSession
from .modules import HINTS, allowed
from .remote_guest import RemoteGuest, created

_KEY = "E2B_API_KEY"
_MARGIN = 60.0  # seconds a sandbox may outlive what it is for, before the service ends it by itself
_LONGEST = 86_400.0  # seconds a session may last; the service's own bound may be lower
_WHY = "a hosted sandbox is the service's word: nothing of it can be tried from this machine"
_CONTROLS = (
    ("machine", "each run has a virtual machine of the service to itself"),
    ("network", "the service is asked for a sandbox without internet access"),
    ("end", "the service ends each sandbox when its run is over, and by itself when its lifetime is"),
)


class RemoteSandbox:
    """Runs each script in a hosted sandbox of its own. Experimental: it never ran against the service.

    Args:
        api_key: The service's key; the environment variable `E2B_API_KEY` when not given.
        template: The service's template to start from, which must have Python 3.11 or later as
            `python3`; the service's default when not given.
        imports: Modules of the template that a script may import beside the safe standard library; they
            are imported before it starts.
        sandboxes: Hosted sandboxes at once.
        idle: Seconds a session may be left alone before its sandbox, and with it its variables, are gone.
        patience: Seconds the service may take to create a sandbox.

    Raises:
        ConfigError: The SDK is not installed, or there is no key.
    """

    name: TierName = "remote"
    isolation: IsolationLevel = "remote"

    def __init__(
        self,
        *,
        api_key: str | None = None,
        template: str | None = None,
        imports: Sequence[str] = (),
        sandboxes: int = 16,
        idle: float = 300.0,
        patience: float = 30.0,
    ) -> None:
        if find_spec("e2b") is None:
            raise ConfigError("The remote sandbox needs the e2b SDK: pip install 'oneturn[remote]'.")
        key = api_key or os.environ.get(_KEY)
        if not key:
            raise ConfigError(f"The remote sandbox needs a key: give api_key, or set {_KEY}.")
        self._key = key
        self._template = template
        self._imports = tuple(imports)
        self._modules = allowed(imports)
        self._idle = idle
        self._patience = patience
        self._places = threading.BoundedSemaphore(sandboxes)
        self._lock = threading.Lock()  # guards _guests
        self._guests: set[RemoteGuest] = set()

    def open(self, limits: Limits, seed: int, *, caller: str = "") -> GuestRun:
        """A run in a hosted sandbox of its own, which is created when the run starts.

        Starting it raises SandboxBusy when there are as many as there may be or the service has no more, and
        SandboxUnavailable when the service refuses or no guest can be started in what it gives.
        """

        def connect() -> Channel:
            lifetime = limits.timeout + _MARGIN
            return self._connected(limits, lifetime, lifetime)[1]

        return GuestRun(connect, limits, seed, modules=self._modules, hints=HINTS)

    def session(self, *, caller: str = "") -> RemoteSession:
        """Variables in one hosted sandbox, created when the first run starts; it costs while it lives."""
        return RemoteSession(self._connected, self._idle, self._modules)

    def controls(self) -> Sequence[Control]:
        """What the service promises. None of it is proved."""
        return [Control(name, None, f"{what}; {_WHY}", required=False) for name, what in _CONTROLS]

    def close(self) -> None:
        """End every sandbox that is left. Idempotent; a later `open` creates new ones."""
        with self._lock:
            guests = list(self._guests)
        for guest in guests:
            guest.close()
            guest.end()
            self._forget(guest)

    def _connected(self, limits: Limits, lifetime: float, stream: float) -> tuple[RemoteGuest, Channel]:
        """A new hosted sandbox, and the channel to the guest that was started in it."""
        self._end_what_is_left()
        if not self._places.acquire(blocking=False):
            raise SandboxBusy("As many hosted sandboxes run as may; try again in a moment.")
        try:
            patience = min(self._patience, limits.timeout)
            guest = RemoteGuest(created(self._key, self._template, lifetime, patience), self._gone)
        except BaseException:
            self._places.release()
            raise
        with self._lock:
            self._guests.add(guest)
        try:
            guest.start(self._imports, stream)
        except BaseException:
            guest.close()
            raise
        return guest, guest.channel()

    def _gone(self, guest: RemoteGuest) -> None:
        self._places.release()
        self._forget(guest)

    def _forget(self, guest: RemoteGuest) -> None:
        if guest.ended:
            with self._lock:
                self._guests.discard(guest)

    def _end_what_is_left(self) -> None:
        """Try again to end the sandboxes whose end the service did not confirm."""
        with self._lock:
            left = [guest for guest in self._guests if guest.given_up]
        for guest in left:
            guest.end()
            self._forget(guest)


Connect = Callable[[Limits, float, float], tuple[RemoteGuest, Channel]]


class RemoteSession:
    """Variables in one hosted sandbox, which lives as long as it is used.

    Args:
        connect: Gives a sandbox for limits, a lifetime and a time to follow it, both in seconds.
        idle: Seconds it may be left alone.
        modules: What scripts may import.
    """

    def __init__(self, connect: Connect, idle: float, modules: Sequence[str]) -> None:
        self._connect = connect
        self._idle = idle
        self._limits = Limits()
        self._guest: RemoteGuest | None = None
        self._kept = GuestSession(self._connected, modules=modules, hints=HINTS)

    @property
    def lost(self) -> str:
        """Why the variables are gone; empty while they are there."""
        return self._kept.lost

    def open(self, limits: Limits, seed: int) -> GuestRun:
        """The next run.

        Raises:
            SessionLost: A run before it broke the guest, or it was left alone for too long.
            SandboxError: The service does not answer; the variables may still be there.
        """
        self._limits = limits
        if self._guest is not None and not self.lost and not self._guest.extend(self._lifetime):
            self._kept.lose(f"its sandbox was left alone for more than {self._idle:g} s and has ended")
        return self._kept.open(limits, seed)

    def close(self) -> None:
        """Forget the variables and end the sandbox. Idempotent."""
        self._kept.close()

    @property
    def _lifetime(self) -> float:
        return self._limits.timeout + self._idle + _MARGIN

    def _connected(self) -> Channel:
        self._guest, channel = self._connect(self._limits, self._lifetime, _LONGEST)
        return channel
