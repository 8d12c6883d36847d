"""YAML from a stranger as plain JSON values: without recursion, and bounded while it is read.

It is read as OpenAPI means it: keys are text as written (`200` is no number, `2020-01-01` no date), and
only `true` and `false` are truth values (`no` is a country). Values are built from the parser's events, one
at a time, because PyYAML's own way through a tree of nodes is recursive and a deep text ends the
process. An alias gives the very object it names, and counts for as much as that holds.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's where there is one
_MAX_VALUES = 5_000_000  # aliases counted as often as they are used
_MAX_DEPTH = 200
_MAX_COPIED = 1_000_000  # entries copied by `<<`
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,400})\Z|0x[0-9a-fA-F]{1,300}\Z")
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,400}\.[0-9]*|\.[0-9]+|[0-9]{1,400})(?:[eE][-+]?[0-9]{1,9})?\Z")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    spelled: word == "true"
    for word in ("true", "false")
    for spelled in (word, word.capitalize(), word.upper())
}


def read_yaml(text: str) -> Any:
    """The first document in a YAML text.

    Raises:
        ValueError: It is no YAML, or nested too deep, or its aliases repeat too much.
    """
    reader = _Reader()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, DocumentEndEvent):
                break
            reader.take(event)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    return reader.root


@dataclass(slots=True)
class _Open:
    """A list or an object whose end has not come."""

    value: Any
    anchor: str | None
    values: int = 1
    height: int = 0
    key: Any = None
    has_key: bool = False
    merged: list[Any] = field(default_factory=list)


class _Reader:
    def __init__(self) -> None:
        self.root: Any = None
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}  # value, values in it, height
        self._copied = 0

    def take(self, event: Event) -> None:
        if isinstance(event, ScalarEvent):
            self._add(event, _scalar(event), 1, 0)
        elif isinstance(event, AliasEvent):
            if event.anchor not in self._anchors:
                raise ValueError(f"the alias *{event.anchor} names nothing, or something it is part of")
            self._add(event, *self._anchors[event.anchor])
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            if len(self._open) >= _MAX_DEPTH:
                raise ValueError(f"it is nested deeper than {_MAX_DEPTH} levels")
            self._open.append(_Open({} if isinstance(event, MappingStartEvent) else [], event.anchor))
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._close()

    def _close(self) -> None:
        done = self._open.pop()
        if done.merged:
            self._merge(done)
        self._place(done.value, done.values, done.height + 1, done.anchor)

    def _add(self, event: NodeEvent, value: Any, values: int, height: int) -> None:
        outer = self._open[-1] if self._open else None
        if outer is not None and isinstance(outer.value, dict) and not outer.has_key:
            outer.key, outer.has_key = value, True
            if isinstance(event, ScalarEvent):
                outer.key = _MERGE if event.value == "<<" and not event.style else event.value
                if event.anchor:
                    self._anchors[event.anchor] = (event.value, 1, 0)
            return
        anchor = event.anchor if isinstance(event, ScalarEvent) else None
        self._place(value, values, height, anchor)

    def _place(self, value: Any, values: int, height: int, anchor: str | None) -> None:
        """Put a finished value where it belongs."""
        if anchor:
            self._anchors[anchor] = (value, values, height)
        if not self._open:
            self.root = value
            return
        outer = self._open[-1]
        outer.values += values
        outer.height = max(outer.height, height)
        if outer.values > _MAX_VALUES or height + len(self._open) > _MAX_DEPTH:
            raise ValueError(
                f"it grows to more than {_MAX_VALUES:,} values or {_MAX_DEPTH} levels; "
                "its aliases repeat too much"
            )
        if isinstance(outer.value, list):
            outer.value.append(value)
        elif not outer.has_key:  # a list or an object as a key: kept out, with its value
            outer.key, outer.has_key = None, True
        else:
            if outer.key is _MERGE:
                outer.merged += value if isinstance(value, list) else [value]
            elif isinstance(outer.key, str):
                outer.value[outer.key] = value
            outer.has_key = False

    def _merge(self, done: _Open) -> None:
        """Fill in what `<<` names: what stands in the object itself wins, then what was named first."""
        for other in done.merged:
            if isinstance(other, dict):
                self._copied += len(other)
                if self._copied > _MAX_COPIED:
                    raise ValueError(f"it merges more than {_MAX_COPIED:,} entries")
                for key, value in other.items():
                    done.value.setdefault(key, value)


_MERGE = object()


def _scalar(event: ScalarEvent) -> Any:
    text = str(event.value)
    if event.style or not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text, 16 if text.startswith("0x") else 10)
    if _NUMBER.match(text) and not _LEADING_ZERO.match(text):
        number = float(text)
        return number if math.isfinite(number) else None
    return text
