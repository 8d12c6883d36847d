"""What a script is held to before its first call: the checks on its syntax tree, as one answer."""

from __future__ import annotations

from dataclasses import dataclass

from .program import Program, check
from .tools.scope import Scope
from .types import Diagnostic, ScriptError


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks found: the error that stops the script, or None, and the warnings."""

    error: ScriptError | None = None
    warnings: tuple[Diagnostic, ...] = ()


def check_script(program: Program, scope: Scope) -> Checked:
    """Check a script against what its caller can reach. Nothing of the script runs."""
    return Checked(check(program, lambda name: scope.get(name) is not None))
