"""What may cross the boundary between scripts and tools, in either direction.

JSON values plus bytes; nothing else. Datetimes cross as ISO 8601 text. `plain()` measures first and
copies after: depth, *expanded* node count and size are bounded before the first copy is made,
because a small structure that shares its parts can expand to billions of nodes. The copy shares
nothing with the original, so a change on one side is never seen on the other.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import Any

from .errors import ValueRefused
from .types import Limits

_MAX_INT_BITS = 14_000  # beyond this Python itself refuses to print an int in decimal
_STAMPS = (dt.datetime, dt.date, dt.time)
_KEYS = (str, int, float, bool, type(None))
_CONTAINERS = (list, tuple, set, frozenset, dict)
# Interpreters that cannot send an object send its repr as text; taken as data it would be a
# silent wrong value. Only looked for in what a script sends.
_REPR = re.compile(r"<(coroutine|function|bound method|built-in function|module|class|generator)\b[^\n]*>\Z")
_CYCLE = ("[...]", "{...}", "(...)")


@dataclass(frozen=True, slots=True)
class _Size:
    """Expanded size of a subtree, so that a shared part is measured once and counted each time."""

    nodes: int
    bytes: int
    height: int


_LEAF = _Size(1, 8, 0)


class _Meter:
    """Measures one value without copying it; refuses what may not cross."""

    def __init__(self, limits: Limits, what: str, from_script: bool) -> None:
        self.limits = limits
        self.what = what
        self.from_script = from_script
        self.seen: dict[int, _Size] = {}

    def refuse(self, why: str) -> ValueRefused:
        return ValueRefused(f"{self.what} {why}.")

    def measure(self, value: Any, depth: int) -> _Size:
        kind = type(value)
        if value is None or kind is bool:
            return _LEAF
        if kind is str:
            if self.from_script and value[:1] in ("<", "[", "{", "("):
                self.check_stand_in(value, depth)
            return _Size(1, _weight(value), 0)
        if kind is int:
            bits = value.bit_length()
            if bits > _MAX_INT_BITS:
                raise self.refuse("holds an integer of more than 4,000 digits; pass it as text")
            return _LEAF if bits < 64 else _Size(1, bits // 3, 0)
        if kind is float:
            if not math.isfinite(value):
                raise self.refuse(f"holds {value!r}, which JSON cannot carry; use None or text")
            return _LEAF
        if kind is bytes:
            return _Size(1, len(value), 0)
        if kind in _STAMPS:
            return _LEAF
        if kind in _CONTAINERS:
            return self.container(value, depth)
        if kind is dt.timedelta:
            return _LEAF
        raise self.refuse(_foreign(value))

    def check_stand_in(self, text: str, depth: int) -> None:
        """Refuse the text an interpreter sends in place of an object or a cycle."""
        if depth and text in _CYCLE:
            raise self.refuse("contains itself")
        if len(text) < 200 and (found := _REPR.match(text)):
            kind = found.group(1)
            hint = "; write await before the call" if kind == "coroutine" else ""
            raise self.refuse(f"holds a {kind}, and only plain data may cross{hint}")

    def container(self, value: Any, depth: int) -> _Size:
        limits = self.limits
        known = self.seen.get(id(value))
        if known is None:
            if depth >= limits.depth:
                raise self.refuse(f"is nested deeper than {limits.depth} levels, or contains itself")
            known = self.expand(value, depth + 1)
            self.seen[id(value)] = known
        if depth + known.height > limits.depth:
            raise self.refuse(f"is nested deeper than {limits.depth} levels")
        if known.nodes > limits.nodes:
            raise self.refuse(f"has more than {limits.nodes:,} nodes; send less, or a summary")
        if known.bytes > limits.value_bytes:
            raise self.refuse(f"is larger than {limits.value_bytes:,} bytes; send less, or a summary")
        return known

    def expand(self, value: Any, depth: int) -> _Size:
        nodes, size, height = 1, 2, 0
        if type(value) is dict:
            for key in value:
                if type(key) not in _KEYS:
                    raise self.refuse(f"has a dict key of type {type(key).__name__}; use text keys")
                size += self.measure(key, depth).bytes + 2
            parts: Any = value.values()
        else:
            parts = value
        for part in parts:
            inner = self.measure(part, depth)
            nodes += inner.nodes
            size += inner.bytes + 1
            if inner.height >= height:
                height = inner.height + 1
        return _Size(nodes, size, max(height, 1))


def _weight(text: str) -> int:
    """Bytes a text takes. Beyond ASCII Python knows what it holds, without encoding it to find out."""
    return len(text) + 2 if text.isascii() else text.__sizeof__()


def _foreign(value: Any) -> str:
    name = type(value).__name__
    if name in ("MontyClassProxy", "MontyClassTypeProxy", "MontyStdTypeProxy"):
        name = getattr(value, "name", name)
    return (
        f"holds an object of type {name}, and only plain data may cross "
        "(dict, list, str, int, float, bool, None, bytes, datetime)"
    )


def _sound(text: str) -> str:
    """`text`, with lone surrogates replaced by U+FFFD: nothing that speaks UTF-8 can carry them."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _key(key: Any) -> str:
    if type(key) is str:
        return _sound(key)
    if key is None:
        return "null"
    if key is True or key is False:
        return "true" if key else "false"
    return str(key)


def copy(value: Any) -> Any:
    """A plain copy of a value that `measure` let through."""
    kind = type(value)
    if kind is str:
        return _sound(value)
    if kind is dict:
        return {_key(key): copy(part) for key, part in value.items()}
    if kind is list or kind is tuple:
        return [copy(part) for part in value]
    if kind is set or kind is frozenset:
        copies = [copy(part) for part in value]
        try:
            return sorted(copies)
        except TypeError:
            return copies
    if kind in _STAMPS:
        return value.isoformat()
    if kind is dt.timedelta:
        return value.total_seconds()
    return value


def plain(value: Any, limits: Limits, *, what: str = "the value", from_script: bool = False) -> Any:
    """A plain-data copy of `value` that shares nothing with it.

    Tuples become lists, sets become lists (sorted when they can be), dates and times become ISO
    8601 text, time spans become seconds, the dict keys JSON can spell (numbers, booleans, None)
    become text, and lone surrogates in text become U+FFFD.

    Args:
        value: Anything.
        limits: Bounds on depth, expanded nodes and size.
        what: How the error names the value, such as "argument 'query'".
        from_script: Also refuse the text an interpreter sends in place of a coroutine, a function
            or a cycle.

    Raises:
        ValueRefused: The value is not plain data, is cyclic, or is over a bound. Nothing was
            copied; the check takes time and memory in the number of *distinct* parts.
    """
    measure(value, limits, what=what, from_script=from_script)
    return copy(value)


def measure(value: Any, limits: Limits, *, what: str = "the value", from_script: bool = False) -> int:
    """The approximate size of `value` in bytes, expanded; raises ValueRefused as `plain` does."""
    size = _Meter(limits, what, from_script).measure(value, 0).bytes
    if size > limits.value_bytes:
        raise ValueRefused(f"{what} is larger than {limits.value_bytes:,} bytes; send less, or a summary.")
    return size
