"""From JSON Schema to Python types: type expressions, and the named shapes they refer to.

Objects with properties become named shapes, found breadth-first, so a recursive schema ends where
its name comes up again. The schema comes from a stranger: steps, shapes, branches and lengths are
capped, and whatever lies beyond a cap, or is not understood, gets a *wider* type, never a narrower
one. A value the schema accepts is always a value of the type.

A type expression is a text with marks in it, because the same expression is written in different
ways: `BUILTIN` and `TYPING` stand before names of those modules, and the name of a shape stands
between two `SHAPE`. No schema can forge a mark: text of a schema gets in only as an escaped literal.
"""

from __future__ import annotations

import builtins
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ...errors import ToolDefinitionError
from ..names import identifier
from ..schema import properties, required, resolve, types
from ..text import quoted

BUILTIN, TYPING, SHAPE = "\x01", "\x02", "\x03"
ANY = f"{TYPING}Any"
ANY_DICT = f"{BUILTIN}dict[{BUILTIN}str, {ANY}]"
TYPING_WORDS = ("Any", "Literal", "NotRequired", "Required", "TypedDict")
BUILTIN_WORDS = ("bool", "bytes", "dict", "float", "int", "list", "str")
WORDS = frozenset({*TYPING_WORDS, *BUILTIN_WORDS})
"""Names that type expressions use: another thing of such a name hides them."""

_MAX_STEPS = 3_000  # schema nodes looked at in one schema
_PARTS_PER_STEP = 16  # a node of very many parts takes more than one step
_MAX_SHAPES = 200
_MAX_LEVEL = 16  # lists and unions inside one another, between two shapes
_MAX_BRANCHES = 40
_MAX_KEYS = 1_000  # of one shape
_MAX_WORDS = 100  # schema words of one node
_MAX_EXPRESSION = 2_000
_MAX_CHOICES = 80  # values of one Literal
_MAX_CHOICES_TEXT = 1_000
_MAX_CHOICE = 200  # characters of one value
_SCALARS = {
    "string": f"{BUILTIN}str",
    "integer": f"{BUILTIN}int",
    "number": f"{BUILTIN}float",
    "boolean": f"{BUILTIN}bool",
    "null": "None",
}
_BASE64 = ("byte", "base64", "base64url")
_SHAPING = frozenset(
    {"type", "properties", "items", "prefixItems", "additionalProperties", "enum", "const"}
    | {"anyOf", "oneOf", "allOf", "$ref"}
)
_NOT_SIMPLE = (_SHAPING - {"type"}) | {"nullable", "format", "contentEncoding"}
_TAKEN = frozenset(dir(builtins)) | WORDS

