"""The calls of one run, as its outcome will list them: what each was, and how it ended.

A call that was sent is in doubt (`unknown`, without an error) until its reply has come in or the run
is over; `close` leaves none in that state without a reason.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from ..gate import Allowed, Reply
from ..journal.past import PastCall
from ..types import CallRecord, CallStatus, Position

IN_DOUBT = (
    "it was sent before this run was interrupted, and no answer is on record: it may have taken effect; "
    "look before repeating it"
)
"""What a script is told of a call whose fate a crash has hidden."""
_UNDECIDED = "the script did not wait until somebody decided about it, and it was not sent"
_NOT_WAITED_FOR = "it was sent and not waited for: whether it took effect is unknown"


class Records:
    """The records of one run, by call id. Written on its worker thread, and by `close` at the end."""

    def __init__(self) -> None:
        self._by_id: dict[int, CallRecord] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def begin(self, allowed: Allowed) -> None:
        """A call is about to be sent."""
        call, tool = allowed.call, allowed.tool
        self.put(CallRecord(call.id, tool.name, tool.effect, "unknown", 0.0, call.position))

    def put(self, record: CallRecord) -> None:
        """A call has ended, or was not made at all."""
        self._by_id[record.id] = record

    def changes_the_world(self, call_id: int) -> bool:
        """Whether the call may do more than read."""
        return self._by_id[call_id].effect != "read"

    def give_up(self, call_id: int | None = None) -> None:
        """Nobody decides any more about this call; about any, when none is given."""
        for record in list(self._by_id.values()) if call_id is None else [self._by_id[call_id]]:
            if record.status == "waiting":
                self.put(replace(record, status="cancelled", error=_UNDECIDED))

    def close(
        self, late: Mapping[int, Reply], sent: Mapping[int, float], unfinished: set[int], stuck: set[int]
    ) -> None:
        """Say of every call that is still open how it ended.

        Args:
            late: Replies that came when the script took no more.
            sent: The calls that left, each with the time (`time.monotonic()`).
            unfinished: The calls that were under way when the script ended.
            stuck: Those of them that were cancelled and have not stopped.
        """
        for call_id, record in self._by_id.items():
            if record.status != "unknown" or record.error:  # settled, or in doubt for its own reason
                continue
            reply = late.get(call_id)
            if reply is not None:
                note = "the script did not await it" if call_id in unfinished else ""
                record = reply.record(reply.failure, note)
            elif call_id in sent and record.effect != "read":
                record = replace(record, seconds=time.monotonic() - sent[call_id], error=_NOT_WAITED_FOR)
            elif call_id in stuck:
                record = replace(record, error="it was cancelled and has not stopped")
            else:
                record = replace(record, status="cancelled", error="it was cancelled")
            self._by_id[call_id] = record

    def all(self) -> tuple[CallRecord, ...]:
        """Every record, in the order of the calls."""
        return tuple(self._by_id[call_id] for call_id in sorted(self._by_id))


def recorded(past: PastCall, position: Position | None) -> CallRecord:
    """A call that is on record, as an outcome lists it."""
    failure = past.answer.failure if past.answer else None
    error = failure.message if failure else ""
    status: CallStatus = "failed" if failure else "ok"
    if past.verdict == "asked":
        status = "waiting" if past.answer is None else "refused"
    elif past.answer is None:
        status, error = "unknown", IN_DOUBT if past.effect != "read" else ""
    elif past.in_doubt:
        status = "unknown"
    elif past.verdict == "refused":
        status = "refused"
    return CallRecord(
        past.id,
        past.tool,
        past.effect,
        status,
        past.seconds,
        position,
        error,
        cached=past.verdict == "cached",
        reused=past.verdict == "reused",
    )
