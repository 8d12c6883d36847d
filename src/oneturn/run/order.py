"""What a run is given: the order it carries out, and the parts it shares with every other run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..gate import Dispatcher, Gate
from ..journal.artifacts import ArtifactStore
from ..journal.events import new_salt
from ..program import Program, needs_full_python
from ..sandbox.router import Route, Router
from ..sessions import Held, Sessions, with_bound
from ..tools.base import Blob, Source
from ..types import Approval, Decision, Limits, SandboxChoice, Tool
from ..view import View

if TYPE_CHECKING:
    from ..journal.past import Past
    from ..journal.writer import Journal, Recording
    from ..telemetry import RunSpan, Telemetry


Approver = Callable[[Sequence[Approval]], Awaitable[Sequence[Decision | None]]]
"""Asked for a person's word on calls that wait together; None for each that nobody decides here and now."""


@dataclass(slots=True)
class Parts:
    """What every run of a runtime shares.

    `sources` finds a source by `Tool.source`; steps are taken on `threads`; without a `journal` nothing
    is recorded.
    """

    router: Router
    sessions: Sessions
    gate: Gate
    dispatcher: Dispatcher
    sources: Callable[[str], Source]
    artifacts: ArtifactStore
    threads: ThreadPoolExecutor
    journal: Journal | None = None
    approver: Approver | None = None
    """Is asked for a person's word while the run waits, when an order brings none of its own."""
    patience: float | None = None
    """Seconds until what nobody has decided is denied; never when None."""
    telemetry: Telemetry | None = None
    """Is told of runs and calls."""
    _pins: dict[str, tuple[Tool, str]] = field(default_factory=dict)

    def record(self, run: str, order: Order) -> Recording | None:
        """Where a new run is recorded."""
        journal = self.journal
        return journal.begin(run, order.caller, retries=order.retry_of) if journal is not None else None

    def span(self, run: str, order: Order, past: Past | None = None) -> RunSpan | None:
        """What OpenTelemetry is told of a run through; None when it is not told."""
        return self.telemetry.run(run, order, past) if self.telemetry is not None else None

    def masked(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Arguments as they may be on record; the very same when all of them may."""
        fields = self.journal.fields if self.journal is not None else None
        hidden: Mapping[str, Any] = arguments if fields is None else fields.hidden(arguments)
        return hidden

    def pin(self, tool: Tool) -> str:
        """The pin of a tool, which takes a while to work out."""
        known = self._pins.get(tool.name)
        if known is None or known[0] is not tool:
            known = self._pins[tool.name] = (tool, tool.pin)
        return known[1]

    def place(self, program: Program, order: Order) -> tuple[Route, Held | None, Program]:
        """Where a script runs, in which session, and the program as its names mean there.

        Raises:
            SandboxError: It is not to be had; nothing ran.
        """
        if order.session:
            held = self.sessions.take(order.caller, order.session, order.sandbox)
            return held.route, held, with_bound(program, held.bound)
        need = needs_full_python(program)
        return self.router.route(need.sentence if need else None, order.sandbox), None, program

    def keeper(self, caller: str, run: str) -> Callable[[Blob], Mapping[str, Any]]:
        """Puts blobs of results of a run into the artifact store, for its caller."""

        def keep(blob: Blob) -> Mapping[str, Any]:
            kept = self.artifacts.put(blob.data, mime=blob.mime, name=blob.name, caller=caller, run=run)
            return kept.handle()

        return keep


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run, for whom, and how."""

    code: str
    view: View
    limits: Limits
    caller: str
    sandbox: SandboxChoice | None = None
    """Instead of the app's own choice."""
    session: str = ""
    """Whose variables it sees and leaves; none when empty."""
    seed: int | None = None
    """What its randomness comes from; drawn when not given."""
    allow: tuple[tuple[str, ...], ...] = (("*",),)
    """The allow-lists that hold, `view`'s and the app's: on record, for whoever takes the run up again."""
    approver: Approver | None = None
    """Is asked for a person's word; the runtime's own when there is none."""
    shown: str = ""
    """What is on record in place of `code`, when that holds what must not be."""
    retry_of: str = ""
    """The run whose work this one does again, without repeating what it did."""
    salt: str = field(default_factory=new_salt)
    """What the digests on record are made with; a retry has that of the run it retries."""

    @classmethod
    def of(cls, began: Mapping[str, Any], view: View, approver: Approver | None = None) -> Order:
        """The order of a run that is on record, by its first event."""
        return cls(
            began["code"],
            view,
            Limits(**began["limits"]),
            began["caller"],
            began["sandbox"],
            began["session"],
            began["seed"],
            tuple(map(tuple, began["allow"])),
            approver,
            retry_of=began["retry_of"],
            salt=began["salt"],
        )
