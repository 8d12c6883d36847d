"""The calls of one run that wait for a person's word, and what becomes of them. Used on its worker thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ..errors import DecisionRefused
from ..gate import Asked, Context
from ..journal.approvals import EXPIRED, approval_id
from ..journal.past import PastCall
from ..types import Answer, Approval, Call, Decision, Failure, Grant, Tool
from .history import History
from .order import Approver, Order, Parts
from .records import Records

log = logging.getLogger("oneturn.run")

NOBODY = Decision(False, "oneturn", "there is nobody to ask, and the run cannot wait for somebody")
"""What stands where no run can be put aside and nobody is there to decide."""


class Asking:
    """Holds them.

    Args:
        run_id: The run's id.
        parts: Of the runtime.
        order: What is run.
        context: What the gate knows of the run.
        records: Where the fate of every call is written.
        history: The run's side of the journal.
    """

    def __init__(
        self, run_id: str, parts: Parts, order: Order, context: Context, records: Records, history: History
    ) -> None:
        self._run_id = run_id
        self._parts = parts
        self._order = order
        self._context = context
        self._records = records
        self._history = history
        self._open: dict[int, tuple[Asked, Approval]] = {}
        self._new: list[int] = []
        approver = order.approver or parts.approver
        self.approver = None if approver is None else _checked(approver, parts.patience)

    @property
    def can_wait(self) -> bool:
        """Whether the run can be put aside: what it did is on record, and it needs nothing that is not."""
        return self._history.is_recorded and not self._order.session and not self._history.is_masked

    def add(self, verdict: Asked) -> None:
        """A call needs a person's word."""
        call, tool, patience = verdict.call, verdict.tool, self._parts.patience
        approval = Approval(
            id=approval_id(self._run_id, call.id),
            run_id=self._run_id,
            call_id=call.id,
            caller=self._order.caller,
            tool=tool.name,
            effect=tool.effect,
            arguments=verdict.arguments,
            position=call.position,
            expires=None if patience is None else time.time() + patience,
            why=verdict.why,
        )
        self._records.put(verdict.record())
        self._history.asked(verdict)
        self._open[call.id] = (verdict, approval)
        self._new.append(call.id)

    def covers(self, call_ids: Collection[int]) -> bool:
        """Whether all of these wait for a person's word."""
        return self._open.keys() >= set(call_ids)

    def new(self) -> list[Approval]:
        """Those that nobody has been asked about yet."""
        found = [self._open[call_id][1] for call_id in self._new if call_id in self._open]
        self._new.clear()
        return found

    def waiting(self) -> tuple[Approval, ...]:
        """All of them, in the order of the calls."""
        return tuple(self._open[call_id][1] for call_id in sorted(self._open))

    def known(self, call_ids: Collection[int]) -> Mapping[int, Decision | None]:
        """What was said about calls that people were asked about, on record or while it was put aside."""
        found = {
            call_id: self._history.decisions.get(call_id) or self._stored(call_id) for call_id in call_ids
        }
        consent = self._context.consent
        consent.asked.update(found)
        consent.decided.update(call_id for call_id, decision in found.items() if decision is not None)
        return found

    def _filed(self, call_id: int, decision: Decision) -> Decision | None:
        """The word that stands on a call that was put on file: the first one, wherever it was given."""
        journal, filed = self._parts.journal, approval_id(self._run_id, call_id)
        if journal is None:
            return decision
        with contextlib.suppress(DecisionRefused):
            journal.approvals.decide(filed, decision)
        return journal.approvals.decision(filed)

    def _stored(self, call_id: int) -> Decision | None:
        journal = self._parts.journal
        return None if journal is None else journal.approvals.decision(approval_id(self._run_id, call_id))

    def _was_changed(self, call_id: int) -> bool:
        """Whether people are shown something else on file than what would be sent; it is filed anew then."""
        journal, approval = self._parts.journal, self._open[call_id][1]
        if journal is None or journal.approvals.shows(approval):
            return False
        log.warning("%s was changed on file; what was decided about it does not count.", approval.id)
        journal.approvals.withdraw(approval.id)
        self._context.consent.asked.discard(call_id)
        return True

    def dropped(self, call_id: int) -> None:
        """The script gave the call up: whatever somebody says about it now, it is not sent."""
        if self._open.pop(call_id, None) is not None:
            self._context.consent.waiting -= 1
            self._records.give_up(call_id)

    def decided(
        self, call_id: int, decision: Decision | None, used: float, *, on_record: bool = False
    ) -> Call | Answer | None:
        """Somebody has decided about a call, or has not.

        Returns:
            The call as it is to go through the gate once more, with `consent` to it; the answer when it
            is denied; None when it goes on waiting.
        """
        if call_id not in self._open:
            return None  # the script gave it up meanwhile
        if decision is not None and decision.by in ("", self._order.caller):
            log.error("A word on %s was not taken: it must be somebody's, and not the caller's own.", call_id)
            decision = None
        if decision is None:
            if self.can_wait:
                return None
            decision = NOBODY
        if not on_record and call_id in self._context.consent.asked:
            if self._was_changed(call_id):
                decision = None if self.can_wait else NOBODY
            else:
                decision = self._filed(call_id, decision)  # somebody may have decided elsewhere meanwhile
            if decision is None:
                return None
        verdict, _ = self._open.pop(call_id)
        consent, tool = self._context.consent, verdict.tool
        consent.waiting -= 1
        if not on_record:
            self._history.decided(call_id, decision, used)
            if decision.approved and decision.grant is not None:
                self._grant(tool, decision.grant)
            consent.denials += not decision.approved
        if decision.approved:
            arguments = verdict.arguments if decision.arguments is None else decision.arguments
            consent.approved.add(call_id)
            return replace(verdict.call, args=(), kwargs=arguments)
        why = f": {decision.reason}" if decision.reason else ""
        failure = Failure("PermissionError", f"{tool.name}: denied by {decision.by}{why}")
        self._records.put(replace(verdict.record(), status="refused", error=failure.message))
        answer = Answer(call_id, failure=failure)
        self._history.told(answer)
        return answer

    def taken(self, call_id: int) -> None:
        """A decision that was stored is part of the run now."""
        if self._parts.journal is not None:
            self._parts.journal.approvals.used(approval_id(self._run_id, call_id))

    def restore(self, calls: Collection[PastCall]) -> None:
        """Put what people said by the record back in force."""
        consent, scope = self._context.consent, self._order.view.scope
        by_id = {call.id: call for call in calls}
        for call_id, decision in self._history.decisions.items():
            tool = scope.get(by_id[call_id].tool)
            if not decision.approved:
                consent.denials += 1
            elif decision.grant is not None and tool is not None:
                self._grant(tool, decision.grant)
        for call in calls:
            if call.key:
                consent.keys[call.id] = call.key
            tool = scope.get(call.tool) if call.granted else None
            if tool is None or (call.answer is None and (tool.effect == "read" or tool.idempotent)):
                continue  # it is sent again, and counts then
            if not consent.take_grant(tool, call.arguments):  # what it was is not on record: nothing is left
                consent.end_grants(tool)

    def _grant(self, tool: Tool, grant: Grant) -> None:
        try:
            self._context.consent.add(tool, grant)
        except DecisionRefused as error:
            log.warning("A grant for %s in %s allows nothing: %s", tool.name, self._run_id, error)


def _checked(approver: Approver, patience: float | None) -> Approver:
    """An approver whose answers are decisions, and who has so many seconds for them."""

    async def ask(approvals: Sequence[Approval]) -> Sequence[Decision | None]:
        try:
            async with asyncio.timeout(patience) as time_is_up:
                decisions = list(await approver(approvals))
        except TimeoutError:
            if not time_is_up.expired():
                raise
            return [EXPIRED] * len(approvals)
        strange = [each for each in decisions if not isinstance(each, Decision | None)]
        if strange:
            raise TypeError(f"an approver returned a {type(strange[0]).__name__} instead of a Decision")
        return decisions

    return ask
