"""The `container` level: full Python in a container of any Docker-compatible engine, one for each run.

A container has no network, a root it cannot write, no capabilities, no way to new privileges, an
unprivileged user, the engine's filter of system calls, and bounds on memory, processor, processes and
files. Some wait ready, with the configured imports done. With the runtime `runsc` the kernel a script sees is
gVisor's, and the level is `gvisor`. Everything is tried from inside before the first script.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from ...errors import SandboxError, SandboxUnavailable
from ...types import Control, IsolationLevel, Limits, TierName
from ..guest_run import GuestRun, GuestSession
from ..modules import HINTS, allowed
from .engine import Confinement, Engine
from .guests import Guests
from .image import prepare
from .owner import sweep
from .pool import Pool
from .proof import prove

_GVISOR = "runsc"  # part of the name of every runtime that is gVisor


class ContainerSandbox:
    """Runs each script in a container of its own.

    Nothing is started before the first use, which takes some seconds: the engine is found, containers that a
    killed host left behind are removed, the image is made, and the controls are tried.

    Args:
        image: An image of the engine's with Python 3.11 or later as `python3`, pulled if it is missing; or a
            root folder with one, for machines without a registry. The official image of the Python that
            runs us when not given.
        engine: The URL of the engine, such as `unix:///run/podman/podman.sock`. `DOCKER_HOST` or else
            Docker's own socket when not given.
        runtime: The engine's name of the runtime for containers, such as `runsc` for gVisor; the engine's
            default when not given. Podman takes it as an option of its service instead, and it is named here
            all the same, so that a kernel of its own is asked for and tried.
        imports: Modules of the image that a script may import beside the safe standard library; they are
            imported before a run needs them.
        processes: Containers in use at once, those of sessions included.
        warm: Containers kept ready beside those in use.
        wait: Seconds a run waits for a free place before SandboxBusy.
        memory: Bytes of one container, without swap. A script's own limit is lower and comes with its run.
        cpus: Share of processor cores of one container.
        pids: Processes and threads of one container.
    """

    name: TierName = "container"

    def __init__(
        self,
        *,
        image: str | Path | None = None,
        engine: str | None = None,
        runtime: str | None = None,
        imports: Sequence[str] = (),
        processes: int = 32,
        warm: int = 2,
        wait: float = 10.0,
        memory: int = 256 * 1024 * 1024,
        cpus: float = 0.5,
        pids: int = 64,
    ) -> None:
        self.isolation: IsolationLevel = "gvisor" if runtime and _GVISOR in runtime else "container"
        self._image = image
        self._url = engine
        self._imports = tuple(imports)
        self._modules = allowed(self._imports)
        self._places = (processes, warm, wait)
        self._confinement = Confinement(runtime, memory, cpus, pids)
        self._lock = threading.Lock()
        self._guests: Guests | None = None
        self._pool: Pool | None = None
        self._controls: tuple[Control, ...] = ()

    def open(self, limits: Limits, seed: int, *, caller: str = "") -> GuestRun:
        """A run in a container of its own, which is taken when the run starts.

        Raises:
            ConfigError: docker-py is not installed, or the root folder is none.
            SandboxUnavailable: No engine answers, there is no image, or a control does not hold.
        """
        return GuestRun(self._started().take, limits, seed, modules=self._modules, hints=HINTS)

    def session(self, *, caller: str = "") -> GuestSession:
        """Variables in one container, which is taken when the first run starts and held until the end."""
        return GuestSession(self._started().take, modules=self._modules, hints=HINTS)

    def controls(self) -> tuple[Control, ...]:
        """What confines a script here, each tried from inside. Takes seconds the first time."""
        with self._lock:
            return self._tried()

    def close(self) -> None:
        """Remove every container. Idempotent; a later `open` starts anew."""
        with self._lock:
            pool, self._pool = self._pool, None
            guests, self._guests = self._guests, None
            self._controls = ()
        if pool is not None:
            pool.close()
        if guests is not None:
            guests.engine.close()

    def _started(self) -> Pool:
        with self._lock:
            if self._pool is None:
                failed = [one for one in self._tried() if one.required and not one.proved]
                if failed:
                    names = ", ".join(f"{one.name} ({one.why})" for one in failed)
                    raise SandboxUnavailable(
                        f"The level {self.isolation} does not hold in containers of this engine: {names}. "
                        "Nothing ran."
                    )
                places, warm, wait = self._places
                self._pool = Pool(self._connected().ready, places=places, warm=warm, wait=wait)
            return self._pool

    def _tried(self) -> tuple[Control, ...]:
        if not self._controls:
            guests = self._connected()
            try:
                guests.ready().close()
                self._controls = prove(guests, own_kernel=self.isolation == "gvisor")
            except SandboxError as error:
                raise SandboxUnavailable(f"Containers cannot be used here: {error}") from error
        return self._controls

    def _connected(self) -> Guests:
        if self._guests is None:
            engine = Engine(self._url)
            sweep(engine)
            image = prepare(engine, self._image)
            self._guests = Guests(engine, image, self._confinement, self._imports)
        return self._guests
