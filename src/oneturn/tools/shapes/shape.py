"""The shape of values: kinds, fields, items; grown one value at a time, and never holding a value.

A shape is a tree that only ever grows more general, and two shapes of one thing are joined without
regard to order or repetition. So processes that learn at once can lay their trees together.

**Keys can be data too** (`{"ann@example.com": …}`). An object is a *record*, whose keys are kept, or a
*map*, of which only the values are. It is a map, from then on, when

- a third or more of its keys are not written as field names are (`names.is_field_name`),
- it has more than 60 keys,
- it has at least 4 keys, and all values are objects that share at least half of their keys, or
- its keys keep being new, see below.

In a record a key that is not written as a field name counts among *others*: its value's shape is kept,
the key is not. Once a record was met in 5 calls, a field met in only one of them goes to the others
too, and a new key becomes a field when a second call has it. When 6 or more keys went that way, and
as many as there are fields, the record is closed: only fields every object had are kept, and no new one
is taken. So it is with more than 60 fields. What no rule can know is that `alice` in `{"alice": 3}` is
a person: until the fifth call, or when every call has the same few, such keys are kept.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from .names import is_field_name

MAX_DEPTH = 8
"""Containers inside one another that are looked into."""
MAX_FIELDS = 60

_NODES = 500  # parts of one value that are looked at, those near the top first
_SURE = 5  # calls after which a field must have been met twice
_STRAYS = 6
_ALIKE = 4  # entries from which on objects of the same keys make a map
_RARE = 64  # keys met once that are remembered, in memory only
_SAMPLED = 8  # values of a map that are looked at, and its last
_BRANCHES = 5  # kinds beside null that amount to "anything"
_COST = 40  # characters a field takes in a schema beside its name, about

_STRING, _BYTES, _INTEGER, _NUMBER, _BOOLEAN, _NULL, _ARRAY, _OBJECT, _OTHER = (1 << bit for bit in range(9))
_CONTAINERS = _ARRAY | _OBJECT
_BITS: Mapping[type, int] = {
    str: _STRING,
    bytes: _BYTES,
    int: _INTEGER,
    float: _NUMBER,
    bool: _BOOLEAN,
    type(None): _NULL,
    list: _ARRAY,
    tuple: _ARRAY,
    dict: _OBJECT,
}
WORDS: Mapping[str, int] = {
    "string": _STRING,
    "bytes": _BYTES,
    "integer": _INTEGER,
    "number": _NUMBER,
    "boolean": _BOOLEAN,
    "null": _NULL,
    "array": _ARRAY,
    "object": _OBJECT,
    "other": _OTHER,
}


@dataclass(slots=True)
class Shape:
    """What was met in one place: the kinds of value, and what its lists and objects hold."""

    kinds: int = 0
    items: Shape | None = None
    record: Record | None = None
    into: Shape | None = None
    """What this shape has become part of; a look under way goes on there."""

    def join(self, other: Shape) -> None:
        """Also be what `other` is. Takes over parts of `other`, which must not be used after."""
        other.into = self
        self.kinds |= other.kinds
        if other.items is not None:
            if self.items is None:
                self.items = other.items
            else:
                self.items.join(other.items)
        if other.record is not None:
            if self.record is None:
                self.record = other.record
            else:
                self.record.join(other.record)

    def cut(self, depth: int) -> int:
        """Forget what is deeper than `depth` containers. Returns about how many characters are left."""
        if depth == 0:
            self.items = self.record = None
        left = _COST
        if self.items is not None:
            left += self.items.cut(depth - 1)
        if self.record is not None:
            for name, each in self.record.fields.items():
                left += len(name) + each.shape.cut(depth - 1)
            if self.record.others is not None:
                left += self.record.others.cut(depth - 1)
        return left

    def schema(self, depth: int = MAX_DEPTH) -> dict[str, Any]:
        """The shape as JSON Schema; what is deeper than `depth` containers is left open."""
        kinds = self.kinds
        if kinds & _INTEGER and kinds & _NUMBER:
            kinds &= ~_INTEGER
        if kinds & _OTHER or (kinds & ~_NULL).bit_count() >= _BRANCHES:
            return {}
        branches: list[dict[str, Any]] = []
        if kinds & _OBJECT:
            branches.append({"type": "object", **(self.record.words(depth) if self.record else {})})
        if kinds & _ARRAY:
            inside = self.items.schema(depth - 1) if self.items and depth > 0 else {}
            branches.append({"type": "array", **({"items": inside} if inside else {})})
        if kinds & _BYTES:
            branches.append({"type": "string", "format": "binary"})
        scalars = [word for word in ("string", "integer", "number", "boolean", "null") if kinds & WORDS[word]]
        if scalars:
            branches.append({"type": scalars if len(scalars) > 1 else scalars[0]})
        return branches[0] if len(branches) == 1 else {"anyOf": branches} if branches else {}


@dataclass(slots=True)
class Field:
    """A key of a record: whether every object had it, and whether more than one call did."""

    shape: Shape = field(default_factory=Shape)
    always: bool = False
    again: bool = False
    look: int = 0


@dataclass(slots=True)
class Record:
    """The objects met in one place. Closed and without fields, it is a map.

    `looks` counts the calls that had such an object, up to one more than `_SURE`.
    """

    fields: dict[str, Field] = field(default_factory=dict)
    others: Shape | None = None
    open: bool = True
    looks: int = 0
    strays: int = 0
    look: int = 0
    rare: dict[str, int] = field(default_factory=dict)

    def drop(self, names: Iterable[str]) -> None:
        """Count these fields among the others."""
        for name in names:
            self.beside().join(self.fields.pop(name).shape)

    def beside(self) -> Shape:
        """The shape of the values whose keys are not kept."""
        if self.others is None:
            self.others = Shape()
        return self.others

    def close(self, *, keep_always: bool) -> None:
        """Take no more fields, and keep none but those every object had, if that."""
        self.open = False
        self.rare.clear()
        self.drop([name for name, each in self.fields.items() if not (keep_always and each.always)])

    def settle(self) -> None:
        """Drop what only one call had, once there were enough calls; close what does not settle."""
        if self.looks >= _SURE:
            once = [name for name, each in self.fields.items() if not each.again]
            if self.looks == _SURE:  # later ones come from joining and were counted where they were met
                self.looks += 1
                self.strays += len(once)
            self.drop(once)
        crowded = self.strays >= max(_STRAYS, len(self.fields))
        if self.open and (crowded or len(self.fields) > MAX_FIELDS):
            self.close(keep_always=True)

    def join(self, other: Record) -> None:
        """Also be what `other` is, see `Shape.join`."""
        mine, theirs = self.fields, other.fields
        lacking = set() if self.open else theirs.keys() - mine.keys()
        lacking |= set() if other.open else mine.keys() - theirs.keys()
        for name in mine.keys() - theirs.keys():
            mine[name].always = False
            if other.others is not None:  # it may have met this key and not kept it
                mine[name].shape.join(copy.deepcopy(other.others))
        for name, each in theirs.items():
            known = mine.get(name)
            if known is None:
                mine[name] = Field(each.shape, False, each.again, each.look)
                if self.others is not None:
                    each.shape.join(copy.deepcopy(self.others))
            else:
                known.shape.join(each.shape)
                known.always &= each.always
                known.again |= each.again
                known.look = max(known.look, each.look)
        if other.others is not None:
            self.beside().join(other.others)
        self.looks, self.strays = max(self.looks, other.looks), max(self.strays, other.strays)
        self.look = max(self.look, other.look)
        self.drop(lacking)
        self.open &= other.open
        self.settle()

    def words(self, depth: int) -> dict[str, Any]:
        """The words of an object's schema beside `type`."""
        if depth <= 0:
            return {}
        beside = self.others.schema(depth - 1) or True if self.others is not None else None
        words: dict[str, Any] = {}
        if self.fields:
            words["properties"] = {name: each.shape.schema(depth - 1) for name, each in self.fields.items()}
        needed = [name for name, each in self.fields.items() if each.always]
        if needed:
            words["required"] = needed
        if beside is not None:
            words["additionalProperties"] = beside
        return words


