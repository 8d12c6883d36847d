"""Containers that wait, started and ready, so that a run need not: each serves one run or session."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ...errors import SandboxBusy, SandboxClosed, SandboxError
from .attached import AttachedChannel


class Pool:
    """Ready guests. Thread-safe.

    Args:
        make: Starts a container and waits until its guest is ready.
        places: The most guests in use at once.
        warm: Guests kept ready beside those in use.
        wait: Seconds `take` waits for a place.
    """

    def __init__(self, make: Callable[[], AttachedChannel], *, places: int, warm: int, wait: float) -> None:
        self._make = make
        self._places = threading.BoundedSemaphore(places)
        self._count = places
        self._wait = wait
        self._warm = warm
        self._lock = threading.Lock()
        self._ready: deque[AttachedChannel] = deque()
        self._used: set[AttachedChannel] = set()
        self._coming = 0  # guests that are being started to wait
        self._closed = False
        self._starters = ThreadPoolExecutor(2, thread_name_prefix="oneturn-containers")
        self._refill()

    def take(self) -> AttachedChannel:
        """A ready guest, whose place is free again once it is closed.

        Raises:
            SandboxBusy: All places are taken.
            SandboxError: No container could be started.
        """
        if not self._places.acquire(timeout=self._wait):
            raise SandboxBusy(f"All {self._count} containers are in use; try again in a moment.")
        try:
            guest = self._waiting() or self._make()
        except BaseException:
            self._places.release()
            raise
        guest.on_close = partial(self._back, guest)
        with self._lock:
            self._used.add(guest)
            closed = self._closed
        if closed:
            guest.close()
            raise SandboxClosed("This sandbox is closed.")
        self._refill()
        return guest

    def _back(self, guest: AttachedChannel) -> None:
        with self._lock:
            self._used.discard(guest)
        self._places.release()

    def _waiting(self) -> AttachedChannel | None:
        while True:
            with self._lock:
                if self._closed:
                    raise SandboxClosed("This sandbox is closed.")
                if not self._ready:
                    return None
                guest = self._ready.popleft()
            if guest.is_quiet():
                return guest
            # It died while it waited, or spoke out of turn.
            with contextlib.suppress(SandboxError):
                guest.close()

    def _refill(self) -> None:
        with self._lock:
            if self._closed:
                return
            missing = self._warm - len(self._ready) - self._coming
            self._coming += max(0, missing)
            for _ in range(missing):
                self._starters.submit(self._add)

    def _add(self) -> None:
        guest = None
        # A container that cannot be started now is not missed until a run needs it, and is told why then.
        with contextlib.suppress(SandboxError):
            guest = self._make()
        with self._lock:
            self._coming -= 1
            if guest is None:
                return
            if not self._closed:
                self._ready.append(guest)
                return
        guest.close()

    def close(self) -> None:
        """Remove every guest, those in use too, whose runs then end. Idempotent."""
        with self._lock:
            self._closed = True
            guests = [*self._ready, *self._used]
            self._ready.clear()
        self._starters.shutdown(wait=True)
        with contextlib.ExitStack() as stack:
            for guest in guests:
                stack.callback(guest.close)
                stack.callback(guest.kill)
