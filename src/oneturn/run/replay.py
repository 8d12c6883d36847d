"""Offline replay: a recorded run is executed again from its journal alone.

No catalog, source or gate takes part. The script runs in the place and with the seed it had, is given
the recorded answers in the recorded batches, and everything it does is held against the record: each call,
what it printed, its value or error. Nothing outside is touched, so a replay is always safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import Diverged, JournalError
from ..gate import Redactor
from ..journal.events import Event, encode, place_body, place_of
from ..journal.past import Past, call_text
from ..program import Program, needs_full_python, parse
from ..sandbox.base import Sandbox, SandboxRun, Script
from ..sandbox.router import Router
from ..tools.scope import Allow, Scope
from ..types import (
    Answer,
    Call,
    Finished,
    Limits,
    Position,
    SandboxChoice,
    ScriptError,
    Step,
    TierName,
    Tool,
    Waiting,
)
from ..view import script_for
from .endings import judged, too_many_refused
from .history import script_of

_OURS = ("InternalError", "JournalError", "SandboxCrashed")  # how a run ends when something of ours fails
_BY_LIMIT = ("TimeoutError", "MemoryError")  # where these strike differs from machine to machine
_SHOWN = 300  # characters of a value in a difference


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay showed.

    `same` says that nothing differs as far as the record goes; of another script, that it makes the same
    calls. `difference` is the first one, for a person, and `calls` counts the tool calls before it.
    """

    run: str
    same: bool
    difference: str = ""
    ends: str = ""
    """Why the record ends before the script does, when the run was stopped; empty when it was not."""
    calls: int = 0
    value: Any = None
    error: ScriptError | None = None
    prints: str = ""
    same_value: bool = False
    """Whether the script came to its end with the value or error on record."""


def replay(
    run: str,
    events: Sequence[Event],
    router: Router,
    *,
    against: str | None = None,
    sandbox: SandboxChoice | None = None,
) -> Replayed:
    """Execute a recorded run again, touching nothing.

    Args:
        run: Its id.
        events: What is recorded of it.
        router: Where it can run.
        against: Another script, which is given the recorded answers instead of the recorded script. Of it
            the calls are compared, and the value; it knows the tools that the recorded script mentions.
        sandbox: Where to run; where it ran when not given. A script given as `against` that needs more
            than Monty gets it.

    Raises:
        JournalError: It ran in a session, or never began: there is nothing to replay.
        JournalCorrupt: The record cannot be what was written.
        SandboxError: The sandbox is not to be had here.
    """
    past = Past.of(events)
    began = past.began
    if began["session"]:
        raise JournalError(
            f"{run} ran in session {began['session']}, whose variables are not on record, so it cannot "
            "be replayed."
        )
    program = parse(began["code"] if against is None else against)
    again = _Replay(run, past, exact=against is None)
    if isinstance(program, ScriptError):
        return _noted(again.over(Finished(error=program)), events)
    if began["names"] is None:
        raise JournalError(f"{run} ended before its script began, so there is nothing to replay.")
    need = None
    choice = sandbox or began["sandbox"]
    if against is not None and choice == "monty" and sandbox is None:
        reason = needs_full_python(program)
        if reason is not None:
            need, choice = reason.sentence, "auto"
    place = router.route(need, choice).sandbox
    script = script_of(program, began["names"]) if against is None else _other(program, began["plan"])
    return _noted(again.run(place, script), events)


def _other(program: Program, plan: Sequence[Sequence[Any]]) -> Script:
    """Another script, in a scope of the tools that the recorded one mentions."""
    tools = [Tool(name, effect=effect) for name, effect, _ in plan]
    return script_for(program, Scope(tools, [Allow.of("*")]))


def _noted(replayed: Replayed, events: Sequence[Event]) -> Replayed:
    """With what may explain a difference, when there is one."""
    told = replayed.difference
    if not told:
        return replayed
    if any(event.body.get("redacted") for event in events):
        told += "\nSecrets were taken out of this record, which may be why."
    return replace(replayed, difference=told)


