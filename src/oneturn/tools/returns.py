"""From what a Python function returned to a result of plain data.

A value is surveyed before anything is converted: its expanded size and depth are bounded while
each distinct part is looked at once, because a few shared lists can stand for billions of nodes.
Data that is plain already goes on as it is. The rest is dumped by Pydantic, with these leaves:
times become ISO text, enums their value, UUID, Decimal, Path and URL text, sets lists; bytes
stay bytes, and NaN stays NaN for the gate to refuse.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_jsonable_python

from ..errors import ToolError, ValueRefused
from ..types import Limits
from .base import Blob, Link, Result, Text
from .parameters import Hints

_PLAIN = frozenset({type(None), bool, int, str})
_KEYS = frozenset({*_PLAIN, float})
_PLAIN_CONTAINERS = frozenset({dict, list, tuple, set, frozenset})
_BLOCKS = (Text, Blob, Link)
_ANY: TypeAdapter[Any] = TypeAdapter(Any)


class TooLarge(ValueRefused):
    """More nodes than the survey was allowed to count."""


@dataclasses.dataclass(frozen=True, slots=True)
class Returns:
    """How the results of one function become data. `adapter` is None without a return type."""

    adapter: TypeAdapter[Any] | None
    schema: Mapping[str, Any] | None

    def result(self, tool: str, value: Any, limits: Limits) -> Result:
        """The result for a returned value.

        Raises:
            TooLarge, ValueRefused: The value is deeper or larger than `limits`, or cyclic.
            ToolError: It holds an object that cannot be turned into data.
        """
        if isinstance(value, _BLOCKS):
            return Result(blocks=(value,))
        if isinstance(value, list | tuple) and any(isinstance(part, _BLOCKS) for part in value):
            return Result(blocks=tuple(_block(tool, part, limits) for part in value))
        return Result(structured=_data(tool, value, self.adapter, limits), has_structured=True)


def returns_of(annotation: Any, hints: Hints) -> Returns:
    """Read a return annotation.

    Raises:
        ToolDefinitionError: It cannot be resolved, or has no JSON Schema.
    """
    hint = hints.resolve(annotation, "return")
    if hint in (Any, typing.NoReturn, typing.Never) or _names_block(hint):
        return Returns(None, None)
    adapter, schema = hints.adapter(hint, "the result", "serialization")
    return Returns(adapter, schema or None)


def _names_block(hint: Any) -> bool:
    return hint in _BLOCKS or any(_names_block(part) for part in typing.get_args(hint))


def _block(tool: str, part: Any, limits: Limits) -> Text | Blob | Link:
    if isinstance(part, _BLOCKS):
        return part
    data = _data(tool, part, None, limits)
    if isinstance(data, str):
        return Text(data)
    try:
        return Text(json.dumps(data, allow_nan=False))
    except (TypeError, ValueError):
        raise ToolError(f"{tool} returned bytes or NaN beside a Blob; wrap bytes in a Blob.") from None


def _data(tool: str, value: Any, adapter: TypeAdapter[Any] | None, limits: Limits) -> Any:
    survey = _Survey(tool, limits)
    survey.measure(value, 0)
    if adapter is None and not survey.foreign:
        return value

    def refuse(part: Any) -> NoReturn:
        raise _no_data(tool, part)

    # Pydantic's JSON mode is what a schema describes, but it turns bytes into text and NaN into
    # None; a value that holds such a thing is dumped as Python and its leaves are spelled here.
    mode: Literal["python", "json"] = "python" if survey.unjsonable else "json"
    try:
        dumped = (adapter or _ANY).dump_python(value, mode=mode, fallback=refuse, warnings=False)
        return _spelled(dumped, refuse) if survey.unjsonable else dumped
    except ToolError:
        raise
    except Exception as error:
        raise ToolError(f"The result of {tool} cannot be turned into data: {error}") from error


def _no_data(tool: str, part: Any) -> ToolError:
    return ToolError(
        f"{tool} returned an object of type {type(part).__name__}, which cannot be turned into data; "
        "return dicts, lists, text, numbers, dataclasses or Pydantic models."
    )


class _Survey:
    """Measures a value without converting it, and learns what kind of conversion it needs."""

    def __init__(self, tool: str, limits: Limits) -> None:
        self.tool = tool
        self.limits = limits
        self.foreign = False  # holds something that is not plain data yet
        self.unjsonable = False  # holds bytes or a number JSON has no word for
        self.seen: dict[int, tuple[int, int]] = {}

    def measure(self, value: Any, depth: int) -> tuple[int, int]:
        """Expanded node count and height of `value`."""
        kind = type(value)
        if kind in _PLAIN:
            return 1, 0
        if isinstance(value, float):
            self.foreign |= kind is not float
            self.unjsonable |= not math.isfinite(value)
            return 1, 0
        parts = _parts(value)
        if parts is None:
            self.leaf(value)
            return 1, 0
        self.foreign |= kind not in _PLAIN_CONTAINERS
        known = self.seen.get(id(value))
        if known is None:
            if depth >= self.limits.depth:
                raise self.too_deep()
            if kind is dict:
                self.foreign |= not _KEYS.issuperset(map(type, value))
            known = self.expand(parts, depth + 1)
            self.seen[id(value)] = known
        if depth + known[1] > self.limits.depth:
            raise self.too_deep()
        return known

    def expand(self, parts: Iterable[Any], depth: int) -> tuple[int, int]:
        nodes, height = 1, 0
        for part in parts:
            inner, below = self.measure(part, depth)
            nodes += inner
            height = max(height, below)
            if nodes > self.limits.nodes:
                raise TooLarge(
                    f"The result of {self.tool} has more than {self.limits.nodes:,} nodes; "
                    "return less, or a summary."
                )
        return nodes, height + 1

    def leaf(self, value: Any) -> None:
        self.foreign |= type(value) is not bytes
        self.unjsonable |= isinstance(value, bytes | bytearray | memoryview) or (
            isinstance(value, Enum) and isinstance(value.value, bytes | float)
        )
        if isinstance(value, Blob | Link | Text):
            raise ToolError(
                f"{self.tool} returned a {type(value).__name__} inside another value; "
                "return it alone, or directly in a list."
            )
        if isinstance(value, Iterator):  # Pydantic would read it to its end, and it may have none
            raise _no_data(self.tool, value)

    def too_deep(self) -> ValueRefused:
        return ValueRefused(
            f"The result of {self.tool} is nested deeper than {self.limits.depth} levels, or contains itself."
        )


def _parts(value: Any) -> Iterable[Any] | None:
    """What a container, model or dataclass holds; None for a leaf."""
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple | set | frozenset | deque):
        return value
    if isinstance(value, BaseModel):
        return [*vars(value).values(), *(value.__pydantic_extra__ or {}).values()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type | Text | Blob | Link):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    return None


def _spelled(value: Any, refuse: Any) -> Any:
    """A Python-mode dump with every leaf plain."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Enum):
        return _spelled(value.value, refuse)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Mapping):
        return {_key(key, refuse): _spelled(part, refuse) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset | deque):
        return [_spelled(part, refuse) for part in value]
    return to_jsonable_python(value, fallback=refuse)


def _key(key: Any, refuse: Any) -> Any:
    if type(key) in _KEYS:
        return key
    return next(iter(to_jsonable_python({key: None}, fallback=refuse)))
