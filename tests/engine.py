"""A container engine for tests: Podman, started when it is installed and stopped afterwards.

Everything of it lies in one temporary folder: storage, sockets, containers and images. The image is made of
a copy of the Python that runs the tests, so no registry is needed. One service runs its containers with runc
and one with runsc, since Podman takes the runtime from there alone; they share the images.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from oneturn.sandbox.container import copy_python
from oneturn.sandbox.container.engine import Engine
from oneturn.sandbox.container.image import prepare

_PATIENCE = 30.0
# Without KVM; and with no network of its own, as the containers have none either.
_GVISOR = ("--runtime", "runsc", "--runtime-flag", "platform=ptrace", "--runtime-flag", "network=none")


@dataclass(frozen=True)
class PodmanService:
    """Running services: their URLs, a root folder to make an image of, and an image made of it."""

    runc: str
    root: Path
    image: str
    runsc: str | None

    @property
    def gvisor(self) -> str:
        """The URL of the service with gVisor; skips the test when there is none."""
        if self.runsc is None:
            pytest.skip("runsc is not installed")
        return self.runsc


def missing() -> str:
    """Why there can be no engine here; empty when there can."""
    if os.getuid() != 0:
        return "a container engine in a folder of its own needs root"
    for program in ("podman", "runc", "setpriv"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return ""


@contextlib.contextmanager
def podman() -> Iterator[PodmanService]:
    """Podman's services; skips the test when there can be none."""
    why = missing()
    if why:
        pytest.skip(why)
    with contextlib.ExitStack() as stack:
        # Paths of sockets are short, and pytest's folders are long.
        folder = Path(tempfile.mkdtemp(prefix="ot-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        copy_python(folder / "python")
        base = [
            "podman", "--root", str(folder / "storage"), "--runroot", str(folder / "run"),
            "--tmpdir", str(folder / "tmp"), "--cgroup-manager", "cgroupfs", "--events-backend", "file",
        ]  # fmt: skip
        stack.callback(_quietly, ["umount", str(folder / "storage" / "overlay")])
        runc = stack.enter_context(_service(folder, "runc", [*base, "--runtime", "runc"]))
        runsc = None
        if shutil.which("runsc") is not None:
            runsc = stack.enter_context(_service(folder, "runsc", [*base, *_GVISOR]))
        engine = Engine(runc)
        stack.callback(engine.close)
        yield PodmanService(runc, folder / "python", prepare(engine, folder / "python"), runsc)


@contextlib.contextmanager
def _service(folder: Path, name: str, command: list[str]) -> Iterator[str]:
    """One service; a container that ends may leave files where the service was started, so not here."""
    path, log = folder / name, folder / f"{name}.log"
    with log.open("wb") as output:
        # Whoever kills the tests leaves no service behind.
        serve = [
            "setpriv",
            "--pdeathsig",
            "TERM",
            *command,
            "system",
            "service",
            "--time=0",
            f"unix://{path}",
        ]
        service = subprocess.Popen(serve, cwd=folder, stdout=output, stderr=output)
    try:
        until = time.monotonic() + _PATIENCE
        while not path.exists():
            assert service.poll() is None, log.read_text()
            assert time.monotonic() < until, f"podman did not start: {log.read_text()}"
            time.sleep(0.05)
        yield f"unix://{path}"
    finally:
        _quietly([*command, "rm", "--all", "--force", "--time", "0"], cwd=folder)
        service.terminate()
        service.wait(_PATIENCE)


def _quietly(command: list[str], cwd: Path | None = None) -> None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(command, cwd=cwd, capture_output=True, timeout=60)
