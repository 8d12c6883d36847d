"""What may cross the boundary between scripts and tools, in either direction.

JSON values plus bytes and datetimes; nothing else. `plain()` measures first and copies after:
depth, *expanded* node count and size are bounded before the first copy is made, because a small
structure that shares its parts can expand to billions of nodes. The copy shares nothing with the
original, so a change on one side is never seen on the other.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

from .errors import ValueRefused
from .types import Limits

_MAX_INT_BITS = 14_000  # beyond this Python itself refuses to print an int in decimal
_STAMPS = (dt.datetime, dt.date, dt.time, dt.timedelta)


@dataclass(frozen=True, slots=True)
class _Size:
    """Expanded size of a subtree, so that a shared part is measured once and counted each time."""

    nodes: int
    bytes: int
    height: int


_LEAF = _Size(1, 8, 0)


class _Meter:
    """Measures one value without copying it; refuses what may not cross."""

    def __init__(self, limits: Limits, what: str) -> None:
        self.limits = limits
        self.what = what
        self.seen: dict[int, _Size] = {}

    def refuse(self, why: str) -> ValueRefused:
        return ValueRefused(f"{self.what} {why}.")

    def measure(self, value: Any, depth: int) -> _Size:
        kind = type(value)
        if value is None or kind is bool:
            return _LEAF
        if kind is str:
            return _Size(1, len(value) + 2, 0)
        if kind is int:
            if value.bit_length() > _MAX_INT_BITS:
                raise self.refuse("holds an integer of more than 4,000 digits; pass it as text")
            return _LEAF
        if kind is float:
            if not math.isfinite(value):
                raise self.refuse(f"holds {value!r}, which JSON cannot carry; use None or text")
            return _LEAF
        if kind is bytes:
            return _Size(1, len(value), 0)
        if kind in _STAMPS:
            return _LEAF
        if kind in (list, tuple, set, frozenset, dict):
            return self.container(value, depth)
        raise self.refuse(_foreign(value))

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
                if type(key) is not str and type(key) not in (int, float, bool, type(None)):
                    raise self.refuse(f"has a dict key of type {type(key).__name__}; use text keys")
                size += len(key) + 4 if type(key) is str else 8
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


def _foreign(value: Any) -> str:
    name = type(value).__name__
    if name in ("MontyClassProxy", "MontyClassTypeProxy", "MontyStdTypeProxy"):
        name = getattr(value, "name", name)
    return (
        f"holds an object of type {name}, and only plain data may cross "
        "(dict, list, str, int, float, bool, None, bytes, datetime)"
    )


def _key(key: Any) -> str:
    if type(key) is str:
        return key
    if key is None:
        return "null"
    if key is True or key is False:
        return "true" if key else "false"
    return str(key)


def _copy(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {_key(key): _copy(part) for key, part in value.items()}
    if kind is list or kind is tuple:
        return [_copy(part) for part in value]
    if kind is set or kind is frozenset:
        copies = [_copy(part) for part in value]
        try:
            return sorted(copies)
        except TypeError:
            return copies
    return value


def plain(value: Any, limits: Limits, *, what: str = "the value") -> Any:
    """A plain-data copy of `value` that shares nothing with it.

    Tuples become lists, sets become lists (sorted when they can be), and the dict keys JSON can
    spell (numbers, booleans, None) become text.

    Args:
        value: Anything.
        limits: Bounds on depth, expanded nodes and size.
        what: How the error names the value, such as "argument 'query'".

    Raises:
        ValueRefused: The value is not plain data, is cyclic, or is over a bound. Nothing was
            copied; the check takes time and memory in the number of *distinct* parts.
    """
    return measured(value, limits, what=what)[0]


def measured(value: Any, limits: Limits, *, what: str = "the value") -> tuple[Any, int]:
    """Like `plain`, with the value's approximate size in bytes."""
    size = _Meter(limits, what).measure(value, 0).bytes
    if size > limits.value_bytes:
        raise ValueRefused(f"{what} is larger than {limits.value_bytes:,} bytes; send less, or a summary.")
    return _copy(value), size
