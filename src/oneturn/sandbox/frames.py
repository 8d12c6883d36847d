"""The host's side of the wire: messages and values to bytes, and hostile bytes to messages.

A frame is JSON; what JSON has no form for is a dict with the single key "$", such as
`{"$": ["bytes", "aGk="]}`. A frame from a guest is bounded before it is decoded, so that a few megabytes of
brackets cannot become hundreds of megabytes of objects, and then taken apart into what it may be. Whatever
else it is, is one `BadFrame`.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from ..errors import SandboxError
from ..types import Answer, CallKind, Limits
from .base import Script

_TAG = "$"
_KINDS = frozenset(get_args(CallKind))
_CLOCKS = ("wall", "monotonic")
_MAX_NAME, _MAX_KIND, _MAX_MESSAGE = 1_000, 200, 20_000
_MAX_SECONDS = 10**9
_MAX_ID = 2**53
_MAX_CLASSES = 1_000  # each is more than a kilobyte
# What a frame holds besides values: up to some hundred calls, and as many ids as there are calls open.
_ENVELOPE = 200_000
_MOST_CALLS = 512  # in one frame; a guest lets no more than 256 wait
_SMALL = 64 * 1024  # bytes; what fits here cannot become much, nor take long
_MANY = 10_000  # keys; as many at once are no job for C code alone
_NO_PARTS = bytes(set(range(256)) - set(b'"[{,'))
_WINDOW = 64 * 1024  # bytes
# Objects that `values.plain` has its own words for when they come as text.
_STAND_INS = {
    "coroutine": "coroutine",
    "async_generator": "generator",
    "generator": "generator",
    "function": "function",
    "Outside": "function",
    "builtin_function_or_method": "built-in function",
    "method": "bound method",
    "module": "module",
    "type": "class",
}


class BadFrame(SandboxError):
    """What a guest sent is not what a guest may send. The guest is not to be trusted any further."""


class Asked(NamedTuple):  # made at every call, and a frozen dataclass takes four times as long to make
    """One call as a guest tells it; line and column are 0 when it does not know."""

    id: int
    kind: CallKind
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    line: int
    column: int


class Told(NamedTuple):
    """A frame of a guest; what it does not have is empty.

    `op` is `ready`, `refused` or `confined` before the script begins, and `wait` or `done` then.
    """

    op: str
    number: int
    calls: tuple[Asked, ...] = ()
    pending: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()
    prints: str = ""
    cut: int = 0
    value: Any = None
    error: tuple[str, str, int, int] | None = None
    why: str = ""


# --- to the guest


def start(
    script: Script, limits: Limits, seed: int, modules: Sequence[str], hints: Mapping[str, str]
) -> bytes:
    """The frame that starts a script."""
    return _bytes(
        {
            "op": "start",
            "n": 0,
            "source": script.source,
            "tools": sorted(script.tools),
            "namespaces": sorted(script.namespaces),
            "globals": sorted(script.globals),
            "called": sorted(script.called),
            "tool_error": script.uses_tool_error,
            "seed": seed,
            "limits": {
                "memory": limits.memory,
                "recursion": limits.recursion,
                "printed_chars": limits.printed_chars,
                "depth": limits.depth,
                "nodes": limits.nodes,
                "value_bytes": limits.value_bytes,
                "cpu_seconds": limits.cpu_seconds,
            },
            "modules": sorted(modules),
            "modules_hint": dict(hints),
        }
    )


def resume(number: int, answers: Sequence[Answer]) -> bytes:
    """The frame that answers the guest's frame of that number."""
    told = [
        [answer.call_id, answer.value]
        if answer.failure is None
        else [answer.call_id, None, answer.failure.kind, answer.failure.message]
        for answer in answers
    ]
    return _bytes({"op": "resume", "n": number, "answers": told})


def _bytes(message: Mapping[str, Any]) -> bytes:
    try:
        text = _encode(message)
        if f'"{_TAG}":' in text and _has_tag(message):
            text = _encode(_escaped(message))
    except ValueError:  # not a number
        text = _encode(_escaped(message))
    return text.encode("ascii")


