"""What may leave a script and what comes in: plain data <-> the JSON of a frame.

A value is measured before any of it is encoded: depth, *expanded* node count and size, with the
words `oneturn.values` has for it, because a small structure that shares its parts can expand to
billions of nodes. What JSON has no form for is a dict with the single key "$". No code of the
script runs here, whatever classes it made: parts are read with the methods of the builtin types.

Standard library only; runs with any Python from 3.11, on the script's side.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

TAG = "$"
_MAX_INT_BITS = 14_000
_MAX_NAME = 200
_SMALL = 16  # parts
_VIEWS: tuple[type, ...] = (range, type({}.keys()), type({}.values()), type({}.items()))
_PANDAS = {"DataFrame": '.to_dict("records")', "Series": ".tolist()", "Index": ".tolist()"}

_text = json.JSONEncoder(check_circular=False, allow_nan=False, separators=(",", ":")).encode

Size = tuple[int, int, int]  # nodes, bytes, height
_LEAF: Size = (1, 8, 0)


class Packer:
    """Measures a value and gives it the shape it has in a frame.

    Args:
        limits: `depth`, `nodes` and `value_bytes`.
    """

    def __init__(self, limits: Mapping[str, Any]) -> None:
        self._depth: int = limits["depth"]
        self._nodes: int = limits["nodes"]
        self._bytes: int = limits["value_bytes"]
        self._what = "the value"
        self._seen: dict[int, tuple[Any, Size, Any]] = {}

    def text(self, value: Any, what: str) -> tuple[str, int]:
        """The JSON of a value, and how many nodes it has. ValueError, naming it, when it may not cross."""
        self._what = what
        try:
            packed, (nodes, size, _) = self._pack(value, 0)
        finally:
            self._seen.clear()
        if size > self._bytes:
            raise self._refuse(f"is larger than {self._bytes:,} bytes; send less, or a summary")
        # A number needs no encoder, of which one is made for each value.
        return int.__repr__(packed) if type(packed) is int else _text(packed), nodes

    def _refuse(self, why: str) -> ValueError:
        return ValueError(f"{self._what} {why}")

    def _pack(self, value: Any, depth: int) -> tuple[Any, Size]:
        kind = type(value)
        if kind is str:
            return value, (1, len(value) + 2 if value.isascii() else value.__sizeof__(), 0)
        if value is None or kind is bool:
            return value, _LEAF
        if kind is int:
            bits = value.bit_length()
            if bits > _MAX_INT_BITS:
                raise self._refuse("holds an integer of more than 4,000 digits; pass it as text")
            return value, _LEAF if bits < 64 else (1, bits // 3, 0)
        if kind is float:
            return value if math.isfinite(value) else {TAG: ["float", repr(value)]}, _LEAF
        if kind is list or kind is dict or kind is tuple:
            return self._container(value, value, depth)
        return self._other(value, kind, depth)

    def _container(self, value: Any, parts: Any, depth: int) -> tuple[Any, Size]:
        """`parts` is a builtin container with what `value` holds."""
        known = self._seen.get(id(value))
        if known is None:
            if depth >= self._depth:
                raise self._refuse(f"is nested deeper than {self._depth} levels, or contains itself")
            if len(parts) > self._nodes:
                raise self._refuse(f"has more than {self._nodes:,} nodes; send less, or a summary")
            packed, size = (self._dict if type(parts) is dict else self._list)(parts, depth + 1)
            known = (packed, size, value)  # `value` is kept, so its id stays its own
            if size[2] > 1 or len(parts) > _SMALL:  # the others cost less to measure than to remember
                self._seen[id(value)] = known
        packed, (nodes, size_bytes, height), _ = known
        if depth + height > self._depth:
            raise self._refuse(f"is nested deeper than {self._depth} levels")
        if nodes > self._nodes:
            raise self._refuse(f"has more than {self._nodes:,} nodes; send less, or a summary")
        if size_bytes > self._bytes:
            raise self._refuse(f"is larger than {self._bytes:,} bytes; send less, or a summary")
        return packed, (nodes, size_bytes, height)

    def _list(self, parts: Any, depth: int) -> tuple[Any, Size]:
        nodes, size, height = 1, 2, 0
        as_is = type(parts) in (list, tuple)
        for part in parts:
            inner, (more, bytes_, high) = self._pack(part, depth)
            as_is = as_is and inner is part
            nodes += more
            size += bytes_ + 1
            if high >= height:
                height = high + 1
        packed = parts if as_is else [self._pack(part, depth)[0] for part in parts]
        return packed, (nodes, size, max(height, 1))

    def _dict(self, parts: dict[Any, Any], depth: int) -> tuple[Any, Size]:
        nodes, size, height = 1, 2, 0
        as_is = True
        for key, part in parts.items():
            spelled = key if type(key) is str else self._key(key)
            inner, (more, bytes_, high) = self._pack(part, depth)
            as_is = as_is and spelled is key and inner is part
            nodes += more
            size += bytes_ + 3 + (len(spelled) + 2 if spelled.isascii() else spelled.__sizeof__())
            if high >= height:
                height = high + 1
        packed = parts
        if not as_is:
            packed = {self._key(key): self._pack(part, depth)[0] for key, part in parts.items()}
        if len(packed) == 1 and TAG in packed:
            return {TAG: ["dict", list(packed.items())]}, (nodes, size, max(height, 1))
        return packed, (nodes, size, max(height, 1))

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            return str.__str__(key)
        if key is None or key is True or key is False:
            return {None: "null", True: "true", False: "false"}[key]
        if isinstance(key, int):
            return int.__repr__(key)
        if isinstance(key, float):
            return float.__repr__(key)
        raise self._refuse(f"has a dict key of type {type_name(key)}; use text keys")

    def _other(self, value: Any, kind: type, depth: int) -> tuple[Any, Size]:
        if kind is bytes or kind is bytearray:
            if len(value) > self._bytes:
                raise self._refuse(f"is larger than {self._bytes:,} bytes; send less, or a summary")
            return {TAG: ["bytes", base64.b64encode(value).decode("ascii")]}, (1, len(value), 0)
        if kind is dt.datetime or kind is dt.date or kind is dt.time:
            return {TAG: [kind.__name__, value.isoformat()]}, _LEAF
        if kind is dt.timedelta:
            return {TAG: ["timedelta", value.days, value.seconds, value.microseconds]}, _LEAF
        if kind in _VIEWS:
            return self._container(value, value, depth)
        base = next((base for base in _BASES if issubclass(kind, base)), None)
        if base is not None:
            plain = _BASES[base](value)
            if base is set or base is frozenset:
                packed, size = self._container(value, plain, depth)
                return {TAG: ["set", packed]}, size
            if base in (list, tuple, dict, deque):
                return self._container(value, plain, depth)
            return self._pack(plain, depth)
        return self._foreign(value, kind, depth)

    def _foreign(self, value: Any, kind: type, depth: int) -> tuple[Any, Size]:
        """Objects of numpy and pandas that stand for plain data; the host says no to the others."""
        numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
        if numpy is not None and issubclass(kind, (numpy.ndarray, numpy.generic)):
            if value.size > self._nodes:
                raise self._refuse(f"has more than {self._nodes:,} nodes; send less, or a summary")
            plain = value.tolist()
            if type(plain) is not kind:
                return self._pack(plain, depth)
        if pandas is not None and value is not pandas.NaT:
            if issubclass(kind, pandas.Timestamp):
                return self._pack(value.to_pydatetime(warn=False), depth)
            if issubclass(kind, pandas.Timedelta):
                return self._pack(value.to_pytimedelta(), depth)
            for name, hint in _PANDAS.items():
                if issubclass(kind, getattr(pandas, name)):
                    raise self._refuse(f"holds a pandas {name}, and only plain data may cross; use {hint}")
        return {TAG: ["object", type_name(value)]}, _LEAF


# What a class derived from a builtin type is worth, read with that type's own methods.
_BASES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    dict: lambda value: dict(dict.items(value)),
    list: lambda value: list(list.__iter__(value)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    set: lambda value: list(set.__iter__(value)),
    frozenset: lambda value: list(frozenset.__iter__(value)),
    deque: lambda value: list(deque.__iter__(value)),
}


def type_name(value: Any) -> str:
    """The name of a value's type, whatever its metaclass says."""
    return str(type.__dict__["__name__"].__get__(type(value)))[:_MAX_NAME]


quoted = json.encoder.encode_basestring_ascii
"""A text as JSON."""


def read(frame: bytes) -> Any:
    """A frame of the host."""
    found, _ = (_decode_tagged if b'"$"' in frame else _decode)(frame.decode("ascii"))
    return found


def _untag(found: dict[str, Any]) -> Any:
    if len(found) != 1 or TAG not in found:
        return found
    tag, *parts = found[TAG]
    return _TAGS[tag](*parts)


_TAGS: dict[str, Callable[..., Any]] = {
    "bytes": base64.b64decode,
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "timedelta": dt.timedelta,
    "float": float,
    "set": set,
    "dict": dict,
}

_decode = json.JSONDecoder().raw_decode
_decode_tagged = json.JSONDecoder(object_hook=_untag).raw_decode