class _Replay:
    """One replay. `exact` holds a script against its own record, otherwise only its calls."""

    def __init__(self, run: str, past: Past, *, exact: bool) -> None:
        self._id = run
        self._past = past
        self._exact = exact
        self._limits = Limits(**past.began["limits"])
        self._redactor = Redactor()  # errors on record went through one
        self._batch = 0
        self._loose = False  # batches no longer fit another script, which gets answers as it waits for them
        self._open: dict[int, Call] = {}
        self._seen: set[int] = set()
        self._refused = 0
        self._prints: list[str] = []
        self._said = ""  # printed since the script was last given something
        self._own_end = _is_own_end(past)

    def run(self, sandbox: Sandbox, script: Script) -> Replayed:
        """Take the script to its end, to the end of the record or to the first difference."""
        if self._spent():
            return self._ends()
        began = self._past.began
        run = sandbox.open(self._limits, began["seed"], caller=began["caller"])
        numbered = run if sandbox.name == began["sandbox"] else _Renumbered(run, began["sandbox"])
        try:
            return self._steps(numbered, script)
        finally:
            run.close()

    def _steps(self, run: SandboxRun | _Renumbered, script: Script) -> Replayed:
        step = run.start(script)
        while isinstance(step, Waiting):
            differs = self._take_in(step)
            if differs:
                return self._differs(differs)
            if self._refused > self._limits.calls:
                step = Finished(error=too_many_refused(self._refused))
                break
            answers = self._next(step)
            if isinstance(answers, str):
                return self._differs(answers)
            if answers is None or self._spent():
                return self._ends()
            for answer in answers:
                self._open.pop(answer.call_id, None)
            step = run.resume(answers)
        return self.over(step)

    def _take_in(self, step: Waiting) -> str:
        """Compare what the script did; the first difference, or nothing."""
        for call in step.calls:
            self._open[call.id] = call
            differs = self._compared(call)
            if differs:
                return differs
        for call_id in step.dropped:
            self._open.pop(call_id, None)
        self._print(step.prints)
        return ""

    def _print(self, text: str) -> None:
        self._prints.append(text)
        self._said += text

    def _compared(self, call: Call) -> str:
        past = self._past
        try:
            if call.kind != "tool":
                past.match_other(call, self._limits)
                return ""  # an aside without an answer is not on record
            known = past.match(call, self._limits)
        except Diverged:
            return self._another(call)
        if known is None:
            if self._own_end or self._batch < len(past.batches):
                return _two("A call is not on record.", "no call", _made(call))
            return ""
        self._seen.add(call.id)
        self._refused += known.verdict == "refused"
        return ""

    def _another(self, call: Call) -> str:
        tool, aside = self._past.calls.get(call.id), self._past.asked.get(call.id)
        if tool is not None:
            recorded = _placed(tool.text, tool.position)
        else:
            assert aside is not None
            recorded = f"{aside.kind} {aside.name}"
        return _two("A call differs.", recorded, _made(call))

    def _next(self, step: Waiting) -> list[Answer] | str | None:
        """What the script goes on with; a difference when it cannot; None when the record ends here."""
        if not step.pending:
            return []
        past = self._past
        batch = past.batches[self._batch] if self._batch < len(past.batches) else None
        if batch is not None and not self._loose and self._fits(batch, step):
            said, self._said = self._said, ""
            recorded = past.prints[self._batch]
            if self._exact and said != recorded:
                return _two("What it prints differs.", repr(recorded), repr(said))
            self._batch += 1
            return list(batch)
        if self._exact:
            if batch is not None:
                return "The record goes on with an answer the script does not wait for now."
            return self._waits(step) if self._own_end else None
        self._loose = True
        answers = [answer for answer in self._on_record() if answer.call_id in step.pending]
        if answers:
            return answers
        over = not self._own_end and not self._unseen()
        return None if over else self._waits(step)

    def _fits(self, batch: Sequence[Answer], step: Waiting) -> bool:
        ids = {answer.call_id for answer in batch}
        return ids <= self._open.keys() and not ids.isdisjoint(step.pending)

    def _on_record(self) -> list[Answer]:
        """Every recorded answer, in the order the script was given them."""
        given = {answer.call_id: answer for batch in self._past.batches for answer in batch}
        late = {call.id: call.answer for call in self._past.calls.values() if call.answer is not None}
        return list({**given, **{key: answer for key, answer in late.items() if key not in given}}.values())

    def _waits(self, step: Waiting) -> str:
        waiting = [_made(self._open[call_id]) for call_id in step.pending if call_id in self._open]
        return _two("It waits for an answer that is not on record.", "no answer", "\n".join(waiting[:3]))

    def _unseen(self) -> list[int]:
        return sorted(self._past.calls.keys() - self._seen)

    def _spent(self) -> bool:
        """Whether the record of a run that was stopped has nothing more to compare with."""
        through = self._loose or self._batch == len(self._past.batches)
        return not self._own_end and through and not self._unseen()

    def over(self, step: Finished) -> Replayed:
        """The script has ended."""
        finished = judged(step, self._limits)
        self._print(finished.prints)
        past, unseen = self._past, self._unseen()
        returned = past.returned or {}
        now = _ending(finished.value, finished.error)
        if unseen:
            call = past.calls[unseen[0]]
            return self._differs(
                _two("A call on record is not made.", _placed(call.text, call.position), now), finished
            )
        if not self._own_end:
            return self._ends()
        if self._exact and self._batch < len(past.batches):
            return self._differs("It ends, and the record says that it went on.", finished)
        if self._exact and self._said != returned["prints"]:
            prints, said = repr(returned["prints"]), repr(self._said)
            return self._differs(_two("What it prints differs.", prints, said), finished)
        same = self._ends_alike(finished, returned)
        if self._exact and not same:
            lines = str(past.began["code"]).split("\n")
            recorded = _ending(returned.get("value"), _error(returned.get("error"), lines))
            return self._differs(_two("It ends differently.", recorded, now), finished)
        return self._replayed(True, finished=finished, same_value=same)

    def _ends_alike(self, finished: Finished, returned: Mapping[str, Any]) -> bool:
        recorded, error = returned.get("error"), finished.error
        if recorded is None or error is None:
            return recorded is None and error is None and _equal(finished.value, returned.get("value"))
        kind, message, place, _ = recorded
        if (kind, message) != (error.kind, self._redactor.text(error.message)):
            return False
        return not self._exact or kind in _BY_LIMIT or place_body(error.position) == place

    def _differs(self, why: str, finished: Finished | None = None) -> Replayed:
        return self._replayed(False, difference=why, finished=finished)

    def _ends(self) -> Replayed:
        ended = self._past.ended
        if self._past.waits:
            return self._replayed(True, ends="the run waits for a person's decision")
        if ended is None:
            return self._replayed(True, ends="the run has no end on record: it is under way, or was cut off")
        error = ended["error"] or ["", ended["status"]]
        return self._replayed(True, ends=_in_one_line(": ".join(filter(None, error[:2]))))

    def _replayed(
        self,
        same: bool,
        *,
        difference: str = "",
        ends: str = "",
        finished: Finished | None = None,
        same_value: bool = False,
    ) -> Replayed:
        finished = finished or Finished()
        return Replayed(
            run=self._id,
            same=same,
            difference=difference,
            ends=ends,
            calls=len(self._seen),
            value=finished.value,
            error=finished.error,
            prints="".join(self._prints),
            same_value=same_value,
        )


