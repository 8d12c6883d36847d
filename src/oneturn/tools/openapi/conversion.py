"""One schema of an OpenAPI document as JSON Schema 2020-12 that the gate and the signatures understand.

Only words that *narrow* a value are taken over, and only in places where leaving one out accepts
more. So whatever is left out or cut (a pattern that does not compile, a part that is too deep or too
large, a foreign reference) never refuses what the API would take: the API itself has the last word.
For the same reason `oneOf` becomes `anyOf`, since branches in real documents overlap, and `not` and
`if` are dropped. OpenAPI's own words (`nullable`, `discriminator`, `example`, `xml`) are translated
or left out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeGuard

import jsonschema_rs

Direction = Literal["input", "output"]
"""Whether a schema is of what is sent (without `readOnly` parts) or comes back (without `writeOnly`)."""

Kind = Literal["all", "any"]
"""How a reference looks at the same place as the schema it stands in: always, or as one of several."""

BINARY_MEDIA = ("application/octet-stream", "image/", "audio/", "video/")
"""How media types begin whose content is bytes."""

_MAX_DEPTH = 60  # lists and objects inside one another; a catalog takes 100
_MAX_DESCRIPTION = {"input": 600, "output": 200}
_MAX_LITERAL = 2_000  # characters of one default or constant
_MAX_BRANCHES = 200
_MAX_NUMBER = 1e300
_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_NUMBERS = ("minimum", "maximum")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_TEXTS = ("format", "contentEncoding", "contentMediaType")
_ANY_TEXT = frozenset({".*", "^.*$", "[\\s\\S]*", "^[\\s\\S]*$", ".*\\S.*|", "(?s).*"})
_PATTERNS = jsonschema_rs.FancyRegexOptions(size_limit=100_000, backtrack_limit=1_000)
_MAX_PATTERN = 1_000  # characters


class Context(Protocol):
    """What a conversion asks of the document around it."""

    def refer(self, reference: str, owner: str | None, kind: Kind | None) -> str | None:
        """The name of the definition a reference leads to; None if it must be cut."""
        ...

    def hidden(self, schema: Any, direction: Direction) -> bool:
        """Whether a property is not there in this direction."""
        ...

    def shares_its_place(self, owner: str | None) -> bool:
        """Whether other schemas look at the same object as this definition does, through `allOf`."""
        ...


def cut(why: str) -> dict[str, Any]:
    """A schema that accepts anything, and says why."""
    return {"description": f"(cut: {why})"}


class Conversion:
    """Converts one schema; `references` then holds the names of the definitions it needs, in order.

    Args:
        context: The document around it.
        direction: Whether it is sent or comes back.
        owner: The pointer of the definition that is converted, None for a schema in an operation.
        room: Characters, roughly, after which the rest is cut.
    """

    def __init__(self, context: Context, direction: Direction, owner: str | None, room: int) -> None:
        self.references: dict[str, None] = {}
        self._context = context
        self._direction = direction
        self._owner = owner
        self._room = room

    def convert(
        self, raw: Any, depth: int = 0, kind: Kind | None = "all", hidden: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        """The schema `raw` as JSON Schema. `kind` is None below the place where the conversion began."""
        if raw is False:
            return {"not": {}}
        if not isinstance(raw, Mapping):
            return {}
        self._room -= 16
        if self._room < 0:
            return cut("the schema is too large")
        if depth > _MAX_DEPTH:
            return cut("nested too deep")
        made = self._scalars(raw)
        self._objects(raw, made, depth, hidden)
        self._arrays(raw, made, depth)
        self._branches(raw, made, depth, kind, hidden)
        reference = raw.get("$ref")
        if isinstance(reference, str):
            self._refer(reference, made, kind)
        if raw.get("nullable") is True:
            made = _nullable(made)
        return made

    def _refer(self, reference: str, made: dict[str, Any], kind: Kind | None) -> None:
        name = self._context.refer(reference, self._owner, kind)
        if name is None:
            made.setdefault("description", f"(cut: nothing usable at {reference[:100]})")
            return
        self.references[name] = None
        made["$ref"] = f"#/$defs/{name}"
        self._room -= len(name) + 20

    def _scalars(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        types = _types(raw.get("type"))
        if types:
            made["type"] = types[0] if len(types) == 1 else types
        description = raw.get("description")
        if isinstance(description, str) and description:
            made["description"] = shortened(description, _MAX_DESCRIPTION[self._direction])
            self._room -= len(made["description"])
        for word in _TEXTS:
            value = raw.get(word)
            if isinstance(value, str) and len(value) <= 100 and value != "regex":
                made[word] = value
        media = made.get("contentMediaType", "")
        raw_bytes = media.startswith(BINARY_MEDIA) and "contentEncoding" not in made
        if raw.get("type") == "file" or raw_bytes:
            made = {**made, "type": "string", "format": "binary"}
        _numbers(raw, made)
        for word in _COUNTS:
            value = raw.get(word)
            if _is_number(value) and 0 <= value < 2**53 and value == int(value):
                made[word] = int(value)
        if raw.get("uniqueItems") is True:
            made["uniqueItems"] = True
        if raw.get("deprecated") is True:
            made["deprecated"] = True
        pattern = raw.get("pattern")
        if isinstance(pattern, str) and usable_pattern(pattern):
            made["pattern"] = pattern
            self._room -= len(pattern)
        self._values(raw, made, types)
        return made

    def _values(self, raw: Mapping[str, Any], made: dict[str, Any], types: list[str]) -> None:
        choices = raw.get("enum")
        if isinstance(choices, list) and choices:
            size = sum(map(_literal_size, choices))
            if size <= max(self._room, 0) and size < math.inf:
                made["enum"] = _distinct([*choices, None] if raw.get("nullable") is True else choices)
                self._room -= int(size)
                if not all(_fits(choice, types) for choice in choices):
                    made.pop("type", None)  # the type and the choices contradict each other
        if "const" in raw and _literal_size(raw["const"]) <= _MAX_LITERAL:
            made["const"] = raw["const"]
        if (
            "default" in raw
            and _literal_size(raw["default"]) <= _MAX_LITERAL
            and _fits(raw["default"], types)
        ):
            made["default"] = raw["default"]

    def _objects(
        self, raw: Mapping[str, Any], made: dict[str, Any], depth: int, hidden: frozenset[str]
    ) -> None:
        shown: dict[str, Any] = {}
        declared = raw.get("properties")
        if isinstance(declared, Mapping):
            for name, part in declared.items():
                if not isinstance(name, str):
                    continue
                if self._context.hidden(part, self._direction):
                    hidden |= {name}
                    continue
                if self._room < 0:
                    break
                self._room -= len(name) + 4
                shown[name] = self.convert(part, depth + 2, None)
            made["properties"] = shown
        needed = raw.get("required")
        if isinstance(needed, list):
            names = [name for name in needed if isinstance(name, str) and name not in hidden]
            if names and sum(map(len, names)) <= max(self._room, 0):
                made["required"] = list(dict.fromkeys(names))
        patterns = raw.get("patternProperties")
        if isinstance(patterns, Mapping):
            usable = {key: part for key, part in patterns.items() if usable_pattern(key)}
            if len(usable) == len(patterns):  # without one of them, `additionalProperties` would say too much
                made["patternProperties"] = {
                    key: self.convert(part, depth + 2, None) for key, part in usable.items()
                }
        others = raw.get("additionalProperties")
        if others is False:
            cannot = "patternProperties" in raw or "allOf" in raw or "$ref" in raw or self._room < 0
            if not cannot and not self._context.shares_its_place(self._owner):
                made["additionalProperties"] = False
        elif isinstance(others, Mapping) and ("patternProperties" in made or "patternProperties" not in raw):
            made["additionalProperties"] = self.convert(others, depth + 1, None)
        elif others is True:
            made["additionalProperties"] = True

    def _arrays(self, raw: Mapping[str, Any], made: dict[str, Any], depth: int) -> None:
        first = raw.get("prefixItems")
        if isinstance(first, list) and 0 < len(first) <= _MAX_BRANCHES:
            made["prefixItems"] = [self.convert(part, depth + 2, None) for part in first]
        items = raw.get("items")
        if isinstance(items, Mapping) and ("prefixItems" in made or "prefixItems" not in raw):
            made["items"] = self.convert(items, depth + 1, None)

    def _branches(
        self,
        raw: Mapping[str, Any],
        made: dict[str, Any],
        depth: int,
        kind: Kind | None,
        hidden: frozenset[str],
    ) -> None:
        every = raw.get("allOf")
        if isinstance(every, list) and every:
            below = hidden | self._hidden_in(every)
            made["allOf"] = [self.convert(part, depth + 2, kind, below) for part in every[:_MAX_BRANCHES]]
            for part in made["allOf"]:
                if part.get("additionalProperties") is False:
                    del part["additionalProperties"]
        options: list[list[dict[str, Any]]] = []
        for word in ("anyOf", "oneOf"):
            some = raw.get(word)
            if isinstance(some, list) and 0 < len(some) <= _MAX_BRANCHES:
                at: Kind | None = "any" if kind else None
                options.append([self.convert(part, depth + 2, at, hidden) for part in some])
        if options:
            made["anyOf"] = options[0]
        if len(options) > 1:
            made["allOf"] = [*made.get("allOf", ()), {"anyOf": options[1]}]

    def _hidden_in(self, parts: list[Any]) -> frozenset[str]:
        """Names that one part of an `allOf` hides and another may still call required."""
        return frozenset(
            name
            for part in parts[:_MAX_BRANCHES]
            if isinstance(part, Mapping) and isinstance(part.get("properties"), Mapping)
            for name, schema in part["properties"].items()
            if isinstance(name, str) and self._context.hidden(schema, self._direction)
        )


def shortened(text: str, limit: int) -> str:
    """The first `limit` characters, with a sign that there was more."""
    return text if len(text) <= limit else f"{text[:limit]}…"


@functools.lru_cache(maxsize=10_000)
def usable_pattern(pattern: object) -> bool:
    """Whether a pattern says anything and can be matched quickly."""
    if not isinstance(pattern, str) or len(pattern) > _MAX_PATTERN or pattern in _ANY_TEXT:
        return False
    try:
        jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=_PATTERNS)
    except ValueError:  # one that does not compile, is too large, or is no Unicode
        return False
    return True


def _types(declared: Any) -> list[str]:
    """The JSON types a schema names; none when it names one that does not exist."""
    found = declared if isinstance(declared, list) else [declared]
    types = [name for name in found[:10] if isinstance(name, str)]
    return list(dict.fromkeys(types)) if _TYPES.issuperset(types) and len(types) == len(found) else []


def _numbers(raw: Mapping[str, Any], made: dict[str, Any]) -> None:
    for word in _NUMBERS:
        value, beyond = raw.get(word), raw.get(f"exclusive{word.capitalize()}")
        if _is_number(value):
            made[f"exclusive{word.capitalize()}" if beyond is True else word] = value
        if _is_number(beyond):
            made[f"exclusive{word.capitalize()}"] = beyond
    step = raw.get("multipleOf")
    if _is_number(step) and step >= 1e-9:
        made["multipleOf"] = step


def _is_number(value: Any) -> TypeGuard[int | float]:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < _MAX_NUMBER  # which NaN is not either
    )


def _nullable(made: dict[str, Any]) -> dict[str, Any]:
    types = made.get("type")
    if not {"$ref", "allOf", "anyOf", "const"} & made.keys():
        if types is None:
            return made
        listed = types if isinstance(types, list) else [types]
        return {**made, "type": list(dict.fromkeys([*listed, "null"]))}
    spoken = ("description", "default", "deprecated")
    outside: dict[str, Any] = {word: made.pop(word) for word in spoken if word in made}
    return {**outside, "anyOf": [made, {"type": "null"}]}


def _literal_size(value: Any, depth: int = 0) -> float:
    """Characters of a plain JSON value; infinite when it is none, or nested too deep."""
    if value is None or isinstance(value, bool):
        return 5
    if isinstance(value, int | float):
        return 20 if _is_number(value) else math.inf
    if isinstance(value, str):
        return len(value) + 2
    if depth > 10:
        return math.inf
    if isinstance(value, list):
        return 2 + sum(_literal_size(part, depth + 1) for part in value)
    if isinstance(value, Mapping):
        return 2 + sum(len(key) + 4 + _literal_size(part, depth + 1) for key, part in value.items())
    return math.inf


def _distinct(values: list[Any]) -> list[Any]:
    """Without repetitions; 1, 1.0 and True are three values."""
    return list({(type(value), repr(value)): value for value in values}.values())


def _fits(value: Any, types: list[str]) -> bool:
    """Whether a default is of a declared type, so that a signature does not show nonsense."""
    if not types or value is None:
        return True
    if isinstance(value, bool):
        return "boolean" in types
    if isinstance(value, int):
        return bool({"integer", "number"} & set(types))
    kinds = {str: "string", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value), "") in types
