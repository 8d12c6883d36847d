"""How a person sees a call that waits for their word: exactly, in visible characters, within bounds.

What a script or a model wrote cannot forge a line, hide a part or move the text around it: everything that
is not plainly a character of its own (controls, line ends, direction marks, what has no width, letters that
are read from right to left) is shown as an escape, long lines are broken behind a bar that nothing else
starts with, and whatever is left out says how much it is and what its hash is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import unicodedata
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .tokens import count, cut
from .tools.text import visible
from .types import Approval, Outcome

if TYPE_CHECKING:
    from .journal.approvals import Filed

_WIDTH = 92  # of a line, with its bar
_LABEL = 10
_BAR = "    | "  # four blanks: where a client reads Markdown, this is code
_LEAST = 160  # of each, however many there are
_SHORT = 40  # a line counts this many at least
_LONG = 600  # characters of a text that are shown: its beginning and its end
_FEWEST = 10  # arguments that are shown by name, in however little room
_ONE = 100  # characters of room for each further one
_BITS = 1_000
_WAITING = 10  # calls that a model is told of one by one
_FRAME = 150  # tokens of what stands around them
_DEPTH = 8
_MARKS = 2  # combining marks on one character
_SOURCE = 300
_NAME = 100


ROOM = 6_000
"""Characters that the arguments of one approval share, when nothing else is said."""


def approval_text(approval: Approval, *, room: int = ROOM, now: float | None = None) -> str:
    """An approval as a few lines for a person who is to decide.

    Args:
        approval: What is asked for.
        room: Characters that its arguments share, about; what is left out of them is said.
        now: Seconds since 1970; the time it is when not given.
    """
    effect = f"{approval.effect} tool" if approval.effect != "read" else "tool that only reads"
    lines = [
        f"Approval {_spelled(approval.id, _NAME)}",
        *_told("call", f"{_spelled(approval.tool, _NAME)} ({effect})"),
        *_told("asked by", f"{_spelled(approval.caller, _NAME)}, in {_spelled(approval.run_id, _NAME)}"),
    ]
    if approval.position is not None:
        source = _spelled(approval.position.source.strip(), _SOURCE)
        lines += _told("line", f"{approval.position.line}: {source}")
    if approval.why:
        lines += _told("note", _spelled(approval.why, _SOURCE))
    if approval.expires is not None:
        lines.append(f"  expires   {_until(approval.expires, time.time() if now is None else now)}")
    shown = list(_arguments(approval.arguments, room))
    if any(is_cut for _, is_cut in shown):
        digest = _measure(approval.arguments)
        lines.append(f"  NOT ALL OF THE ARGUMENTS IS SHOWN. The whole: {digest}")
    lines.append("  arguments, as they will be sent:" if shown else "  arguments: none")
    lines += [f"{_BAR}{part}" for line, _ in shown for part in _broken(*_indented(line))]
    return "\n".join(lines)


def approval_line(approval: Approval, limit: int = 160) -> str:
    """An approval in one line of about `limit` characters, for lists: the tool, its arguments, the line."""
    given = [
        f"{_spelled(str(name), 40)}={_short(value)}" for name, value in list(approval.arguments.items())[:8]
    ]
    if len(approval.arguments) > len(given):
        given.append(f"and {len(approval.arguments) - len(given):,} more")
    inside = ", ".join(given)
    if len(inside) > limit:
        inside = f"{inside[:limit]}… (shortened)"
    place = f", line {approval.position.line}" if approval.position is not None else ""
    return f"{_spelled(approval.tool, _NAME)}({inside}){place}"


def approval_why(approval: Approval) -> str:
    """In one line why a call waits beside what it is; empty when there is no more to say."""
    return _spelled(approval.why, _SOURCE)


def _note(approval: Approval) -> str:
    why = approval_why(approval)
    return f" ({why})" if why else ""


def approval_data(approval: Approval) -> dict[str, Any]:
    """An approval for programs, with its arguments exactly and whole; bytes as `{"base64": …}`."""
    place = approval.position
    return {
        "id": approval.id,
        "run_id": approval.run_id,
        "call": approval.call_id,
        "caller": approval.caller,
        "tool": approval.tool,
        "effect": approval.effect,
        "arguments": _json_value(approval.arguments),
        "line": place.line if place is not None else None,
        "source": place.source if place is not None else None,
        "expires": approval.expires,
        "why": approval.why,
    }


def filed_data(filed: Filed) -> dict[str, Any]:
    """An approval for programs, with how it stands and what was decided by whom."""
    decision = filed.decision
    grant = decision.grant if decision is not None else None
    return {
        **approval_data(filed.approval),
        "status": filed.status,
        "asked": filed.asked,
        "decided": filed.decided,
        "decision": decision
        and {
            "approved": decision.approved,
            "by": decision.by,
            "reason": decision.reason,
            "arguments": _json_value(decision.arguments),
            "grant": grant and {"calls": grant.calls, "arguments": grant.arguments},
        },
    }


def waiting_text(outcome: Outcome, max_tokens: int) -> str:
    """What a model reads of a run that waits, in at most `max_tokens`; 300 are the least that will do."""
    number = len(outcome.pending)
    calls = "1 call waits" if number == 1 else f"{number:,} calls wait" if number else "it waits"
    lines = [f"  {each.id}: {approval_line(each)}{_note(each)}" for each in outcome.pending[:_WAITING]]
    if number > len(lines):
        lines.append(f"  and {number - len(lines):,} more")
    told = cut("\n".join(lines), max_tokens - _FRAME, "list of calls")
    return "\n".join(
        [
            f"waiting: {calls} for a person's approval. The run {outcome.run_id} is put aside and goes on "
            "from there; nothing is lost, so do not run the script or any of its calls again.",
            *([told] if told else []),
            f"Tell the user what waits. To go on: {_go_on(outcome)}",
        ]
    )


def waiting_data(outcome: Outcome, max_tokens: int) -> dict[str, Any]:
    """The same as plain data: `run_id`, the `number` of calls, the first of them, and what to do `then`."""
    calls: list[dict[str, str]] = []
    for each in outcome.pending[:_WAITING]:
        line, why = approval_line(each), approval_why(each)
        max_tokens -= count(line) + count(why) + _FRAME // 4
        if max_tokens < 0:
            break
        told = {"approval": each.id, "call": line, "effect": each.effect}
        calls.append({**told, "why": why} if why else told)
    return {"run_id": outcome.run_id, "number": len(outcome.pending), "calls": calls, "then": _go_on(outcome)}


def _go_on(outcome: Outcome) -> str:
    return f'resume_run(run_id="{outcome.run_id}", wait=60)'


def spelled(text: str, limit: int = _SOURCE) -> str:
    """`text` in one line of visible characters, cut visibly where it is longer than `limit`."""
    return _spelled(text, limit)


# --- arguments


def _arguments(arguments: Mapping[str, Any], room: int) -> Iterator[tuple[str, bool]]:
    """The lines of all arguments, and whether each stands for more than it shows."""
    names = list(arguments)
    most, share = max(_FEWEST, room // _ONE), max(_LEAST, room // max(1, len(names)))
    for name in names[:most]:
        left, value = share, arguments[name]
        for line, is_cut in _lines(str(name), value, 0, min(share, _LONG)):
            if left <= 0:
                yield f"  … the rest of {_quoted(str(name), _NAME)[0]} is left out: {_measure(value)}", True
                break
            yield line, is_cut
            left -= max(len(line), _SHORT)
    if len(names) > most:
        rest = {name: arguments[name] for name in names[most:]}
        yield f"… and {len(rest):,} more arguments: {_measure(rest)}", True


def _lines(name: str | None, value: Any, depth: int, long: int) -> Iterator[tuple[str, bool]]:
    """A value in lines, one for each part; `long` is from how many characters on a text is cut."""
    label, is_cut = ("", False) if name is None else _quoted(name, long)
    start = "  " * depth + (f"{label}: " if name is not None else "")
    if not isinstance(value, Mapping | list | tuple) or not value:
        text, shortened = _scalar(value, long)
        yield start + text, is_cut or shortened
    elif depth >= _DEPTH:
        yield f"{start}… {_measure(value)}", True
    elif isinstance(value, Mapping):
        yield f"{start}{{", is_cut
        for key, part in value.items():
            yield from _lines(str(key), part, depth + 1, long)
        yield f"{'  ' * depth}}}", False
    else:
        yield f"{start}[", is_cut
        for part in value:
            yield from _lines(None, part, depth + 1, long)
        yield f"{'  ' * depth}]", False


def _scalar(value: Any, long: int) -> tuple[str, bool]:
    """A value that has no parts, and whether it is more than is shown."""
    if isinstance(value, bytes | bytearray):
        return f"<{len(value):,} bytes, {_hash(value)}>", True
    if isinstance(value, Mapping | list | tuple):
        return "{}" if isinstance(value, Mapping) else "[]", False
    if isinstance(value, int) and value.bit_length() > _BITS:  # spelling out a huge one takes long
        return f"<a whole number of {value.bit_length():,} bits, {_hash(value)}>", True
    if value is None or isinstance(value, int | float):
        return json.dumps(value), False
    return _quoted(str(value), long)


def _quoted(text: str, long: int) -> tuple[str, bool]:
    """A text as a JSON literal of visible characters, and whether a part of it is left out."""
    if len(text) <= long:
        return _literal(text), False
    start, end = text[: long * 3 // 4], text[-(long // 4) :]
    note = f"… [{len(text) - len(start) - len(end):,} of {len(text):,} characters left out, {_hash(text)}] …"
    return f"{_literal(start)} {note} {_literal(end)}", True


def _literal(text: str) -> str:
    return _escaped(json.dumps(text, ensure_ascii=False))


def _spelled(text: str, limit: int) -> str:
    """`text` in one line of visible characters."""
    if len(text) > limit:
        return f"{_escaped(text[:limit])}… [{len(text):,} characters, {_hash(text)}]"
    return _escaped(text)


def _escaped(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for char in text:
        kind = unicodedata.category(char)
        marks = marks + 1 if kind[0] == "M" else 0
        shown.append(char if _is_plain(char, kind) and marks <= _MARKS else _escape(char))
    return "".join(shown)


def _is_plain(char: str, kind: str) -> bool:
    """Whether a character shows as itself, and leaves those around it where they are."""
    if char == " ":
        return True
    if kind[0] in "CZ" or char == "\u2800" or not visible(char):
        return False
    return unicodedata.bidirectional(char) not in ("R", "AL", "AN")


def _escape(char: str) -> str:
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) > 40:
        return f"{_literal(value[:40])}… ({len(value):,} characters)"
    if isinstance(value, Mapping | list | tuple) and value:
        return f"<{len(value):,} {'entries' if isinstance(value, Mapping) else 'items'}>"
    return _scalar(value, 40)[0]


# --- lines


def _told(label: str, text: str) -> list[str]:
    """A line with a label before it, broken behind the bar where it is long."""
    start = f"  {label:<{_LABEL}}"
    first, *rest = _broken(text, "", _WIDTH - len(start))
    return [start + first, *(f"{_BAR}{part}" for part in rest)]


def _indented(line: str) -> tuple[str, str]:
    """A line, and what its continuations start with."""
    return line, " " * (len(line) - len(line.lstrip(" ")) + 4)


def _broken(line: str, further: str, room: int = _WIDTH - len(_BAR)) -> list[str]:
    """A line in pieces no wider than `room`; every further one starts with `further`."""
    pieces: list[str] = []
    piece, width = "", 0
    for char in line:
        needed = 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if width + needed > room:
            pieces.append(piece)
            piece, width = further, len(further)
        piece += char
        width += needed
    return [*pieces, piece]


def _until(moment: float, now: float) -> str:
    left = moment - now
    if left <= 0:
        return "it has expired"
    said = f"{left / 3600:.1f} hours" if left >= 5_400 else f"{left / 60:.0f} minutes"
    if left < 90:
        said = f"{left:.0f} seconds"
    return f"in {said}; then the call is denied"


# --- measures


def _measure(value: Any) -> str:
    what = "entries" if isinstance(value, Mapping) else "items" if isinstance(value, list | tuple) else ""
    size = f"{len(value):,} {what}, " if what else ""
    return f"[{size}{len(_bytes(value)):,} bytes as JSON, {_hash(value)}]"


def _hash(value: Any) -> str:
    """The SHA-256 of a text or of bytes as they are, of anything else as compact JSON with sorted keys."""
    return f"SHA-256 {hashlib.sha256(_bytes(value)).hexdigest()}"


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:x}".encode()
    return json.dumps(_json_value(value), sort_keys=True, separators=(",", ":")).encode()


def _json_value(value: Any) -> Any:
    """`value` as what JSON can carry: bytes in base64, numbers too large to be spelled in hexadecimal."""
    if isinstance(value, Mapping):
        return {str(key): _json_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(part) for part in value]
    if isinstance(value, bytes | bytearray):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 10_000:
        return {"hex": f"{value:x}"}
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
