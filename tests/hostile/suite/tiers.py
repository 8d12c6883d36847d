"""The tiers of the suite: how each is made, and why one cannot be made here."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from oneturn.errors import OneturnError
from oneturn.sandbox.base import Sandbox

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Tier:
    """A sandbox to attack.

    Attributes:
        name: For the command line.
        make: Makes one, in the process that plays the cases.
        missing: Why this machine cannot, empty when it can.
        timeout: Wall clock of a run, in seconds; what takes long to start has more.
        unprivileged: Whether the host is to run as a user who may nothing.
        claims: Controls it has and others have not, see `Case.claim`.
        contained: Whether its host is to run in a process namespace of its own, with bounds on everything.
    """

    name: str
    make: Callable[[], Sandbox]
    missing: Callable[[], str] = lambda: ""
    timeout: float = 1.5
    unprivileged: bool = False
    claims: frozenset[str] = frozenset({"no sockets", "system calls"})
    contained: bool = False


def _monty() -> Sandbox:
    from oneturn.sandbox.monty import MontySandbox

    return MontySandbox(workers=4)


def _jailed() -> Sandbox:
    from oneturn.sandbox.monty import MontySandbox

    return MontySandbox(jailed=True, workers=4)


def _zygote() -> Sandbox:
    from oneturn.sandbox.cpython import CPythonSandbox

    return CPythonSandbox(way="zygote")


def _bubblewrap() -> Sandbox:
    from oneturn.sandbox.cpython import CPythonSandbox

    return CPythonSandbox(way="bubblewrap")


class _Contained:
    """The container sandbox with an engine of its own."""

    def __init__(self) -> None:
        from tests.engine import podman

        from oneturn.sandbox.container import ContainerSandbox

        self._stack = contextlib.ExitStack()
        service = self._stack.enter_context(podman())
        self._sandbox = ContainerSandbox(engine=service.runc, image=service.image, cpus=2.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sandbox, name)

    def close(self) -> None:
        """Close the sandbox, and then the engine."""
        self._sandbox.close()
        self._stack.close()


def _contained() -> Sandbox:
    return cast(Sandbox, _Contained())


def _no_engine() -> str:
    try:
        from tests import engine
    except ImportError as error:
        return str(error)
    return engine.missing()


def _exposed() -> Sandbox:
    from .exposed import ExposedSandbox

    return ExposedSandbox()


def _no_user() -> str:
    if os.geteuid() != 0:
        return unusable(_zygote)
    from .table import unprivileged_python

    return "" if unprivileged_python() else "there is no Python of this version that another user can run"


def _no_namespaces() -> str:
    if os.geteuid() != 0:
        return "an unconfined guest is only run by root, in namespaces of its own"
    return "" if shutil.which("unshare") else "unshare is not installed"


def unusable(make: Callable[[], Sandbox]) -> str:
    """Why a sandbox cannot be had on this machine; empty when it can."""
    sandbox = make()
    try:
        failed = [each for each in sandbox.controls() if each.required and not each.proved]
    except (OneturnError, ImportError) as error:
        return str(error)
    finally:
        sandbox.close()
    return "; ".join(f"{each.name}: {each.why}" for each in failed)


TIERS = {
    tier.name: tier
    for tier in (
        Tier("monty", _monty),
        Tier("jailed", _jailed, missing=lambda: unusable(_jailed)),
        Tier("cpython", _zygote, missing=lambda: unusable(_zygote), timeout=3.0),
        Tier("unprivileged", _zygote, missing=_no_user, unprivileged=True, timeout=3.0),
        Tier("bubblewrap", _bubblewrap, missing=lambda: unusable(_bubblewrap), timeout=6.0),
        # An engine's own filter of system calls lets a program make sockets, which then lead nowhere.
        Tier("container", _contained, missing=_no_engine, claims=frozenset(), timeout=6.0),
        Tier("unconfined", _exposed, missing=_no_namespaces, contained=True, timeout=6.0),
    )
}
