"""Makes the sandboxes an app's options ask for; none of them starts anything before it is used."""

from __future__ import annotations

from collections.abc import Callable

from .options import Options
from .sandbox.base import Sandbox
from .sandbox.router import Router
from .types import TierName


def router_of(options: Options) -> Router:
    """The router of an app with these options."""
    own = options.sandbox
    if not isinstance(own, str):
        return Router.only(own, options.isolation)
    makers: dict[TierName, Callable[[], Sandbox]] = {
        "monty": lambda: _monty(options),
        "cpython": lambda: _cpython(options),
        "container": lambda: _container(options),
        "remote": lambda: _remote(options),
    }
    return Router(makers, choice=own, least=options.isolation, imports=options.imports)


def _monty(options: Options) -> Sandbox:
    from .sandbox.monty import MontySandbox

    return MontySandbox(workers=options.runs, jailed=options.isolation == "jailed")


def _cpython(options: Options) -> Sandbox:
    from .sandbox.cpython import CPythonSandbox
    from .sessions import MOST

    python = str(options.python) if options.python is not None else None
    return CPythonSandbox(imports=options.imports, python=python, processes=options.runs + MOST)


def _container(options: Options) -> Sandbox:
    from .sandbox.container import ContainerSandbox
    from .sessions import MOST

    runtime = "runsc" if options.isolation == "gvisor" else None
    return ContainerSandbox(runtime=runtime, imports=options.imports, processes=options.runs + MOST)


def _remote(options: Options) -> Sandbox:
    from .sandbox.remote import RemoteSandbox

    return RemoteSandbox(imports=options.imports)
