"""The app for scripts and notebooks that have no event loop: each method runs one of its own."""

from __future__ import annotations

import asyncio
import contextvars
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from .errors import ConfigError

if TYPE_CHECKING:
    from .run.order import Approver
    from .tools.scope import AllowLike
    from .types import Outcome, SandboxChoice

T = TypeVar("T")


class Synchronous(ABC):
    """What can be done with an app without `await`."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    @abstractmethod
    async def open(self) -> None:
        """Start the app."""

    @abstractmethod
    async def close(self) -> None:
        """Stop the app."""

    @abstractmethod
    async def execute(
        self,
        code: str,
        *,
        timeout: float | None = None,
        allow: AllowLike = "*",
        caller: str = "local",
        sandbox: SandboxChoice | None = None,
        session: str = "",
        seed: int | None = None,
        approver: Approver | None = None,
        retry_of: str = "",
    ) -> Outcome:
        """Run a script."""

    @abstractmethod
    async def resume(
        self, run_id: str, *, caller: str = "local", approver: Approver | None = None
    ) -> Outcome:
        """Go on with a run."""

    def execute_sync(
        self,
        code: str,
        *,
        timeout: float | None = None,
        allow: AllowLike = "*",
        caller: str = "local",
        sandbox: SandboxChoice | None = None,
        session: str = "",
        seed: int | None = None,
        approver: Approver | None = None,
        retry_of: str = "",
    ) -> Outcome:
        """`execute` without `await`, with the same arguments. Raises as it does."""
        return self._run_sync(
            self.execute(
                code,
                timeout=timeout,
                allow=allow,
                caller=caller,
                sandbox=sandbox,
                session=session,
                seed=seed,
                approver=approver,
                retry_of=retry_of,
            )
        )

    def resume_sync(self, run_id: str, *, caller: str = "local", approver: Approver | None = None) -> Outcome:
        """`resume` without `await`. Raises as it does."""
        return self._run_sync(self.resume(run_id, caller=caller, approver=approver))

    def close_sync(self) -> None:
        """`close`, after `execute_sync`."""
        if self._runner is not None:
            self._run_sync(self.close())
            self._runner.close()
            self._runner = None

    def _run_sync(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self._runner is None:
                self._runner = asyncio.Runner()
            return self._runner.run(work, context=contextvars.copy_context())  # as it is for this run
        work.close()
        raise ConfigError("An event loop is running here: use `await app.execute(...)` instead.")

    def __enter__(self) -> Self:
        self._run_sync(self.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_sync()
