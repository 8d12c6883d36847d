"""How a recorded run looks to a person: its script, with what each line did below it.

All that a script or a tool wrote stands behind a mark of ours, a line number, `>` or `|`, with what cannot
be seen spelled out: so a run cannot write lines that look like ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from .common import json_text
from .pins import revealed
from .scripts import as_parsed

if TYPE_CHECKING:
    from ..journal.approvals import Filed
    from ..journal.past import Past
    from ..journal.rows import RunRow
    from ..run.replay import Replayed
    from ..types import CallRecord, Decision, Outcome

_CALLS = 20  # of one line
_LINES = 50  # of what was printed, and of the value
_CALL = 160  # characters of a call


def when(at: float) -> str:
    """A time, for this place."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds(taken: float) -> str:
    """A time that something took."""
    return f"{taken:.2f} s" if taken >= 1 else f"{taken * 1000:.0f} ms"


def run_lines(
    row: RunRow, past: Past, outcome: Outcome, approvals: Sequence[Filed], stands: str
) -> list[str]:
    """A run, line by line. `stands` is how it stands now, where its record has no end."""
    status = stands if outcome.status == "running" else outcome.status
    calls = "1 call" if len(outcome.calls) == 1 else f"{len(outcome.calls):,} calls"
    place = f", in {outcome.sandbox} ({outcome.isolation})" if outcome.sandbox else ""
    lines = [
        revealed(f"{row.id}: {status}, {calls}, {seconds(outcome.seconds)}"),
        revealed(f"{when(row.began)}, caller {outcome.caller}{place}"),
        *([revealed(f"retries {outcome.retry_of}")] if outcome.retry_of else []),
        "",
        *_script(past, outcome, _said(past, approvals)),
    ]
    lines += _block("printed", outcome.prints, outcome.cut_prints)
    if outcome.value is not None:
        lines += _block("value", json_text(outcome.value))
    return lines


def _script(past: Past, outcome: Outcome, said: Mapping[int, str]) -> list[str]:
    source = as_parsed(str(past.began["code"])).split("\n")
    while source and not source[-1].strip():
        source.pop()
    width = len(str(len(source)))
    below: dict[int, list[CallRecord]] = {}
    for call in outcome.calls:
        below.setdefault(call.position.line if call.position else 0, []).append(call)
    error = outcome.error
    at = error.position.line if error is not None and error.position is not None else 0
    told = [f"! {error.kind}: {error.message}"] if error is not None else []
    if error is not None and error.hint:
        told.append(f"  hint: {error.hint}")
    lines: list[str] = []
    for number in range(1, max([len(source), at, *below]) + 1):
        text = source[number - 1] if number <= len(source) else ""
        lines.append(f"{number:>{width}}  {revealed(text.expandtabs(4))}".rstrip())
        lines += _calls(past, below.get(number, ()), said, width)
        lines += _indented(told, width) if number == at else []
    lines += _calls(past, below.get(0, ()), said, width)
    return lines + (_indented(told, width) if not at else [])


def _calls(past: Past, calls: Sequence[CallRecord], said: Mapping[int, str], width: int) -> list[str]:
    shown = calls
    if len(calls) > _CALLS:  # those that went wrong first: they are what is looked for
        shown = sorted(calls, key=lambda call: (call.status == "ok", call.id))[:_CALLS]
        shown = sorted(shown, key=lambda call: call.id)
    lines = [_call(past, call, said.get(call.id, "")) for call in shown]
    if len(calls) > len(shown):
        lines.append(f"> and {len(calls) - len(shown):,} more; --json has them all")
    return _indented(lines, width)


def _call(past: Past, call: CallRecord, said: str) -> str:
    known = past.calls.get(call.id)
    text = known.text if known is not None else call.tool
    text = text if len(text) <= _CALL else f"{text[:_CALL]}…"
    parts = [f"> {text}  {call.effect}, {_status(call)}"]
    if call.seconds:
        parts.append(f", {seconds(call.seconds)}")
    if said:
        parts.append(f", {said}")
    if call.error:
        parts.append(f": {call.error}")
    return "".join(parts)


def _status(call: CallRecord) -> str:
    """How a call stands, and that it was not sent where its answer was there already."""
    if call.status != "ok":
        return call.status
    return "done by the earlier run" if call.reused else "cached" if call.cached else "ok"


def _said(past: Past, approvals: Sequence[Filed]) -> dict[int, str]:
    """What people said about calls, or are asked."""
    said = {
        filed.approval.call_id: f"{filed.approval.id} is {filed.status}"
        if filed.decision is None
        else _decided(filed.decision)
        for filed in approvals
    }
    return said | {call: _decided(decision) for call, decision in past.decided.items()}


def _decided(decision: Decision) -> str:
    changed = " with other arguments" if decision.approved and decision.arguments is not None else ""
    why = f" ({decision.reason})" if decision.reason else ""
    return f"{'approved' if decision.approved else 'denied'}{changed} by {decision.by}{why}"


def _indented(lines: Sequence[str], width: int) -> list[str]:
    return [f"{' ' * (width + 2)}{revealed(' '.join(line.splitlines()))}" for line in lines]


def _block(title: str, text: str, cut: int = 0) -> list[str]:
    if not text:
        return []
    said = text.removesuffix("\n").split("\n")
    lines = ["", title, *(f"  | {revealed(line.expandtabs(4))}" for line in said[:_LINES])]
    if len(said) > _LINES:
        lines.append(f"  and {len(said) - _LINES:,} more lines; --json has them all")
    if cut:
        lines.append(f"  {cut:,} more printed characters were not kept")
    return lines


def replay_lines(shown: Replayed, *, other: bool) -> list[str]:
    """What a replay showed."""
    calls = "1 call" if shown.calls == 1 else f"{shown.calls:,} calls"
    if not shown.same:
        lines = [f"Different, after {calls} as recorded.", *shown.difference.split("\n")]
    elif shown.ends:
        lines = [f"The same as far as the record goes: {calls}. It ends there: {shown.ends}"]
    elif not other:
        lines = [f"The same: {calls}, what it prints, and how it ends."]
    elif shown.same_value:
        lines = [f"The same {calls}, and the same end."]
    else:
        error = shown.error
        end = f"{error.kind}: {error.message}" if error is not None else f"the value {shown.value!r}"
        lines = [f"The same {calls}, and another end: {end if len(end) <= 300 else end[:300] + '…'}"]
    return [revealed(line) for line in lines]
