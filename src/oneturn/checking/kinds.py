"""Which kinds of value a type, as the type checker prints it, may be, and which a schema may take.

Both err on the side of "may": a type that is not understood is None, a schema that is not
understood takes everything.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from ..tools.schema import resolve

EVERY = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
"""The kinds of JSON value."""

_DEEPEST = 12
_MOST_BRANCHES = 50
_MOST_STEPS = 1_000
_MOST_MEMBERS = 50
# What the gate makes of a value of each type. A float may be whole, and then passes for an
# integer; a function that returns `int` may return a bool.
_KINDS: Mapping[str, frozenset[str]] = {
    "str": frozenset({"string"}),
    "LiteralString": frozenset({"string"}),
    "bool": frozenset({"boolean"}),
    "int": frozenset({"integer", "boolean"}),
    "float": frozenset({"integer", "number"}),
    "None": frozenset({"null"}),
    "list": frozenset({"array"}),
    "tuple": frozenset({"array"}),
    "set": frozenset({"array"}),
    "frozenset": frozenset({"array"}),
    "dict": frozenset({"object"}),
}

Member = frozenset[str] | tuple[object]
"""A member of a union: the kinds it may be, or one literal value in a tuple."""


def members(printed: str, shapes: Mapping[str, str]) -> list[Member] | None:
    """The members of a printed type; None when one of them is nothing concrete.

    Args:
        printed: Such as `Literal["a", 5] | list[int] | None`.
        shapes: Names of TypedDicts; their values are dicts.
    """
    found: list[Member] = []
    for part in _split(printed):
        name, bracket, inside = part.partition("[")
        name = name.strip().rstrip("*")
        if name == "Literal" and bracket:
            try:
                values = ast.literal_eval(f"[{inside.strip().rstrip('*').removesuffix(']')}]")
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return None
            found += [(value,) for value in values]
        elif name in shapes:
            found.append(_KINDS["dict"])
        elif name in _KINDS:
            found.append(_KINDS[name])
        else:
            return None
    return found if 0 < len(found) <= _MOST_MEMBERS else None


def _split(printed: str) -> list[str]:
    """Members of a union: split at every bar that stands in no bracket and no text."""
    parts, level, quote, start, skip = [], 0, "", 0, False
    for index, char in enumerate(printed):
        if skip:
            skip = False
        elif quote:
            skip = char == "\\"
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[(":
            level += 1
        elif char in "])":
            level -= 1
        elif char == "|" and level == 0:
            parts.append(printed[start:index])
            start = index + 1
    return [part.strip() for part in (*parts, printed[start:])]


def taken(schema: object, root: Mapping[str, Any]) -> frozenset[str]:
    """The kinds of value a schema may take; too many rather than too few."""
    return _Taken(root).by(schema, 0)


class _Taken:
    """One look at a schema, with a bound on all its steps: references may branch without end."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._steps = _MOST_STEPS

    def by(self, schema: object, level: int) -> frozenset[str]:
        self._steps -= 1
        if not isinstance(schema, Mapping) or level > _DEEPEST or self._steps < 0:
            return EVERY
        if "$ref" in schema:
            schema = resolve(schema, self._root)
        kinds = EVERY
        named = schema.get("type")
        if isinstance(named, str | list | tuple):
            kinds &= _wider([named] if isinstance(named, str) else list(named))
        if isinstance(schema.get("enum"), list | tuple):
            kinds &= _of_values(schema["enum"])
        if "const" in schema:
            kinds &= _of_values([schema["const"]])
        for word in ("anyOf", "oneOf"):
            branches = schema.get(word)
            if isinstance(branches, list | tuple) and 0 < len(branches) <= _MOST_BRANCHES:
                kinds &= frozenset().union(*(self.by(branch, level + 1) for branch in branches))
        branches = schema.get("allOf")
        if isinstance(branches, list | tuple) and len(branches) <= _MOST_BRANCHES:
            for branch in branches:
                kinds &= self.by(branch, level + 1)
        return kinds


def _wider(names: list[Any]) -> frozenset[str]:
    found = frozenset(name for name in names if name in EVERY)
    if len(found) < len(names):
        return EVERY  # a word that is no type of JSON Schema
    return found | {"integer"} if "number" in found else found


def _of_values(values: list[Any] | tuple[Any, ...]) -> frozenset[str]:
    kinds: set[str] = set()
    for value in values:
        match value:
            case bool():
                kinds.add("boolean")
            case int() | float():
                kinds |= {"integer", "number"}
            case str():
                kinds.add("string")
            case None:
                kinds.add("null")
            case Mapping():
                kinds.add("object")
            case _:
                kinds.add("array")
    return frozenset(kinds)
