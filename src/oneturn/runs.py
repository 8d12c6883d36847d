"""What can be done with the runs of an app beside starting them: stop, resume, decide, read their files."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from .gate.consent import check_grant

if TYPE_CHECKING:
    from .journal.approvals import Filed
    from .journal.artifacts import Artifact
    from .journal.rows import ApprovalStatus, RunRow
    from .run.order import Approver
    from .runtime import Runtime
    from .tools.scope import AllowLike
    from .types import Approval, Decision, Outcome
    from .view import View


_WAITING = 1_000  # runs put aside that are looked at


class Runs(ABC):
    """The runs of an app, by their ids."""

    _runtime: Runtime | None

    @abstractmethod
    async def _opened(self) -> Runtime: ...

    @abstractmethod
    def view(self, allow: AllowLike = "*", *more: AllowLike) -> View:
        """What a caller with all of these allow-lists can see."""

    @property
    def running(self) -> tuple[str, ...]:
        """The ids of the runs under way."""
        return self._runtime.running if self._runtime is not None else ()

    def cancel(self, run_id: str) -> bool:
        """Stop a run: its `execute` returns an outcome that says `cancelled` and what was called.

        False when no such run is under way. Call it on the app's own event loop.
        """
        return self._runtime is not None and self._runtime.cancel(run_id)

    def let_go(self, run_id: str) -> bool:
        """Stop a run in this process and leave it as it is on record, so that it can be resumed.

        False when no such run is under way. Call it on the app's own event loop.
        """
        return self._runtime is not None and self._runtime.let_go(run_id)

    async def resume(
        self, run_id: str, *, caller: str = "local", approver: Approver | None = None
    ) -> Outcome:
        """Go on with a run that was interrupted, from where its record ends.

        The script is run again from its start with the answers on record, in their order, and goes on
        from there. Calls that were sent and have no answer on record are sent again when that is safe (reads,
        and tools that are `idempotent`); for others the script gets an error that says their fate is
        unknown. The outcome of a run that is over is returned as it is on record.

        Raises:
            RunNotFound: There is no such run of this caller.
            RunBusy: It is under way, here or in another process.
            JournalCorrupt: Its record was changed since it was written.
            Diverged: A tool it called is defined in another way now, or it did something else this time.
            JournalError: This app keeps no journal, or the run cannot be taken up again.
        """
        return await (await self._opened()).resume(
            run_id, caller=caller, view_of=self.view, approver=approver
        )

    async def approvals(self, *, run: str | None = None, status: ApprovalStatus | None = None) -> list[Filed]:
        """The calls that wait, or waited, for a person's word; the newest first.

        Args:
            run: Those of one run only.
            status: `pending`, `approved`, `denied`, `expired` or `used` ones only.

        Raises:
            JournalError: This app keeps no journal.
        """
        journal = (await self._opened()).journal
        return await asyncio.to_thread(journal.approvals.list, run=run, status=status)

    async def decide(self, approval_id: str, decision: Decision) -> Filed:
        """Decide about a call that waits; `resume` then goes on with its run.

        Raises:
            DecisionRefused: It is decided or expired already, whoever decides made the run, or the bounds
                of the grant are no JSON Schema that can be used.
            JournalError: This app keeps no journal, or it took nothing.
        """
        if decision.grant is not None:
            check_grant(decision.grant)
        journal = (await self._opened()).journal
        return await asyncio.to_thread(journal.approvals.decide, approval_id, decision)

    async def approval(self, approval_id: str) -> Filed:
        """One call that waits, or waited, for a person's word.

        Raises:
            DecisionRefused: There is no such approval.
            JournalError: This app keeps no journal.
        """
        journal = (await self._opened()).journal
        return await asyncio.to_thread(journal.approvals.get, approval_id)

    async def undecided(self, run_id: str) -> tuple[Approval, ...]:
        """What a run still waits for, in the order of its calls. Raises JournalError without a journal."""
        journal = (await self._opened()).journal
        return await asyncio.to_thread(journal.approvals.undecided, run_id)

    async def decided(self) -> list[RunRow]:
        """Runs that were put aside and wait for nobody any more; the newest first.

        Those too that a process took up again, and died or was stopped over.

        Raises:
            JournalError: This app keeps no journal, or it cannot be read.
        """
        journal = (await self._opened()).journal

        def found() -> list[RunRow]:
            waiting = journal.runs(status="waiting", limit=_WAITING)
            begun = journal.runs(status="running", limit=_WAITING)
            left = [row for row in [*waiting, *begun] if journal.is_left(row)]
            asked = [row for row in left if row.status == "waiting" or journal.approvals.list(run=row.id)]
            return [row for row in asked if not journal.approvals.undecided(row.id)]

        return await asyncio.to_thread(found)

    async def artifact(self, artifact_id: str, *, caller: str = "local") -> Artifact:
        """An artifact a run of this caller left behind. Raises ArtifactNotFound."""
        return (await self._opened()).artifact(artifact_id, caller=caller)
