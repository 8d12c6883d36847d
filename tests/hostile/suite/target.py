"""The app that is attacked: an ordinary one, and what of it was called."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from oneturn import CodeMode, ToolError
from oneturn.sandbox.base import Sandbox

from .oracles import LIMITS

_KEPT = 2_000  # characters of an argument


class Kept:
    """A sandbox that outlives the apps it is given to."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sandbox, name)

    def close(self) -> None:
        """Not yet."""


class Target:
    """An app with tools of every kind, one of them outside the scope."""

    def __init__(self, sandbox: Sandbox, canary: str, timeout: float) -> None:
        self.arrived: list[tuple[str, Any]] = []
        self.hidden = 0
        self.armed = False
        self.shared = {"items": [1, 2, 3]}
        self._canary = canary
        # Without the check of types before a run, which would stop some of the scripts for their mistakes.
        self.app = CodeMode(
            allow=["lab.*", "echo"],
            limits=replace(LIMITS, timeout=timeout),
            check=False,
            learn=False,
            sandbox=Kept(sandbox),
        )
        self._offer()

    def _offer(self) -> None:
        app, arrived = self.app, self.arrived

        @app.tool(effect="read", namespace="lab")
        async def armed() -> None:
            """The script has come as far as its act."""
            arrived.append(("lab.armed", ()))
            self.armed = True

        @app.tool(effect="read")
        async def echo(value: Any = None) -> Any:
            """Give the value back."""
            arrived.append(("echo", repr(value)[:_KEPT]))
            return value

        @app.tool(effect="read", namespace="lab")
        async def shared() -> dict[str, Any]:
            """The host's own data."""
            arrived.append(("lab.shared", ()))
            return self.shared

        @app.tool(effect="read", namespace="lab")
        async def fail(text: str = "") -> None:
            """Fail, with the host's frames behind it."""
            arrived.append(("lab.fail", ()))
            local_secret = self._canary
            raise ToolError((text or "it failed")[: 10 * len(local_secret) + len(text)])

        @app.tool(effect="read", namespace="lab")
        async def crash() -> None:
            """Break, with a secret close by."""
            arrived.append(("lab.crash", ()))
            local_secret = self._canary
            raise KeyError(len(local_secret))

        @app.tool(effect="read", namespace="lab")
        async def big(size: int) -> str:
            """A text of this size."""
            arrived.append(("lab.big", ()))
            return "x" * size

        @app.tool(effect="read", namespace="lab")
        async def forever() -> None:
            """Never answer."""
            arrived.append(("lab.forever", ()))
            await asyncio.Event().wait()

        @app.tool(effect="write", namespace="lab")
        async def save(name: str, admin: bool = False) -> list[Any]:
            """Save something."""
            arrived.append(("lab.save", (name, admin)))
            return [name, admin]

        @app.tool(effect="destructive", namespace="vault")
        async def open_vault(launch_code: str = "") -> str:
            """Outside the scope."""
            self.hidden += 1
            return self._canary

    async def close(self) -> None:
        """Close the app, and not the sandbox."""
        await self.app.close()