def _special(value: Any) -> Any:
    kind = type(value)
    if kind is bytes:
        return {_TAG: ["bytes", base64.b64encode(value).decode("ascii")]}
    if kind in (dt.datetime, dt.date, dt.time):
        return {_TAG: [kind.__name__, value.isoformat()]}
    if kind is dt.timedelta:
        return {_TAG: ["timedelta", value.days, value.seconds, value.microseconds]}
    if kind in (set, frozenset):
        return {_TAG: ["set", list(value)]}
    raise TypeError(f"A value of type {kind.__name__} cannot be sent to a script.")


_encode = json.JSONEncoder(
    check_circular=False, allow_nan=False, separators=(",", ":"), default=_special
).encode


def _has_tag(value: Any) -> bool:
    if type(value) is dict:
        return (len(value) == 1 and _TAG in value) or any(map(_has_tag, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_tag, value))


def _escaped(value: Any) -> Any:
    """A value with what would be mistaken for a tag, and what JSON cannot spell, under tags."""
    if type(value) is dict:
        inner = {key: _escaped(part) for key, part in value.items()}
        return {_TAG: ["dict", list(inner.items())]} if len(inner) == 1 and _TAG in inner else inner
    if isinstance(value, list | tuple):
        return [_escaped(part) for part in value]
    if type(value) is float and not math.isfinite(value):
        return {_TAG: ["float", repr(value)]}
    return value


# --- from the guest


def read(frame: bytes, limits: Limits) -> Told:
    """A guest's frame.

    Raises:
        BadFrame: It is none, or holds more than `limits` let values hold.
    """
    decode = _decode
    if len(frame) > _SMALL:
        _bound(frame, 2 * limits.nodes + _ENVELOPE)
        decode = _decode_politely
    _frame.classes = {}
    try:
        text = frame.decode("ascii")
        message, end = decode(text)
        if end != len(text):
            raise BadFrame("The guest sent more than one message in a frame.")
        return _told(message)
    except BadFrame:
        raise
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise BadFrame(f"The guest sent what is no frame ({type(error).__name__}).") from error


def _bound(frame: bytes, most: int) -> None:
    """Refuse a frame of too many parts. Counts in C; texts are only left out when they could matter."""
    if frame.count(b",") + frame.count(b"[") + frame.count(b"{") <= most:
        return
    # A tag is one part: what it is made of is gone as soon as it is read.
    bare = frame.replace(b'{"$":["', b'"').replace(b"\\\\", b"").replace(b'\\"', b"")
    bare = bare.translate(None, _NO_PARTS)
    parts, in_text = 0, 0
    for at in range(0, len(bare), _WINDOW):
        pieces = bare[at : at + _WINDOW].split(b'"')
        parts += sum(map(len, pieces[in_text::2]))
        in_text ^= (len(pieces) - 1) & 1
        if parts > most:
            raise BadFrame("The guest sent more than values may hold.")


def _told(message: Any) -> Told:
    if type(message) is not dict:
        raise BadFrame("The guest sent what is no message.")
    op, number = message["op"], _count(message["n"])
    if op in ("ready", "confined"):
        return Told(op, number)
    if op == "refused":
        return Told(op, number, why=_text(message["why"], _MAX_MESSAGE))
    prints, cut = _text(message["prints"]), _count(message["cut"])
    if op == "wait":
        if len(_list(message["calls"])) > _MOST_CALLS:
            raise BadFrame("The guest made more calls at once than a guest makes.")
        calls = tuple([_asked(*call) for call in message["calls"]])
        pending, dropped = _ids(message["pending"]), _ids(message["dropped"])
        return Told(op, number, calls, tuple(sorted(pending)), dropped, prints, cut)
    if op == "done":
        return Told(
            op, number, prints=prints, cut=cut, value=message["value"], error=_error(message["error"])
        )
    raise BadFrame("The guest sent a message of no known kind.")


