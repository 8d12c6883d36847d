"""The reuse guard: what an earlier run did already is not done again by the run that retries it.

As long as the calls are those of the earlier run, in its order, all of them are answered from its record.
From the first that differs on, only what changed the world is, call for call; reads run again, because
what was read may be stale by then. Only calls that succeeded are reused. One whose fate is unknown is never
repeated without a person's word.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from oneturn.journal.events import fingerprint
from oneturn.journal.past import PastCall
from oneturn.tools.base import idempotency_key
from oneturn.types import Answer, Failure, Tool
from oneturn.values import copy

from .base import Allowed, Asked, Cached, Context, Request
from .consent import DENIALS

_Key = tuple[str, str, str]


class Reuse:
    """What there is to reuse of one earlier run.

    Args:
        run_id: The earlier run.
        calls: Its calls.
        salt: What its digests are made with.
        pin: The pin of a tool's definition.
    """

    def __init__(
        self, run_id: str, calls: Collection[PastCall], salt: str, pin: Callable[[Tool], str]
    ) -> None:
        self.run_id = run_id
        self._salt = salt
        self._pin = pin
        made = [
            call if call.key else replace(call, key=idempotency_key(run_id, call.id))
            for call in sorted(calls, key=lambda call: call.id)
            if call.verdict not in _NOT_MADE
        ]
        self._in_order = deque(made)
        self._is_equal = True
        self._writes: dict[_Key, deque[PastCall]] = {}
        for call in made:
            if call.effect != "read":
                self._writes.setdefault(self._key(call), deque()).append(call)

    def find(self, tool: Tool, arguments: Mapping[str, Any]) -> PastCall | None:
        """The call of the earlier run that this one is, used up with it; None when there is none."""
        return self._find((tool.name, self._pin(tool), fingerprint(arguments, self._salt)))

    def _find(self, key: _Key) -> PastCall | None:
        writes = self._writes.get(key)
        if self._is_equal:
            past = self._in_order.popleft() if self._in_order else None
            if past is not None and self._key(past) == key and _is_done(past):
                if writes:
                    writes.popleft()
                return past
            self._is_equal = False
        while writes:
            past = writes.popleft()
            if past.in_doubt or past.took_effect or past.answer is None or past.answer.failure is None:
                return past  # one that failed otherwise did not happen, and the call is made again
        return None

    def add(self, older: Reuse) -> None:
        """What is left of a run that the earlier one retried itself."""
        for key, calls in older._writes.items():
            self._writes.setdefault(key, deque()).extend(calls)

    def pass_over(self, calls: Collection[PastCall], tool: Callable[[str], Tool | None]) -> None:
        """Use up what these calls, of a run that is taken up again, have used up before."""
        for call in sorted(calls, key=lambda call: call.id):
            if call.verdict == "asked" and call.answer is None:
                self._is_equal = False  # it was not answered from the record; it is looked for again
            elif call.verdict == "reused" and call.answer is None:
                continue  # so is this one
            elif tool(call.tool) is not None and call.verdict != "refused":
                self._find(self._key(call))

    def _key(self, past: PastCall) -> _Key:
        return past.tool, past.pin, past.sent or fingerprint(past.arguments, self._salt)


def reuse(request: Request, context: Context) -> Request | Failure | Cached | Asked:
    """Answer a call that the run which is retried has made already.

    One that is sent again after all goes under the idempotency key that it had.
    """
    earlier, tool, arguments = context.reuse, request.tool, request.arguments
    assert tool is not None, "the scope guard comes first"
    assert arguments is not None, "and the arguments guard second"
    consent, call_id = context.consent, request.call.id
    if earlier is None or call_id in consent.approved:
        return replace(request, key=consent.keys.get(call_id, ""))
    past = earlier.find(tool, arguments)
    if past is None:
        return replace(request, key=consent.keys.get(call_id, ""))
    if not _is_done(past):
        consent.keys[call_id] = past.key
        if tool.idempotent:
            return replace(request, key=past.key)
        if consent.denials >= DENIALS:
            return Failure("PermissionError", f"{tool.name}: {_UNKNOWN.format(run=earlier.run_id)}")
        consent.waiting += 1
        why = _MASKED if past.is_masked or past.took_effect else _UNKNOWN
        return Asked(request.call, tool, arguments, why.format(run=earlier.run_id))
    answer = past.answer
    assert isinstance(answer, Answer), "it is done"
    return Cached(Allowed(request.call, tool, arguments), copy(answer.value), reused=True)


def _is_done(past: PastCall) -> bool:
    succeeded = past.answer is not None and past.answer.failure is None
    return succeeded and not past.in_doubt and not past.is_masked


_NOT_MADE = ("refused", "asked")
_MASKED = "it was made in {run} already, and its answer is not on record"
_UNKNOWN = "it was sent in {run} already, and whether it took effect is unknown"
