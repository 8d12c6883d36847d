"""How a run's end is told: the value or the error as its caller may see it, and the outcome on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import JournalError, SandboxError, ValueRefused
from ..gate import Redactor
from ..journal.events import place_of
from ..journal.past import Past
from ..program import Program, hint
from ..tools.scope import Scope
from ..types import CallRecord, Diagnostic, Finished, Limits, Outcome, Position, RunStatus, ScriptError
from ..values import plain
from .records import recorded

CANCELLED = ScriptError(
    "Cancelled", "the run was cancelled", hint="Look at the calls that were made before running it again."
)
_UNRECORDED = (
    "Calls that change anything are sent once they are recorded; what is not on record was not sent."
)
_NAMES = 2_000  # tools whose names a hint may find near


def judged(finished: Finished, limits: Limits) -> Finished:
    """A script's end with a value that may cross, or the error that it may not."""
    if finished.error is not None:
        return finished
    try:
        value = plain(finished.value, limits, what="the script's value", from_script=True)
    except ValueRefused as refused:
        return replace(finished, value=None, error=ScriptError("ValueError", str(refused).rstrip(".")))
    return replace(finished, value=value)


def explained(
    error: ScriptError, redactor: Redactor, program: Program | None, scope: Scope, *, full_python: bool
) -> ScriptError:
    """An error without secrets, and with a hint."""
    message, text = redactor.text(error.message), error.hint
    if not text and program is not None:
        names = [tool.name for tool in scope.tools[:_NAMES]]
        text = hint(error.kind, message, error.position, program, names, full_python)
    return replace(error, message=message, hint=text)


def broken(error: Exception) -> ScriptError:
    """What is told of a run that had to end because something of ours failed."""
    if isinstance(error, JournalError):
        return ScriptError("JournalError", str(error).rstrip("."), hint=_UNRECORDED)
    kind = "SandboxCrashed" if isinstance(error, SandboxError) else "InternalError"
    return ScriptError(kind, f"the run could not go on ({type(error).__name__})")


def timed_out(seconds: float) -> ScriptError:
    """A run took too long."""
    return ScriptError(
        "TimeoutError",
        f"the run took more than {seconds:g} s, tool time included",
        hint="Do less per script, gather independent calls, or ask for a longer timeout.",
    )


def too_many_refused(count: int) -> ScriptError:
    """A run does nothing but what it may not."""
    return ScriptError(
        "PermissionError",
        f"{count:,} calls of this run were refused, so it was ended",
        hint="Call only tools that runtime.list_tools() shows, with the arguments their signature shows.",
    )


def inexact(warning: str, program: Program) -> Diagnostic:
    """What may differ from Python, where there was no better place to run."""
    return Diagnostic("Inexact", warning, Position(1, 1, program.lines[0]))


def outcome_of(run_id: str, past: Past) -> Outcome:
    """The outcome of a run that is over, or what is known of one that is not, from its record."""
    began, ended, returned = past.began, past.ended or {}, past.returned or {}
    lines = str(began["code"]).split("\n")
    late = {entry[0]: entry for entry in ended.get("calls", ())}
    calls = [_settled(recorded(call, call.position), late.get(call.id)) for call in past.calls.values()]
    status: RunStatus = ended.get("status", "waiting" if past.waits else "running")
    return Outcome(
        run_id=run_id,
        status=status,
        value=returned.get("value") if status == "succeeded" else None,
        prints="".join([*past.prints, returned.get("prints", ""), ended.get("prints", "")]),
        cut_prints=ended.get("cut_prints", 0),
        error=_error(ended.get("error"), lines),
        calls=tuple(sorted(calls, key=lambda call: call.id)),
        seconds=ended.get("seconds", past.used),
        caller=began["caller"],
        isolation=began["isolation"],
        sandbox=began["sandbox"],
        routed=began["routed"],
        seed=began["seed"],
        session=began["session"],
        retry_of=began["retry_of"],
        recorded=True,
    )


def _settled(call: CallRecord, late: Sequence[Any] | None) -> CallRecord:
    if late is None:
        return call
    return replace(call, status=late[1], seconds=late[2], error=late[3])


def _error(body: Sequence[Any] | None, lines: Sequence[str]) -> ScriptError | None:
    if body is None:
        return None
    kind, message, place, text = body
    return ScriptError(kind, message, place_of(place, lines), text)
