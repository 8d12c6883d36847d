"""Sessions: which variables are kept for whom between runs, and when they are given up.

A session belongs to one caller and to one sandbox, and runs one script at a time. One that is lost
stays lost under its name until it is ended: a script must not go on with half of its variables.
"""

from __future__ import annotations

import ast
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .errors import SandboxBusy, SandboxUnavailable, SessionLost
from .program import Program
from .sandbox.base import Session
from .sandbox.router import Route
from .types import SandboxChoice

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

MOST = 64
IDLE = 1_800.0


@dataclass(slots=True)
class Held:
    """One session: where it lives, and the names its scripts have bound so far."""

    route: Route
    session: Session
    bound: frozenset[str] = frozenset()
    used: float = field(default_factory=time.monotonic)


class Sessions:
    """The sessions of one app. Thread-safe.

    Args:
        place: Where a new session is kept, for a choice of sandbox.
        most: Sessions at once; one more is refused with SandboxBusy.
        idle: Seconds a session may lie unused before it is given up.
    """

    def __init__(
        self, place: Callable[[SandboxChoice | None], Route], *, most: int = MOST, idle: float = IDLE
    ) -> None:
        self._place = place
        self._most = most
        self.idle = idle
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], Held] = {}
        self._busy: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self._held)

    def take(self, caller: str, name: str, choice: SandboxChoice | None) -> Held:
        """A session for one run, made when there is none of that name. Give it back afterwards.

        Raises:
            SandboxBusy: It runs a script just now, or there are too many sessions.
            SessionLost: Its variables are gone.
            SandboxUnavailable: It cannot be kept where it was asked for, or is kept elsewhere already.
        """
        key = (caller, name)
        with self._lock:
            if key in self._busy:
                raise SandboxBusy(f"Session {name} is running a script; wait until that has ended.")
            held = self._held.get(key)
            if held is None and len(self._held.keys() | self._busy) >= self._most:
                raise SandboxBusy(
                    f"{self._most} sessions are kept already; end one, or run without a session."
                )
            self._busy.add(key)
        try:
            if held is None:
                route = self._place(choice)
                held = Held(route, route.sandbox.session(caller=caller))
                with self._lock:
                    self._held[key] = held
            elif choice not in (None, "auto", held.route.sandbox.name):
                raise SandboxUnavailable(
                    f"Session {name} is kept in the {held.route.sandbox.name} sandbox, and this run asks for "
                    f"{choice}. Leave the choice out, or use another session."
                )
            elif held.session.lost:
                raise SessionLost(_gone(name, held.session.lost))
        except BaseException:
            with self._lock:
                self._busy.discard(key)
            raise
        return held

    def give_back(self, caller: str, name: str) -> str:
        """The run is over. Says why the session was lost by it; empty when it was not."""
        with self._lock:
            self._busy.discard((caller, name))
            held = self._held.get((caller, name))
            if held is None:
                return ""
            held.used = time.monotonic()
            return held.session.lost

    def end(self, caller: str, name: str) -> bool:
        """Forget a session; a new one may then have its name. False when there is none.

        Raises:
            SandboxBusy: It runs a script just now.
        """
        with self._lock:
            if (caller, name) in self._busy:
                raise SandboxBusy(f"Session {name} is running a script; wait until that has ended.")
            held = self._held.pop((caller, name), None)
        if held is not None:
            held.session.close()
        return held is not None

    def sweep(self) -> None:
        """Give up the sessions that have lain unused for too long."""
        oldest = time.monotonic() - self.idle
        with self._lock:
            idle = [key for key, held in self._held.items() if held.used <= oldest and key not in self._busy]
            ended = [self._held.pop(key) for key in idle]
        for held in ended:
            held.session.close()

    def close(self) -> None:
        """Forget every session. Idempotent. Not while one runs a script."""
        with self._lock:
            ended = list(self._held.values())
            self._held.clear()
        for held in ended:
            held.session.close()


def _gone(name: str, why: str) -> str:
    return f"The variables of session {name} are gone: {why}. End it and begin again, or use another name."


def with_bound(program: Program, bound: frozenset[str]) -> Program:
    """The program, as one whose names in `bound` have values already: they mean nothing else then."""
    if not bound:
        return program
    return replace(
        program,
        bindings={**dict.fromkeys(bound, ()), **program.bindings},
        free=program.free - bound,
        paths=frozenset(path for path in program.paths if path[0] not in bound),
    )


def binds(program: Program) -> frozenset[str]:
    """The names a script binds for the scripts after it: those of its outermost scope."""
    return frozenset(
        name
        for name, places in program.bindings.items()
        if any(_outermost(program, place) for place in places)
    )


def _outermost(program: Program, place: ast.AST) -> bool:
    if isinstance(place, ast.Global):
        return True
    walrus = False
    parent = program.parents.get(place)
    while parent is not None:
        walrus = walrus or isinstance(parent, ast.NamedExpr)
        if isinstance(parent, _SCOPES) or (isinstance(parent, _COMPREHENSIONS) and not walrus):
            return False
        parent = program.parents.get(parent)
    return True
