"""What a journal is made of: events, and how their bodies are spelled.

A body is a JSON object. The order of keys is kept, because a script that is run again must see the
values it saw; only where two values are compared (`canonical`) are keys sorted. Bytes, which JSON does not
have, are tagged.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from oneturn.errors import ValueRefused
from oneturn.types import Answer, Call, Decision, Failure, Grant, Limits, Position
from oneturn.values import measure

EventKind = Literal[
    "began", "called", "decided", "answered", "resumed", "waiting", "taken", "returned", "ended", "retried"
]
"""What happened: the script began; it called a tool, and the gate said this; somebody decided about a call;
the tool answered; the script went on with these answers; the run was put aside until somebody decides; a
process took it up again and is where its record ends; the script returned; the run was over; another run
does its work again."""

_BYTES, _DICT = "$bytes", "$dict"
_LONE = "backslashreplace"  # half a surrogate pair, which UTF-8 does not have, is then as JSON escapes it


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in a run. `n` counts from 1, `at` is seconds since 1970."""

    n: int
    kind: str
    at: float
    body: Mapping[str, Any]


def encode(value: Any) -> bytes:
    """A plain value as UTF-8 JSON; what `decode` gives back is equal, in the same order."""
    try:
        text = _JSON.encode(value)
    except TypeError:  # bytes somewhere
        return _JSON.encode(_tagged(value)).encode(errors=_LONE)
    if '"$' in text:  # perhaps a key that would read as a tag
        text = _JSON.encode(_tagged(value))
    return text.encode(errors=_LONE)


def decode(data: bytes) -> Any:
    """The value that was encoded. Raises ValueError when it is no such thing."""
    value = json.loads(data)
    return _untagged(value) if b'"$' in data else value


def canonical(arguments: Mapping[str, Any]) -> bytes:
    """Arguments that passed the gate, spelled so that equal ones are equal bytes; 1, 1.0 and True differ."""
    try:
        return _SORTED.encode(arguments).encode(errors=_LONE)
    except TypeError:
        return _SORTED.encode(_tagged(arguments)).encode(errors=_LONE)


def new_salt() -> str:
    """What the digests of a run are made with, and those of its retries: equal calls of others differ."""
    return secrets.token_hex(16)


def fingerprint(arguments: Mapping[str, Any], salt: str) -> str:
    """Arguments that passed the gate, in 32 hex digits: equal for equal ones and the same salt."""
    return _digest(canonical(arguments), salt)


def digest(call: Call, limits: Limits, salt: str) -> str:
    """What a call asks for, in 32 hex digits: equal for equal calls, whatever the script put into it."""
    given = [call.args, dict(call.kwargs)] if call.args else [[], call.kwargs]
    try:
        if not all(type(part) in _FLAT for part in (*call.args, *call.kwargs.values())):
            measure(given, limits)
        try:
            spelled = _SPELLED.encode(given)
        except TypeError:  # keys of several types have no order
            spelled = _UNSORTED.encode(given)
    except (ValueRefused, ValueError) as error:  # it may not be sent either
        spelled = f"refused: {error}"
    return _digest(f"{call.kind} {call.name} {spelled}".encode("utf-8", "replace"), salt)


def failure_body(failure: Failure | None) -> list[str] | None:
    """A failure in a body."""
    return None if failure is None else [failure.kind, failure.message]


def failure_of(body: Sequence[str] | None) -> Failure | None:
    """The failure of a body."""
    return None if body is None else Failure(body[0], body[1])


def answer_body(answer: Answer) -> dict[str, Any]:
    """What a call was answered, in a body."""
    if answer.failure is not None:
        return {"failure": failure_body(answer.failure)}
    return {"value": answer.value}


def answer_of(call_id: int, body: Mapping[str, Any]) -> Answer:
    """The answer of a body."""
    return Answer(call_id, body.get("value"), failure_of(body.get("failure")))


def decision_body(decision: Decision) -> dict[str, Any]:
    """What somebody decided, in a body."""
    grant = decision.grant
    return {
        "approved": decision.approved,
        "by": decision.by,
        "reason": decision.reason,
        "arguments": decision.arguments,
        "grant": None if grant is None else [grant.calls, grant.arguments],
    }


def decision_of(body: Mapping[str, Any]) -> Decision:
    """The decision of a body."""
    grant = body["grant"]
    return Decision(
        body["approved"],
        body["by"],
        body["reason"],
        body["arguments"],
        None if grant is None else Grant(grant[0], grant[1]),
    )


def place_body(position: Position | None) -> list[int] | None:
    """A position in a body; its source line is in the script."""
    return None if position is None else [position.line, position.column]


def place_of(body: Sequence[int] | None, lines: Sequence[str]) -> Position | None:
    """The position of a body, in a script of these lines."""
    if body is None:
        return None
    line, column = body
    return Position(line, column, lines[line - 1].strip() if 0 < line <= len(lines) else "")


def _digest(data: bytes, salt: str) -> str:
    return hashlib.blake2b(data, key=salt.encode(), digest_size=16).hexdigest()


def _tagged(value: Any) -> Any:
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        if any(key.startswith("$") for key in value):
            return {_DICT: [[key, _tagged(part)] for key, part in value.items()]}
        return {key: _tagged(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_tagged(part) for part in value]
    return value


def _untagged(value: Any) -> Any:
    if isinstance(value, dict):
        if _BYTES in value:
            return base64.b64decode(value[_BYTES])
        if _DICT in value:
            return {key: _untagged(part) for key, part in value[_DICT]}
        return {key: _untagged(part) for key, part in value.items()}
    return [_untagged(part) for part in value] if isinstance(value, list) else value


def _odd(value: Any) -> Any:
    """What a script may put into a call and JSON does not have."""
    if isinstance(value, bytes):
        return {_BYTES: hashlib.sha256(value).hexdigest()}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return {"$set": sorted(map(repr, value))}
    if isinstance(value, dt.date | dt.time | dt.timedelta):
        return {"$time": repr(value)}
    return {"$object": type(value).__name__}


_FLAT = frozenset({str, int, float, bool, type(None)})
_PLAIN: dict[str, Any] = {"separators": (",", ":"), "check_circular": False}
_JSON = json.JSONEncoder(ensure_ascii=False, **_PLAIN)
_SORTED = json.JSONEncoder(sort_keys=True, **_PLAIN)
_SPELLED = json.JSONEncoder(sort_keys=True, default=_odd, **_PLAIN)
_UNSORTED = json.JSONEncoder(default=_odd, **_PLAIN)
