"""The approval guard: whether a call needs a person's word, and whether it has it.

By default calls that may destroy something need it. A word is for one call of one run, with exactly the
arguments and the definition it was given for; or, when the person says so, for a number of calls of that
tool in this run, within bounds on their arguments. Nothing else is ever remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from oneturn.errors import ConfigError
from oneturn.tools.catalog import Overrides
from oneturn.tools.scope import Allow
from oneturn.types import ApprovalMode, Effect, Failure, Tool

from .base import Asked, Context, Request
from .consent import DENIALS

MOST = 100
"""Calls of one run that may wait for a person at once."""

_YES, _NO = "yes", "no"
_EFFECTS: Mapping[ApprovalMode, frozenset[Effect]] = {
    "never": frozenset(),
    "destructive": frozenset({"destructive"}),
    "writes": frozenset({"destructive", "write"}),
    "always": frozenset({"destructive", "write", "read"}),
}


class ApprovalGuard:
    """Asks for a person's word where one is needed and not given.

    Args:
        mode: Calls of which effects need approval.
        rules: By tool name or glob: whether it does, whatever its effect; the most specific one decides.
        auto: Tools approved beforehand, by name or glob; a destructive one only when it is named exactly.

    Raises:
        ConfigError: There is no such mode, or a rule is neither true nor false.
    """

    def __init__(
        self,
        mode: ApprovalMode = "destructive",
        rules: Mapping[str, bool] | None = None,
        auto: Allow | None = None,
    ) -> None:
        if mode not in _EFFECTS:
            raise ConfigError(f"approve is {mode!r}; use one of {', '.join(get_args(ApprovalMode))}.")
        self._effects = _EFFECTS[mode]
        for pattern, rule in (rules or {}).items():
            if not isinstance(rule, bool):
                raise ConfigError(f"approvals[{pattern!r}] is {rule!r}; write true or false.")
        spelled = {pattern: _YES if rule else _NO for pattern, rule in (rules or {}).items()}
        self._rules = Overrides("approvals", (_YES, _NO), spelled)
        self._auto = auto or Allow()

    def __call__(self, request: Request, context: Context) -> Request | Failure | Asked:
        """Pass a call that needs nobody's word or has it; ask for all others."""
        tool, arguments = request.tool, request.arguments
        assert tool is not None, "the scope guard comes first"
        assert arguments is not None, "and the arguments guard second"
        call_id, consent = request.call.id, context.consent
        if call_id in consent.approved:
            return request
        if call_id not in consent.decided:
            if not self.needed(tool):
                return request
            if consent.take_grant(tool, arguments):
                return Request(request.call, tool, arguments, granted=True)
        if call_id not in consent.asked and consent.denials >= DENIALS:
            return Failure(
                "PermissionError",
                f"{tool.name} needs approval, and {consent.denials} calls of this run were denied already",
            )
        if call_id not in consent.asked and consent.waiting >= MOST:
            return Failure("PermissionError", f"{MOST} calls of this run wait for approval already")
        consent.waiting += 1
        return Asked(request.call, tool, arguments)

    def needed(self, tool: Tool) -> bool:
        """Whether a call of this tool needs a person's word."""
        rule = self._rules.find(tool.name)
        wanted = rule == _YES if rule is not None else tool.approval
        if wanted is False or (wanted is None and tool.effect not in self._effects):
            return False
        if tool.effect == "destructive":
            return tool.name not in self._auto.names
        return not self._auto.matches(tool.name)