def _asked(id: Any, kind: Any, name: Any, args: Any, kwargs: Any, line: Any, column: Any) -> Asked:
    if kind not in _KINDS or type(kwargs) is not dict:
        raise BadFrame("The guest made a call of no known kind.")
    args = tuple(_list(args))
    if kind == "clock" and (args or kwargs or name not in _CLOCKS):
        raise BadFrame("The guest asked for a clock that there is not.")
    if kind == "sleep" and (len(args) != 1 or kwargs or not _is_seconds(args[0])):
        raise BadFrame("The guest asked for a pause that is none.")
    return Asked(_count(id), kind, _text(name, _MAX_NAME), args, kwargs, _count(line), _count(column))


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and (0 <= value <= _MAX_SECONDS or value == math.inf)


def _error(value: Any) -> tuple[str, str, int, int] | None:
    if value is None:
        return None
    kind, message, line, column = _list(value)
    name = "".join(each for each in _text(kind, _MAX_KIND) if each.isprintable())
    return name or "Exception", _text(message, _MAX_MESSAGE), _count(line), _count(column)


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise BadFrame("The guest sent something else where a list belongs.")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_ID:
        raise BadFrame("The guest sent something else where a number belongs.")
    return value


def _ids(value: Any) -> tuple[int, ...]:
    if value == []:
        return ()
    ids = tuple([_count(each) for each in _list(value)])
    if len(set(ids)) != len(ids):
        raise BadFrame("The guest named a call twice.")
    return ids


def _text(value: Any, most: int | None = None) -> str:
    if type(value) is not str or (most is not None and len(value) > most):
        raise BadFrame("The guest sent something else where a text belongs.")
    if not value.isascii():  # half a surrogate pair is no text anywhere else
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return str(value)


def _pairs(pairs: list[tuple[str, Any]]) -> Any:
    found = dict(pairs) if len(pairs) < _MANY else {key: value for key, value in pairs}  # noqa: C416
    if len(found) != len(pairs):
        raise BadFrame("The guest sent a key twice.")
    if len(found) == 1 and _TAG in found:
        tag, *parts = _list(found[_TAG])
        return _TAGS[tag](*parts)
    return found


def _object(name: str) -> Any:
    """Something `values.plain` refuses, in the words it has for what the script tried to send."""
    name = _text(name, _MAX_KIND).replace("\0", "")
    if name in _STAND_INS:
        return f"<{_STAND_INS[name]} object>"
    classes = _frame.classes
    if name not in classes:
        if len(classes) >= _MAX_CLASSES:
            raise BadFrame("The guest sent objects of more kinds than a script has.")
        classes[name] = type(name or "object", (), {"__slots__": ()})
    return classes[name]()


class _Frame(threading.local):
    """The classes of the objects in the frame that this thread reads."""

    def __init__(self) -> None:
        self.classes: dict[str, type] = {}


_frame = _Frame()


def _sorted(parts: Any) -> list[Any]:
    """A set comes as the list it would be copied to: hashing what a guest chose can take for ever."""
    try:
        return sorted(_list(parts))
    except TypeError:
        return _list(parts)


def _dict(pairs: Any) -> dict[str, Any]:
    return {_text(key): value for key, value in _list(pairs)}


def _float(name: Any) -> float:
    return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[name]


def _data(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadFrame("The guest sent bytes that are none.") from None


def _days(days: int, seconds: int, microseconds: int) -> dt.timedelta:
    return dt.timedelta(_signed(days), _count(seconds), _count(microseconds))


def _signed(value: Any) -> int:
    return -_count(-value) if type(value) is int and value < 0 else _count(value)


_TAGS: dict[str, Callable[..., Any]] = {
    "bytes": _data,
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "timedelta": _days,
    "set": _sorted,
    "dict": _dict,
    "float": _float,
    "object": _object,
}


def _constant(name: str) -> Any:
    raise BadFrame(f"The guest sent {name}, which JSON does not have.")


_decode = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant).raw_decode
# Other threads, above all that of the event loop, wait while C code decodes. Where Python code takes each
# number, they get their turn.
_decode_politely = json.JSONDecoder(
    object_pairs_hook=_pairs,
    parse_constant=_constant,
    parse_int=lambda digits: int(digits),
    parse_float=lambda digits: float(digits),
).raw_decode