class _Renumbered:
    """A run in another place than it was recorded in, with its calls numbered as there."""

    def __init__(self, run: SandboxRun, recorded: TierName) -> None:
        self._run = run
        self._first = 0 if recorded == "monty" else 1
        self._less: int | None = None  # what is taken from a number; known with the first call

    def start(self, script: Script) -> Step:
        return self._there(self._run.start(script))

    def resume(self, answers: Sequence[Answer]) -> Step:
        less = self._less or 0
        return self._there(
            self._run.resume([replace(answer, call_id=answer.call_id + less) for answer in answers])
        )

    def _there(self, step: Step) -> Step:
        if isinstance(step, Finished):
            return step
        if self._less is None and step.calls:
            self._less = step.calls[0].id - self._first
        less = self._less or 0
        return replace(
            step,
            calls=tuple(replace(call, id=call.id - less) for call in step.calls),
            pending=tuple(call_id - less for call_id in step.pending),
            dropped=tuple(call_id - less for call_id in step.dropped),
        )


def _is_own_end(past: Past) -> bool:
    """Whether the record has the script's own end, and not one that a stop or a failure of ours made."""
    if past.returned is None:
        return False
    error = past.returned["error"]
    if error is not None and error[0] in _OURS:
        return False
    return past.ended is None or past.ended["error"] == error


def _equal(value: Any, recorded: Any) -> bool:
    return encode(value) == encode(recorded)


def _error(body: Sequence[Any] | None, lines: Sequence[str]) -> ScriptError | None:
    return ScriptError(body[0], body[1], place_of(body[2], lines)) if body is not None else None


def _ending(value: Any, error: ScriptError | None) -> str:
    if error is not None:
        return _placed(_in_one_line(f"{error.kind}: {error.message}"), error.position)
    return f"the value {_cut(repr(value))}"


def _in_one_line(text: str) -> str:
    """A script's own words, which must not look like further lines of ours."""
    return r"\n".join(text.splitlines())


def _made(call: Call) -> str:
    return _placed(call_text(call), call.position)


def _placed(text: str, position: Position | None) -> str:
    if position is None:
        return text
    source = f"\n    {position.source.strip()}" if position.source else ""
    return f"line {position.line}: {text}{source}"


def _two(title: str, recorded: str, now: str) -> str:
    return f"{title}\n  recorded: {_cut(recorded)}\n  now:      {_cut(now)}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