Members = tuple[str, ...]
"""The members of a union as expressions, each once; never empty."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a shape. `schema` is what the source says about it, for comments."""

    name: str
    type: str
    required: bool
    schema: Mapping[str, Any] = field(compare=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shape:
    """An object with known keys. `open`: others are allowed on purpose; `closed`: they are ruled out.

    Most schemas say neither, and then other keys may be there all the same.
    """

    keys: tuple[Key, ...]
    open: bool = False
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: `name` as a script spells it, `original` as the schema does."""

    name: str
    original: str
    type: str
    required: bool
    schema: Mapping[str, Any] = field(compare=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a tool takes. `others` is the type of further named arguments, None when it takes none."""

    parameters: tuple[Parameter, ...]
    others: str | None
    shapes: Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Typed:
    """The type of a value, and the shapes it refers to, those nearest to it first."""

    type: str
    shapes: Mapping[str, Shape]


def value_type(schema: Mapping[str, Any], hint: str) -> Typed:
    """The type of values of `schema`; `hint` names its outermost shape when the schema does not."""
    reader = _Reader(schema)
    found = reader.expression(schema, hint)
    reader.finish()
    return Typed(found, reader.shapes)


def argument_types(schema: Mapping[str, Any]) -> Arguments:
    """The types of the parameters of a tool with this input schema, in the order of the schema."""
    reader = _Reader(schema, sends=True)
    needed = required(schema)
    parameters: list[Parameter] = []
    for original, declared in properties(schema).items():
        try:
            name = identifier(original)
        except ToolDefinitionError:
            continue  # such a tool never gets into a catalog
        kind = reader.expression(declared, camel(original))
        parameters.append(Parameter(name, original, kind, original in needed, resolve(declared, schema)))
    root = resolve(schema, schema)
    extra = root.get("additionalProperties")
    others = reader.expression(extra, "Other") if extra else None
    reader.finish()
    if root.get("patternProperties"):
        others = ANY
    return Arguments(tuple(parameters), others, reader.shapes)


def references(expression: str) -> list[str]:
    """The names of the shapes an expression refers to."""
    return expression.split(SHAPE)[1::2]


def camel(text: str) -> str:
    """`simple-user` as a class name: `SimpleUser`. Empty when there is no letter or digit in it."""
    words = re.findall(r"[A-Za-z0-9]+", text[:200])
    name = "".join(word[:1].upper() + word[1:] for word in words)[:48]
    return f"N{name}" if name[:1].isdigit() else name


def _singular(text: str) -> str:
    if text.endswith("ies") and len(text) > 4:
        return f"{text[:-3]}y"
    return text[:-1] if re.search(r"[^siu]s$", text) and len(text) > 3 else text


class _Reader:
    """Reads one schema. `sends` is set for arguments, where text and bytes may stand for one another."""

    def __init__(self, root: Mapping[str, Any], *, sends: bool = False) -> None:
        self.root = root
        self.sends = sends
        self.steps = _MAX_STEPS
        self.shapes: dict[str, Shape] = {}
        self.names: set[str] = set()
        self.waiting: deque[tuple[str, Mapping[str, Any]]] = deque()
        self.known: dict[str, Members] = {}  # by reference
        # Both by identity, so the schemas are kept: what merges itself by way of a reference ends here.
        self.merged: dict[int, tuple[Mapping[str, Any], Members]] = {}
        self.flattened: dict[int, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
        self.open: set[str] = set()  # references being read: meeting one again is recursion

    def expression(self, schema: object, hint: str) -> str:
        return _join(self.members(schema, hint, 0))

    def finish(self) -> None:
        """Read the shapes that expressions named, and those that these name."""
        while self.waiting:
            name, schema = self.waiting.popleft()
            self.shapes[name] = self.keys(name, schema)

    def members(self, schema: object, hint: str, level: int) -> Members:
        self.steps -= 1
        if self.steps < 0 or level > _MAX_LEVEL or not isinstance(schema, Mapping):
            return (ANY,)
        reference = schema.get("$ref")
        if reference is None and "allOf" not in schema:
            return self.kinds(schema, hint, level)
        if not isinstance(reference, str) or not _SHAPING.isdisjoint(schema.keys() - {"$ref"}):
            if id(schema) not in self.merged:
                self.merged[id(schema)] = (schema, self.kinds(self.flat(schema), hint, level))
            return self.merged[id(schema)][1]
        if reference not in self.known:
            if reference in self.open:
                return (ANY,)  # recursion with no object on the way, which has no name to stop at
            self.open.add(reference)
            target = self.flat({"$ref": reference})
            self.known[reference] = self.kinds(target, camel(reference.rpartition("/")[2]) or hint, level)
            self.open.discard(reference)
        found = self.known[reference]
        return _union([*found, "None"]) if schema.get("nullable") is True else found

    def flat(self, schema: object, depth: int = 0) -> Mapping[str, Any]:
        """The schema with its `$ref` followed and its `allOf` merged into it."""
        self.steps -= 1
        if self.steps < 0 or depth > _MAX_LEVEL or not isinstance(schema, Mapping):
            return {}
        if "$ref" not in schema and "allOf" not in schema:
            return schema
        if id(schema) in self.flattened:
            return self.flattened[id(schema)][1]
        own = {word: schema[word] for word in islice(schema, _MAX_WORDS) if word not in ("$ref", "allOf")}
        parts: list[Mapping[str, Any]] = [own]
        if isinstance(schema.get("$ref"), str):
            parts.append(self.flat(resolve({"$ref": schema["$ref"]}, self.root), depth + 1))
        merged = schema.get("allOf")
        if isinstance(merged, list | tuple):
            parts += [self.flat(part, depth + 1) for part in merged[:_MAX_BRANCHES]]
        found = parts[1] if not own and len(parts) == 2 else self.merge(parts)
        self.flattened[id(schema)] = (schema, found)
        return found

    def merge(self, parts: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
        """One schema that accepts at least what all of `parts` accept together."""
        together: dict[str, Any] = {}
        keys: dict[str, Any] = {}
        needed: list[Any] = []
        for part in parts:
            self.charge(part)
            if self.steps < 0:
                return {}
            for word in islice(part, _MAX_WORDS):
                value = part[word]
                if word == "properties" and isinstance(value, Mapping):
                    for name, inner in value.items():
                        both = name in keys and keys[name] is not inner
                        keys[name] = {"allOf": [keys[name], inner]} if both else inner
                elif word == "required" and isinstance(value, list | tuple):
                    needed += value
                elif word == "type" and "type" in together:
                    together["type"] = _common(together["type"], value)
                elif word == "additionalProperties" and value is False:
                    together[word] = False
                else:
                    together.setdefault(word, value)
        if keys:
            together["properties"] = keys
        return {**together, "required": needed} if needed else together

    def charge(self, schema: Mapping[str, Any]) -> None:
        """Take steps for what is copied or walked as a whole."""
        self.steps -= len(schema) // _PARTS_PER_STEP
        for word in ("properties", "required", "enum"):
            part = schema.get(word)
            if isinstance(part, Mapping | list | tuple):
                self.steps -= len(part) // _PARTS_PER_STEP

    def kinds(self, schema: Mapping[str, Any], hint: str, level: int) -> Members:
        """The members for a schema without references of its own."""
        named = schema.get("type")
        if isinstance(named, str) and named in _SCALARS and _NOT_SIMPLE.isdisjoint(schema):
            return (_SCALARS[named],)  # by far the most schemas are this
        self.charge(schema)
        title = schema.get("title")
        if isinstance(title, str) and level == 0 and hint.endswith("Result"):
            hint = camel(title) or hint
        found: list[str] = []
        choices = [schema["const"]] if "const" in schema else schema.get("enum")
        branches = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(choices, list | tuple) and choices:
            found += _choices(choices)
        elif isinstance(branches, list | tuple) and branches:
            found += self.any_of(schema, branches, hint, level)
        else:
            for kind in types(schema):
                found += self.one(kind, schema, hint, level)
        if schema.get("nullable") is True and found:
            found.append("None")
        return _union(found)

    def any_of(
        self, schema: Mapping[str, Any], branches: list[Any] | tuple[Any, ...], hint: str, level: int
    ) -> Iterable[str]:
        if len(branches) > _MAX_BRANCHES:
            return [ANY]
        word = "anyOf" if schema.get("anyOf") else "oneOf"
        base = {key: schema[key] for key in islice(schema, _MAX_WORDS) if key != word}
        alone = _SHAPING.isdisjoint(base)
        found: list[str] = []
        only_base: Members | None = None
        for branch in branches:
            if alone:
                found += self.members(branch, hint, level + 1)
                continue
            inner = self.flat(branch)
            if _SHAPING.isdisjoint(inner):  # a condition, such as which keys must be there
                only_base = only_base or self.kinds(base, hint, level + 1)
                found += only_base
            else:
                found += self.kinds(self.merge([base, inner]), hint, level + 1)
        return found

    def one(self, kind: str, schema: Mapping[str, Any], hint: str, level: int) -> Members:
        if kind == "object":
            return (self.object(schema, hint, level),)
        if kind == "array":
            inner = _join(self.items(schema, hint, level))
            return (f"{BUILTIN}list[{inner}]",)
        if kind == "string" and schema.get("format") == "binary":
            return (f"{BUILTIN}bytes", f"{BUILTIN}str") if self.sends else (f"{BUILTIN}bytes",)
        is_base64 = schema.get("contentEncoding") == "base64" or schema.get("format") in _BASE64
        if kind == "string" and self.sends and is_base64:
            return (f"{BUILTIN}str", f"{BUILTIN}bytes")
        return (_SCALARS.get(kind, ANY),)

    def items(self, schema: Mapping[str, Any], hint: str, level: int) -> Members:
        """What a list holds. A tuple is a list here: that is what a script gets, and may change."""
        hint = _singular(hint)
        items, places = schema.get("items"), schema.get("prefixItems")
        if isinstance(items, list | tuple):  # how older drafts write `prefixItems`
            items, places = schema.get("additionalItems"), items
        if not isinstance(places, list | tuple) or not places:
            return self.members(items, hint, level + 1)
        if len(places) > _MAX_BRANCHES:
            return (ANY,)
        found = [member for place in places for member in self.members(place, hint, level + 1)]
        most = schema.get("maxItems")
        if items is not False and not (isinstance(most, int) and most <= len(places)):
            found += self.members(items, hint, level + 1)
        return _union(found)

    def object(self, schema: Mapping[str, Any], hint: str, level: int) -> str:
        shown = schema.get("properties")
        if isinstance(shown, Mapping) and 0 < len(shown) <= _MAX_KEYS and len(self.names) < _MAX_SHAPES:
            name = self.name(hint)
            self.waiting.append((name, schema))
            return f"{SHAPE}{name}{SHAPE}"
        values = schema.get("additionalProperties")
        if shown or schema.get("patternProperties") or not isinstance(values, Mapping):
            return ANY_DICT
        return f"{BUILTIN}dict[{BUILTIN}str, {_join(self.members(values, _singular(hint), level + 1))}]"

    def keys(self, owner: str, schema: Mapping[str, Any]) -> Shape:
        listed = schema.get("required")
        needed = (
            [name for name in listed if isinstance(name, str)] if isinstance(listed, list | tuple) else []
        )
        wanted = frozenset(needed)  # both may be long
        open_to_others = bool(schema.get("additionalProperties")) or bool(schema.get("patternProperties"))
        keys: dict[str, Key] = {}
        for name, part in schema["properties"].items():
            if not isinstance(name, str):
                continue
            inner = camel(name)
            unused = inner and self.names.isdisjoint((inner, _singular(inner)))
            hint = inner if unused else f"{owner}{inner}"
            about = resolve(part, self.root) if self.steps > 0 else {}
            keys[name] = Key(name, self.expression(part, hint), name in wanted, about)
        for name in islice(needed, _MAX_KEYS):
            keys.setdefault(name, Key(name, ANY, True))
        closed = schema.get("additionalProperties") is False and not open_to_others
        return Shape(tuple(keys.values()), open_to_others, closed)

    def name(self, hint: str) -> str:
        base = hint or "Shape"
        name, count = f"{base}Shape" if base in _TAKEN else base, 2
        while name in self.names:
            name, count = f"{base}{count}", count + 1
        self.names.add(name)
        return name


def _common(one: object, other: object) -> object:
    """The types two schemas both allow; what the first allows when that is none."""
    ones, others = (
        [each] if isinstance(each, str) else list(each) if isinstance(each, list | tuple) else []
        for each in (one, other)
    )
    common = [kind for kind in ones if kind in others or (kind == "integer" and "number" in others)]
    if "number" in ones and "integer" in others and "integer" not in common:
        common.append("integer")
    return common or one


def _choices(values: list[Any] | tuple[Any, ...]) -> list[str]:
    """`Literal[...]` of the values a Literal may hold, and the types of the others."""
    texts: dict[str, None] = {}
    rest: dict[str, None] = {}
    for value in values[: _MAX_CHOICES + 1]:
        if isinstance(value, str) and len(value) <= _MAX_CHOICE:
            texts[quoted(value, 2 * _MAX_CHOICE)] = None
        elif isinstance(value, bool) or (isinstance(value, int) and value.bit_length() < 64):
            texts[repr(value)] = None
        else:
            rest[_of_value(value)] = None
    listed = ", ".join(texts)
    if len(values) > _MAX_CHOICES or len(listed) > _MAX_CHOICES_TEXT:
        return list(dict.fromkeys(_of_value(value) for value in values[:10_000])) + (
            [ANY] if len(values) > 10_000 else []
        )
    return [*([f"{TYPING}Literal[{listed}]"] if texts else []), *rest]


def _of_value(value: object) -> str:
    if isinstance(value, str | bool | int | float):
        kinds = {str: "str", bool: "bool", int: "int"}
        return f"{BUILTIN}{kinds.get(type(value), 'float')}"
    if isinstance(value, Mapping):
        return ANY_DICT
    return "None" if value is None else f"{BUILTIN}list[{ANY}]"


def _union(found: Iterable[str]) -> Members:
    kinds = list(dict.fromkeys(found))
    if not kinds or ANY in kinds:
        return (ANY,)
    if "None" in kinds:
        kinds.remove("None")
        kinds.append("None")
    return tuple(kinds) if sum(map(len, kinds)) <= _MAX_EXPRESSION else (ANY,)


def _join(members: Members) -> str:
    text = " | ".join(members)
    return text if len(text) <= _MAX_EXPRESSION else ANY
