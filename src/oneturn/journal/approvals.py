"""Approvals on record: asked for by a run that is put aside, decided by a person, from any process."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oneturn.errors import DecisionRefused, JournalError, OneturnError
from oneturn.types import Approval, Decision, Position

from .events import canonical, decision_body, decision_of, decode, encode
from .rows import ApprovalRow, ApprovalStatus

if TYPE_CHECKING:
    from .writer import Journal

log = logging.getLogger("oneturn.journal")

EXPIRED = Decision(False, "oneturn", "nobody decided in time")
"""What stands when the time for a decision is up."""
OVER = Decision(False, "oneturn", "the run has ended")
"""What stands when nobody decided before its run ended."""


@dataclass(frozen=True, slots=True)
class Filed:
    """An approval and how it stands. `asked` and `decided` are seconds since 1970."""

    approval: Approval
    status: ApprovalStatus
    asked: float
    decision: Decision | None = None
    decided: float | None = None


class Approvals:
    """The approvals of one journal.

    Args:
        journal: Whose they are.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def list(
        self,
        *,
        run: str | None = None,
        caller: str | None = None,
        status: ApprovalStatus | None = None,
        limit: int = 200,
    ) -> list[Filed]:
        """The newest first; those asked at once in the order of their calls.

        Without those that cannot be read; a warning in the log names the pending ones among them.
        """
        found = []
        for row in self._journal.store.approvals(run=run, caller=caller, status=status, limit=limit):
            try:
                found.append(self._filed(row))
            except JournalError as error:
                if row.status == "pending":
                    log.warning("What waits is not all listed: %s", error)
        return found

    def get(self, approval_id: str) -> Filed:
        """One approval. Raises DecisionRefused when there is none."""
        row = self._journal.store.approval(approval_id)
        if row is None:
            raise DecisionRefused(f"There is no approval {approval_id}; `oneturn approvals list` shows them.")
        return self._filed(row)

    def decide(self, approval_id: str, decision: Decision) -> Filed:
        """Put a decision on record, once and for all.

        Raises:
            DecisionRefused: It is decided or expired already, whoever decides made the run, or what they
                decided holds something that must not be on record.
            JournalError: It could not be recorded.
        """
        filed = self.get(approval_id)
        self._may_be_kept(decision)
        if not decision.by:
            raise DecisionRefused("A decision needs the name of whoever decides, as `by`.")
        if decision.by == filed.approval.caller:
            raise DecisionRefused(
                f"{decision.by} made the run that asks; somebody else has to decide about {approval_id}."
            )
        self._journal.flush()  # it may have ended here a moment ago
        run = self._journal.store.run(filed.approval.run_id)
        if run is None or run.ended is not None:
            raise DecisionRefused(f"The run that asked for {approval_id} has ended; nothing waits for this.")
        if not self._put(filed.approval, "approved" if decision.approved else "denied", decision):
            now = self.get(approval_id)
            how = now.status if now.status != "pending" else "expired"
            raise DecisionRefused(f"{approval_id} is {how} already; that stands.")
        return self.get(approval_id)

    def decision(self, approval_id: str) -> Decision | None:
        """What was decided; None while nobody has. An approval whose time is up is denied by that."""
        row = self._journal.store.approval(approval_id)
        if row is None:
            return None
        filed = self._filed(row)
        if row.status == "pending" and row.expires is not None and row.expires <= time.time():
            self._put(filed.approval, "expired", EXPIRED)
            filed = self.get(approval_id)  # or what somebody decided in the last moment
        return filed.decision

    def undecided(self, run: str) -> tuple[Approval, ...]:
        """What a run still waits for, in the order of its calls."""
        now = time.time()
        pending = [self._asked(row) for row in self._journal.store.approvals(run=run, status="pending")]
        due = [each for each in pending if each.expires is None or each.expires > now]
        return tuple(sorted(due, key=lambda each: each.call_id))

    def close(self, run: str) -> None:
        """A run has ended: what it still asked for is not to be decided any more."""
        for row in self._journal.store.approvals(run=run, status="pending"):
            data, now = encode(decision_body(OVER)), time.time()
            key = self._journal.key_of(run)
            data = data if key is None else key.seal(data, approval_data(row.id))
            self._journal.store.decide(row.id, "denied", by=OVER.by, decision=data, now=now)

    def request(self, approval: Approval) -> bytes:
        """An approval as it is filed: without what must not be on record, not yet encrypted."""
        fields, clean = self._journal.fields, self._journal.clean
        body = approval_body(approval)
        if fields is not None:
            body["arguments"] = fields.hidden(body["arguments"])
        data = encode(body)
        return (
            data if clean is None or not clean.is_in(data.decode()) else encode(clean.cleaned(decode(data)))
        )

    def shows(self, approval: Approval) -> bool:
        """Whether what is on file for people to see is this, but for the time until when they may decide.

        Raises:
            JournalError: It cannot be read.
        """
        row = self._journal.store.approval(approval.id)
        return row is not None and _seen(self._read(row, row.request)) == _seen(
            decode(self.request(approval))
        )

    def withdraw(self, approval_id: str) -> None:
        """Take one from the file, so that it can be filed anew."""
        self._journal.store.drop_approval(approval_id)

    def used(self, approval_id: str) -> None:
        """The run has taken the decision."""
        self._journal.store.use(approval_id)

    def _may_be_kept(self, decision: Decision) -> None:
        """What is masked could not be sent as it was decided, so it is not taken at all."""
        fields, clean = self._journal.fields, self._journal.clean
        data = encode(decision_body(decision))
        edited = decode(data)["arguments"]  # a copy, in which a mask that came along is masked once more
        if fields is not None and fields.hidden(edited) is not edited:
            raise DecisionRefused(
                "The edited arguments hold fields that are redacted; approve the call as it is, or deny it."
            )
        if clean is not None and clean.is_in(data.decode()):
            raise DecisionRefused("The decision holds a secret, which must not be on record; leave it out.")

    def _put(self, approval: Approval, status: ApprovalStatus, decision: Decision) -> bool:
        data = encode(decision_body(decision))
        key = self._journal.key_of(approval.run_id)
        if key is not None:
            data = key.seal(data, approval_data(approval.id))
        return self._journal.store.decide(approval.id, status, by=decision.by, decision=data, now=time.time())

    def _filed(self, row: ApprovalRow) -> Filed:
        request, said = self._read(row, row.request), self._read(row, row.decision) if row.decision else None
        try:
            decision = None if said is None else decision_of(said)
            return Filed(approval_of(request), row.status, row.asked, decision, row.decided)
        except (OneturnError, LookupError, TypeError, ValueError) as error:
            raise JournalError(f"{row.id} cannot be read; it was changed.") from error

    def _asked(self, row: ApprovalRow) -> Approval:
        """What a row asks; of one that cannot be read, what is known without its request."""
        try:
            return self._filed(row).approval
        except JournalError as error:
            return Approval(
                row.id,
                row.run,
                row.call,
                row.caller,
                row.tool,
                "destructive",
                {},
                None,
                row.expires,
                str(error),
            )

    def _read(self, row: ApprovalRow, data: bytes) -> Any:
        key = self._journal.key_of(row.run)
        try:
            return decode(data if key is None else key.open(data, approval_data(row.id)))
        except Exception as error:
            why = "it was changed, or the key of its run was dropped"
            raise JournalError(f"{row.id} cannot be read; {why}.") from error


def approval_id(run_id: str, call_id: int) -> str:
    """The id of the approval of one call."""
    return f"{run_id}-{call_id}"


def approval_data(approval_id: str) -> bytes:
    """What an encrypted request or decision is bound to."""
    return f"approval {approval_id}".encode()


def approval_body(approval: Approval) -> dict[str, Any]:
    """An approval as it is kept."""
    place = approval.position
    return {
        "id": approval.id,
        "run": approval.run_id,
        "call": approval.call_id,
        "caller": approval.caller,
        "tool": approval.tool,
        "effect": approval.effect,
        "arguments": approval.arguments,
        "place": None if place is None else [place.line, place.column, place.source],
        "expires": approval.expires,
        "why": approval.why,
    }


def approval_of(body: Mapping[str, Any]) -> Approval:
    """The approval that was kept."""
    place = body["place"]
    return Approval(
        id=body["id"],
        run_id=body["run"],
        call_id=body["call"],
        caller=body["caller"],
        tool=body["tool"],
        effect=body["effect"],
        arguments=body["arguments"],
        position=None if place is None else Position(*place),
        expires=body["expires"],
        why=body["why"],
    )


def _seen(body: Mapping[str, Any]) -> bytes:
    return canonical({**body, "expires": None})
