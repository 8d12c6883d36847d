"""The schemas of a document, shared by all its tools.

A tool carries every definition it needs, so that it can be checked and shown without the document. But
big APIs refer to the same few hundred objects from thousands of operations: so each definition is
converted once, when it is first needed, and the same dict stands in every tool; `$defs` with the same
members are one dict too. What a tool carries is bounded: definitions are taken breadth first, and those
past the budget accept anything and say that they were cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .conversion import Conversion, Direction, Kind, cut
from .naming import digest
from .references import References, tokens

_BUDGET: Mapping[Direction, int] = {"input": 60_000, "output": 30_000}
"""Characters of all definitions that one schema carries."""

_MAX_STEPS: Mapping[Direction, int] = {"input": 12, "output": 6}
"""References from the schema down to a definition it still carries."""

_ROOM: Mapping[Direction, int] = {"input": 60_000, "output": 30_000}
"""Characters of a schema without its definitions."""

_DEFINITION_ROOM = 20_000  # characters of one definition
_MAX_CARRIED = 500_000  # members of all `$defs` of a document; after that all are cut
_MAX_NAMED = 300  # definitions in one `$defs`, cut ones included
_MAX_REACH = 300  # definitions looked at to find out whether references go round in a circle
_MAX_NAME = 80
_GENERIC = frozenset(
    {"paths", "components", "schemas", "schema", "content", "responses", "properties", "application/json"}
)
_CUT = cut("not shown, too much to carry; anything is accepted here")


@dataclass(frozen=True, slots=True)
class Converted:
    """A schema, the names of the definitions it refers to, in order, and its characters as JSON."""

    schema: dict[str, Any]
    references: tuple[str, ...] = ()
    size: int = 100


class Definitions:
    """Converts the schemas of one document; see the module's text for what is shared."""

    def __init__(self, document: Mapping[str, Any], references: References) -> None:
        self._references = references
        found = references.lookup("#/components/schemas")
        self._schemas: Mapping[Any, Any] = found if isinstance(found, Mapping) else {}
        self._named: dict[str, str] = {}  # pointer by name
        self._names: dict[str, str] = {}  # name by pointer
        self._definitions: dict[tuple[str, Direction], Converted] = {}
        self._inline: dict[tuple[int, Direction], tuple[Any, Converted]] = {}
        self._carried = 0
        self._closures: dict[tuple[Direction, tuple[str, ...]], Mapping[str, Any]] = {}
        self._same: dict[frozenset[tuple[str, bool]], Mapping[str, Any]] = {}
        self._links: dict[str, dict[str, Kind]] = {}
        self._reached: dict[tuple[str, Kind], frozenset[str] | None] = {}
        self._composed = self._composing()

    def convert(self, raw: Any, direction: Direction) -> Converted:
        """A schema as an operation has it, with references to definitions by name."""
        key = (id(raw), direction)
        if key not in self._inline:
            # The schema is kept beside what became of it: only so is its identity its own.
            self._inline[key] = (raw, self._convert(raw, direction, None, _ROOM[direction]))
        return self._inline[key][1]

    def inlined(self, converted: Converted, direction: Direction) -> Converted:
        """The same with its own reference replaced, if that leads to a scalar: the gate looks at it then."""
        name = str(converted.schema.get("$ref", "")).rpartition("/")[2]
        if not name or name not in converted.references:
            return converted
        definition = self._definition(name, direction)
        plain = not definition.references and {"properties", "items", "allOf", "anyOf"}.isdisjoint(
            definition.schema
        )
        if not plain:
            return converted
        beside = {word: value for word, value in converted.schema.items() if word != "$ref"}
        left = tuple(other for other in converted.references if other != name)
        return Converted({**definition.schema, **beside}, left, definition.size + converted.size)

    def carried(self, references: Iterable[str], direction: Direction) -> Mapping[str, Any]:
        """The `$defs` for a schema that refers to these names, everything they lead to included."""
        key = (direction, tuple(sorted(set(references))))
        if key not in self._closures:
            self._closures[key] = self._closure(key[1], direction)
        return self._closures[key]

    def _closure(self, references: tuple[str, ...], direction: Direction) -> Mapping[str, Any]:
        taken: dict[str, bool] = {}  # whether it is carried whole
        room = _BUDGET[direction]
        level: list[str] = list(references)
        steps = 0
        while level:
            below: list[str] = []
            for name in level:
                if name in taken:
                    continue
                near = steps < _MAX_STEPS[direction] and self._carried < _MAX_CARRIED
                definition = self._definition(name, direction) if near else None
                fits = (
                    definition is not None
                    and definition.size <= room
                    and len(taken) + len(definition.references) <= _MAX_NAMED
                )
                taken[name] = fits
                if definition is not None and fits:
                    room -= definition.size
                    below += definition.references
            level, steps = below, steps + 1
        members = frozenset(taken.items())
        if members not in self._same:
            self._carried += len(taken)
            self._same[members] = {
                name: self._definition(name, direction).schema if whole else _CUT
                for name, whole in taken.items()
            }
        return self._same[members]

    def _definition(self, name: str, direction: Direction) -> Converted:
        pointer = self._named[name]
        key = (pointer, direction)
        if key not in self._definitions:
            raw = self._references.lookup(pointer)
            self._definitions[key] = self._convert(raw, direction, pointer, _DEFINITION_ROOM)
        return self._definitions[key]

    def _convert(self, raw: Any, direction: Direction, owner: str | None, room: int) -> Converted:
        conversion = Conversion(self, direction, owner, room)
        made = conversion.convert(raw)
        return Converted(made, tuple(conversion.references), len(json.dumps(made, ensure_ascii=False)))

    # What a conversion asks for.

    def refer(self, reference: str, owner: str | None, kind: Kind | None) -> str | None:
        """The name of the definition a reference leads to; None if there is none, or it leads back here.

        A circle of references that all look at one place would have a validator go round without end.
        It is opened at an `allOf` or a plain reference if it has one, else at its `anyOf`.
        """
        pointer = self._references.target(reference)
        if pointer is None:
            return None
        if owner is not None and kind is not None:
            reached = self._reach(pointer, "all" if kind == "all" else "any")
            if reached is None or owner in reached:
                return None
        return self._name(pointer)

    def hidden(self, schema: Any, direction: Direction) -> bool:
        """Whether a property is `readOnly` in what is sent, or `writeOnly` in what comes back."""
        word = "readOnly" if direction == "input" else "writeOnly"
        if not isinstance(schema, Mapping):
            return False
        if schema.get(word) is True:
            return True
        found = self._references.resolve(schema) if "$ref" in schema else None
        return found is not None and found.get(word) is True

    def shares_its_place(self, owner: str | None) -> bool:
        """Whether the definition is one part of an `allOf`, so that it cannot speak of all properties."""
        return owner in self._composed

    def _composing(self) -> frozenset[str]:
        found: set[str] = set()
        for schema in self._schemas.values():
            parts = schema.get("allOf") if isinstance(schema, Mapping) else None
            if isinstance(parts, list) and (len(parts) > 1 or "properties" in schema):
                named = [part.get("$ref") for part in parts[:200] if isinstance(part, Mapping)]
                targets = [self._references.target(each) for each in named if isinstance(each, str)]
                found.update(filter(None, targets))
        return frozenset(found)

    def _reach(self, pointer: str, kind: Kind) -> frozenset[str] | None:
        """All definitions that look at the same place as this one; None when they are too many."""
        key = (pointer, kind)
        if key not in self._reached:
            seen = {pointer}
            waiting = [pointer]
            while waiting and len(seen) <= _MAX_REACH:
                for target, how in self._linked(waiting.pop()).items():
                    if target not in seen and (kind == "all" or how == "any"):
                        seen.add(target)
                        waiting.append(target)
            self._reached[key] = frozenset(seen) if len(seen) <= _MAX_REACH else None
        return self._reached[key]

    def _linked(self, pointer: str) -> dict[str, Kind]:
        if pointer not in self._links:
            found: dict[str, Kind] = {}
            waiting: list[tuple[Any, Kind]] = [(self._references.lookup(pointer), "all")]
            for _ in range(1_000):
                if not waiting:
                    break
                schema, kind = waiting.pop()
                if not isinstance(schema, Mapping):
                    continue
                reference = schema.get("$ref")
                target = self._references.target(reference) if isinstance(reference, str) else None
                if target is not None:
                    found[target] = "any" if "any" in (kind, found.get(target, kind)) else "all"
                waiting += [(part, kind) for part in _listed(schema, "allOf")]
                waiting += [(part, "any") for word in ("anyOf", "oneOf") for part in _listed(schema, word)]
            self._links[pointer] = found
        return self._links[pointer]

    def _name(self, pointer: str) -> str:
        """The name of a definition: the same whatever else the document holds, as far as can be."""
        if pointer not in self._names:
            steps = tokens(pointer)
            component = len(steps) == 3 and steps[:2] == ["components", "schemas"]
            telling = steps[2:] if component else [step for step in steps if step not in _GENERIC]
            spelled = "_".join(telling)
            name = re.sub(r"[^A-Za-z0-9_.-]+", "_", spelled).strip("_")[-_MAX_NAME:] or "Schema"
            if (not component or name != spelled) and (name in self._schemas or name in self._named):
                name = f"{name}_{digest(pointer)}"
            if self._named.get(name, pointer) != pointer:
                name = f"{name}_{digest(pointer)}"
            self._named[name] = pointer
            self._names[pointer] = name
        return self._names[pointer]


def _listed(schema: Mapping[str, Any], word: str) -> list[Any]:
    found = schema.get(word)
    return found[:200] if isinstance(found, list) else []
