"""The gate: the only way out of a sandbox.

Every call passes the guards below, in this order, and is sent by the dispatcher; no other module
reaches a tool. Deciding does no I/O and never waits.
"""

from __future__ import annotations

from collections.abc import Sequence

from oneturn.journal.redaction import Fields
from oneturn.types import Call, Failure

from .arguments import Arguments
from .base import Allowed, Asked, Budget, Cached, Context, Guard, Refused, Request, Verdict, capped
from .dispatch import Dispatcher, Reply
from .guards import budgets, scope
from .redact import Redactor
from .reuse import Reuse, reuse

__all__ = [
    "Allowed",
    "Asked",
    "Budget",
    "Cached",
    "Context",
    "Dispatcher",
    "Gate",
    "Redactor",
    "Refused",
    "Reply",
    "Reuse",
    "Verdict",
]


class Gate:
    """Decides about calls. The order of the guards is this list.

    Args:
        cache: The last guard, a `gate.cache.ResultCache`; nothing is cached without one.
        approval: A `gate.approval.ApprovalGuard`; nothing needs approval without one.
        fields: Are quoted in no refusal.
    """

    def __init__(
        self, cache: Guard | None = None, approval: Guard | None = None, fields: Fields | None = None
    ) -> None:
        guards: list[tuple[str, Guard | None]] = [
            ("scope", scope),
            ("arguments", Arguments(fields)),
            ("reuse", reuse),
            ("approval", approval),
            ("budgets", budgets),
            ("cache", cache),
        ]
        self.guards: Sequence[tuple[str, Guard]] = [
            (name, guard) for name, guard in guards if guard is not None
        ]

    def decide(self, call: Call, context: Context) -> Verdict:
        """Whether to send `call`, and exactly what to send, or what its value is without."""
        request = Request(call)
        for name, guard in self.guards:
            passed = guard(request, context)
            if isinstance(passed, Failure):
                return Refused(call, name, capped(passed), request.tool)
            if isinstance(passed, Cached | Asked):
                return passed
            request = passed
        assert request.tool is not None
        assert request.arguments is not None
        return Allowed(call, request.tool, request.arguments, request.remember, request.granted, request.key)