@dataclass(slots=True)
class Look:
    """One look at one value. Lists are looked at in three places, text not at all.

    Args:
        number: Tells this look from others at the same shape; from 1.
        depth: Containers inside one another that are looked into.
    """

    number: int
    depth: int = MAX_DEPTH
    changed: bool = False
    """Whether the shape is not what it was."""
    grown: int = 0
    """About how many characters of schema came to it."""
    _left: int = _NODES
    _queue: deque[tuple[Shape, Any, int]] = field(default_factory=deque)
    _met: list[Record] = field(default_factory=list)

    def at(self, shape: Shape, value: Any) -> None:
        """Make `shape` fit `value` too."""
        self._part(shape, value, 0)
        while self._queue and self._left > 0:
            inner, part, level = self._queue.popleft()
            while inner.into is not None:
                inner = inner.into
            if type(part) is dict:
                self._object(inner, part, level)
            else:
                self._array(inner, part, level)
        for record in self._met:
            before = record.looks, record.open
            record.settle()
            self.changed |= before != (record.looks, record.open)

    def _part(self, shape: Shape, value: Any, level: int) -> None:
        self._left -= 1
        bit = _BITS.get(type(value), _OTHER)
        if not shape.kinds & bit:
            shape.kinds |= bit
            self.changed = True
        if bit & _CONTAINERS and (value or bit == _OBJECT) and level < self.depth and self._left > 0:
            self._queue.append((shape, value, level))

    def _array(self, shape: Shape, values: Any, level: int) -> None:
        if shape.items is None:
            shape.items = Shape()
            self.grown += _COST
        last = len(values) - 1
        for place in (0, (last + 1) // 2, last) if last > 1 else range(last + 1):
            self._part(shape.items, values[place], level + 1)

    def _object(self, shape: Shape, value: dict[Any, Any], level: int) -> None:
        if shape.record is None:
            shape.record = Record()
        record = shape.record
        first = not record.looks
        if record.look != self.number:
            record.look = self.number
            self._met.append(record)
            if record.looks < _SURE:
                record.looks += 1
                self.changed = True
        if record.open and _is_map(value, record.fields):
            record.close(keep_always=False)
            self.changed = True
        if record.open:
            self._open(record, value, level, first)
        else:
            self._closed(record, value, level)

    def _open(self, record: Record, value: dict[Any, Any], level: int, first: bool) -> None:
        fields, met = record.fields, 0
        for key, part in value.items():
            known = fields.get(key) or self._admit(record, key, first)
            if known is None:
                self._part(record.beside(), part, level + 1)
                continue
            met += 1
            if not known.again and known.look != self.number:
                known.again = self.changed = True
            self._part(known.shape, part, level + 1)
        if met < len(fields):
            self._absent(fields, value)

    def _admit(self, record: Record, key: Any, first: bool) -> Field | None:
        """A new key as a field, unless it is data or has yet to be met again."""
        if not is_field_name(key):
            return None
        sure = record.looks > _SURE
        if sure and record.rare.get(key, self.number) == self.number:
            if key not in record.rare and len(record.rare) < _RARE:
                record.rare[key] = self.number
                record.strays += 1
                self.changed = True
            return None
        if sure:
            del record.rare[key]
        made = record.fields[key] = Field(always=first, again=sure, look=self.number)
        self.changed = True
        self.grown += _COST + len(key)
        return made

    def _closed(self, record: Record, value: dict[Any, Any], level: int) -> None:
        fields = record.fields
        for name, known in fields.items():
            if name in value:
                self._part(known.shape, value[name], level + 1)
        self._absent(fields, value)
        for key in dict.fromkeys([*islice(value, len(fields) + _SAMPLED), *islice(reversed(value), 1)]):
            if key not in fields:
                self._part(record.beside(), value[key], level + 1)

    def _absent(self, fields: dict[str, Field], value: dict[Any, Any]) -> None:
        for name, known in fields.items():
            if known.always and name not in value:
                known.always = False
                self.changed = True


def _is_map(value: dict[Any, Any], fields: dict[str, Field]) -> bool:
    """Whether this one object's keys are data. An object of known fields only is what it was before."""
    if len(value) > MAX_FIELDS:
        return True
    new = [key for key in value if key not in fields]
    if not new:
        return False
    if 3 * sum(not is_field_name(key) for key in new) >= len(value):
        return True
    if len(value) < _ALIKE or not all(type(part) is dict for part in value.values()):
        return False
    if any(len(part) > MAX_FIELDS for part in value.values()):
        return True
    keys = [part.keys() for part in value.values()]
    shared = set(keys[0]).intersection(*keys[1:])
    return bool(shared) and 2 * len(shared) >= len(set().union(*keys))
