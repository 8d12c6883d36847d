"""Chooses the sandbox for a script, and keeps those that were chosen before.

`auto` means the fastest place that runs the script exactly right: Monty when Monty is known to, else
full CPython. A choice and an isolation level that are named are held to: nothing weaker is ever used
in their place.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from ..errors import SandboxError, SandboxUnavailable
from ..types import IsolationLevel, Limits, SandboxChoice, TierName
from .base import Sandbox
from .modules import allowed, importable

_LEVELS: tuple[IsolationLevel, ...] = get_args(IsolationLevel)
_CONTAINERS = ("container", "gvisor")  # levels that only a container has


@dataclass(frozen=True, slots=True)
class Route:
    """Where a script runs, why there, and what its caller should know about that."""

    sandbox: Sandbox
    why: str
    warning: str = ""

    @property
    def full_python(self) -> bool:
        """Whether everything Python has is there."""
        return self.sandbox.name != "monty"


class Router:
    """The sandboxes of one app; each is made when it is first needed. Thread-safe.

    Args:
        makers: How each tier is made.
        choice: What runs use that do not choose for themselves.
        least: The weakest isolation level that will do.
        imports: Modules a script may import in full Python, beside the safe standard library.
    """

    def __init__(
        self,
        makers: Mapping[TierName, Callable[[], Sandbox]],
        *,
        choice: SandboxChoice = "auto",
        least: IsolationLevel = "interpreter",
        imports: Sequence[str] = (),
    ) -> None:
        self._makers = makers
        self._choice = choice
        self._least = least
        self._modules = allowed(imports)
        self._lock = threading.RLock()
        self._made: dict[TierName, Sandbox] = {}
        self._tried: dict[TierName, SandboxUnavailable | None] = {}

    @classmethod
    def only(cls, sandbox: Sandbox, least: IsolationLevel = "interpreter") -> Router:
        """A router that knows no other place than this one."""
        return cls({sandbox.name: lambda: sandbox}, choice=sandbox.name, least=least)

    def importable(self, module: str) -> bool:
        """Whether a script in full Python may import a module."""
        return importable(module, self._modules)

    def route(self, need: str | None, choice: SandboxChoice | None = None) -> Route:
        """Where to run a script.

        Args:
            need: Why it needs full Python, as a sentence; None when Monty runs it exactly.
            choice: Instead of the app's own.

        Raises:
            SandboxUnavailable: What was named, or the isolation level, is not to be had here.
        """
        choice = choice or self._choice
        if choice == "auto" and len(self._makers) == 1:
            (choice,) = self._makers
        if choice != "auto":
            return self._named(choice, need)
        if self._least in _CONTAINERS or self._least == "remote":
            tier: TierName = "remote" if self._least == "remote" else "container"
            return Route(self.get(tier), f"isolation is {self._least}")
        if need is None and (self._least == "interpreter" or self.missing("monty") is None):
            return Route(self.get("monty"), "Monty runs it as Python would")
        need = need or f"Monty cannot be had at this level: {self.missing('monty')}"
        missing = self.missing("cpython")
        if missing is None:
            return Route(self.get("cpython"), need)
        return Route(
            self.get("monty"),
            "full Python is not to be had on this machine",
            f"{need.rstrip('.')}, and full Python is not to be had here, so the result may differ: {missing}",
        )

    def for_session(self, choice: SandboxChoice | None = None) -> Route:
        """Where to keep a session. Later scripts may need anything, so full Python if it can be had."""
        if (choice or self._choice) == "auto" and self._least in ("interpreter", "jailed"):
            if self.missing("cpython") is None:
                return Route(self.get("cpython"), "a session has full Python")
            return Route(self.get("monty"), "full Python is not to be had on this machine")
        return self.route(None, choice)

    def get(self, tier: TierName) -> Sandbox:
        """One tier, made when there is none yet. Raises SandboxUnavailable when it is too weak."""
        with self._lock:
            sandbox = self._made.get(tier)
            if sandbox is None:
                if tier not in self._makers:
                    raise SandboxUnavailable(
                        f"This app has no {tier} sandbox; it has {', '.join(self._makers)}."
                    )
                sandbox = self._made[tier] = self._makers[tier]()
        if _LEVELS.index(sandbox.isolation) < _LEVELS.index(self._least):
            raise SandboxUnavailable(
                f"The {tier} sandbox isolates at the level {sandbox.isolation}, and {self._least} is "
                "asked for; choose another sandbox, or a lower level."
            )
        return sandbox

    def missing(self, tier: TierName) -> SandboxUnavailable | None:
        """Why a tier cannot be had, or None when it can. It is tried once, which may take seconds."""
        with self._lock:
            if tier not in self._tried:
                self._tried[tier] = self._try(tier)
            return self._tried[tier]

    def _try(self, tier: TierName) -> SandboxUnavailable | None:
        try:
            self.get(tier).open(Limits(), 0).close()
        except SandboxUnavailable as error:
            return error
        except SandboxError:
            pass  # it is there, and merely busy
        return None

    def _named(self, tier: TierName, need: str | None) -> Route:
        sandbox = self.get(tier)
        warning = ""
        if tier == "monty" and need is not None:
            warning = f"{need.rstrip('.')}; it was run in Monty because that was asked for"
        return Route(sandbox, f"sandbox is {tier}", warning)

    @property
    def tiers(self) -> tuple[TierName, ...]:
        """The tiers there are, made or not."""
        return tuple(self._makers)

    def close(self) -> None:
        """Close every sandbox that was made. Idempotent; a later run makes new ones."""
        with self._lock:
            made, self._made = self._made, {}
            self._tried = {}
        with contextlib.ExitStack() as stack:
            for sandbox in made.values():
                stack.callback(sandbox.close)
