"""What people have agreed to in one run, and nothing beyond it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oneturn.errors import DecisionRefused
from oneturn.types import Grant, Tool

from .schemas import Schema

DENIALS = 3
"""Denials after which a run's further asks are refused unseen."""


@dataclass(slots=True)
class _Granted:
    """A grant that is in force, and the calls it is still good for."""

    tool: Tool
    left: int
    fits: Schema

    def covers(self, tool: Tool, arguments: Mapping[str, Any]) -> bool:
        """Whether a call is within it."""
        if tool is not self.tool or self.left <= 0 or self.fits.too_much(arguments):
            return False
        try:
            return self.fits.accepts(arguments)
        except ValueError:  # bytes: no schema speaks of them
            return False


@dataclass(slots=True)
class Consent:
    """What people have said in one run."""

    approved: set[int] = field(default_factory=set)
    """Calls that are on their way through the gate with the arguments that were agreed to."""
    asked: set[int] = field(default_factory=set)
    """Calls that people were asked about before the run was put aside."""
    decided: set[int] = field(default_factory=set)
    """Those of them that somebody decided about: their word is all that counts, whatever else would do."""
    keys: dict[int, str] = field(default_factory=dict)
    """The idempotency keys of calls that an earlier run may have made, by call of this one."""
    denials: int = 0
    waiting: int = 0
    _grants: list[_Granted] = field(default_factory=list)

    def add(self, tool: Tool, grant: Grant) -> None:
        """Put a grant in force. Raises DecisionRefused as `check_grant` does."""
        self._grants.append(_Granted(tool, grant.calls, check_grant(grant)))

    def take_grant(self, tool: Tool, arguments: Mapping[str, Any]) -> bool:
        """Use up one call of a grant that covers this one."""
        for granted in self._grants:
            if granted.covers(tool, arguments):
                granted.left -= 1
                return True
        return False

    def end_grants(self, tool: Tool) -> None:
        """No grant for this tool is good for anything any more."""
        for granted in self._grants:
            if granted.tool is tool:
                granted.left = 0


def check_grant(grant: Grant) -> Schema:
    """The bounds of a grant, ready for use. Raises DecisionRefused when they are no usable JSON Schema."""
    try:
        return Schema(grant.arguments)
    except Exception as error:
        reason = str(error).partition("\n")[0][:200]
        raise DecisionRefused(f"The bounds of the grant are no usable JSON Schema: {reason}.") from error
