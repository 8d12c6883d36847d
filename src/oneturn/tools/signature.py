"""How a tool looks to whoever writes a script: one line to copy, and the type of what it gives.

JSON Schema becomes Python type text. The reader is a model with a bounded context and the schema
comes from a stranger, so every part is capped: depth, length, and the steps taken for one tool
together. What is too deep or too long is named by its outer type (`dict`, `list`), what is past the
last step is `Any`; nothing is dropped silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ToolDefinitionError
from ..types import Tool
from .names import identifier
from .schema import properties, required, resolve, types
from .text import quoted

__all__ = ["MAX_SIGNATURE", "return_type", "signature"]

MAX_SIGNATURE = 1_200
"""Characters of a signature beyond the tool's own name."""

_MAX_TYPE = 160  # characters of one nested object or Literal
_MAX_NESTING = 3  # objects inside objects
_MAX_STEPS = 1_000  # schema nodes looked at for all parameters of a tool, and again for its result
_PARTS_PER_STEP = 16  # a schema node of very many parts takes more than one step
_MAX_BRANCHES = 20
_MAX_SCALAR = 300  # characters of one value
_MAX_KEPT = 16_384  # signatures
_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def signature(tool: Tool) -> str:
    """One line a script can copy: `await tools.github.create_issue(title: str) -> {number: int}`.

    A parameter that may be left out has a default, `None` when the schema states none.
    Parameters that do not fit in `MAX_SIGNATURE` characters are shown as `...`. Written once per
    tool and kept.
    """
    kept = _kept.get(id(tool))
    if kept is not None and kept[0] is tool:
        return kept[1]
    line = _signature(tool)
    if len(_kept) >= _MAX_KEPT:
        _kept.clear()
    _kept[id(tool)] = (tool, line)
    return line


_kept: dict[int, tuple[Tool, str]] = {}  # by identity, since a tool cannot be hashed


def _signature(tool: Tool) -> str:
    returns = return_type(tool)
    room = MAX_SIGNATURE - len(returns) - 40
    parts: list[str] = []
    optional_seen = False
    writer = _Writer(tool.input_schema)
    for parameter in _parameters(tool, writer):
        if parameter.default is not None:
            optional_seen = True
        elif optional_seen and "*" not in parts:
            parts.append("*")  # Python wants what is required first; by name any order works
        room -= len(parameter.text) + 2
        if room < 0:
            parts.append("...")
            break
        parts.append(parameter.text)
    extra = resolve(tool.input_schema, tool.input_schema).get("additionalProperties")
    if extra and room > _MAX_TYPE:
        parts.append(f"**others: {writer.text(extra)}"[:_MAX_TYPE])
    return f"await tools.{tool.name}({', '.join(parts)}) -> {returns}"


def return_type(tool: Tool) -> str:
    """Python type text of what a call gives: `Any` when the tool declares no shape."""
    if tool.results == "text":
        return "str"
    if tool.output_schema is None:
        return "Any"
    return _Writer(tool.output_schema).text(tool.output_schema)


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One parameter as shown. `default` is its text, None for a required one."""

    name: str
    type: str
    default: str | None

    @property
    def text(self) -> str:
        shown = f"{self.name}: {self.type}"
        return shown if self.default is None else f"{shown} = {self.default}"


def _parameters(tool: Tool, writer: _Writer) -> Iterator[_Parameter]:
    """The parameters in order, each worked out when it is asked for."""
    needed = required(tool.input_schema)
    for original, declared in properties(tool.input_schema).items():
        try:
            name = identifier(original)
        except ToolDefinitionError:
            return  # such a tool never gets into a catalog
        kind = writer.text(declared)
        default = None if original in needed else _default(resolve(declared, tool.input_schema))
        if default == "None" and kind != "Any" and "None" not in kind.split(" | "):
            kind = f"{kind} | None"
        yield _Parameter(name, kind, default)


def _default(schema: Mapping[str, Any]) -> str:
    value = schema.get("default")
    if value is None or isinstance(value, str | int | float):
        shown = _scalar(value)
        return shown if len(shown) <= 60 else "..."
    if value in ([], {}):
        return repr(value)
    return "..."


def _scalar(value: str | int | float | None) -> str:
    """A scalar as Python writes it; of a very long one only as much as shows that it is too long."""
    if isinstance(value, int) and value.bit_length() > 256:
        return "..."
    return quoted(value[:_MAX_SCALAR], _MAX_SCALAR) if isinstance(value, str) else repr(value)


def _literal(values: list[Any]) -> str:
    """`Literal[...]` of scalars, cut with `...` when long; empty when a value is no scalar."""
    shown: list[str] = []
    room = _MAX_TYPE
    for value in values:
        if not isinstance(value, str | int | float | None):
            return ""
        text = _scalar(value)
        room -= len(text) + 2
        if room < 0:
            shown.append("...")
            break
        shown.append(text)
    return f"Literal[{', '.join(shown)}]" if shown and shown != ["..."] else ""


@dataclass
class _Writer:
    """Writes type texts. `steps` bounds the work for all of them, whatever the schema looks like."""

    root: Mapping[str, Any]
    steps: int = _MAX_STEPS
    open: set[str] = field(default_factory=set)  # references being written: meeting one again is recursion

    def text(self, schema: object, nesting: int = 0, level: int = 0) -> str:
        self.steps -= 1
        if self.steps < 0 or level > 12 or not isinstance(schema, Mapping):
            return "Any"
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return self.resolved(schema, nesting, level)
        if reference in self.open:
            return re.sub(r"\W", "_", reference.rpartition("/")[2])[:60].strip("_") or "Any"
        self.open.add(reference)
        try:
            return self.resolved(resolve(schema, self.root), nesting, level)
        finally:
            self.open.discard(reference)

    def charge(self, schema: Mapping[str, Any]) -> None:
        """Take steps for what is copied or walked as a whole."""
        for part in (schema, schema.get("properties"), schema.get("required")):
            if isinstance(part, Mapping | list | tuple):
                self.steps -= len(part) // _PARTS_PER_STEP

    def resolved(self, schema: Mapping[str, Any], nesting: int, level: int) -> str:
        self.charge(schema)
        choices = [schema["const"]] if "const" in schema else schema.get("enum")
        if isinstance(choices, list) and (literal := _literal(choices)):
            return "None" if literal == "Literal[None]" else literal
        for word in ("anyOf", "oneOf"):
            branches = schema.get(word)
            if isinstance(branches, list) and branches:
                return self.union(
                    self.text(branch, nesting, level + 1) for branch in branches[:_MAX_BRANCHES]
                )
        merged = schema.get("allOf")
        if isinstance(merged, list) and merged:
            return self.all_of(schema, merged, nesting, level)
        kinds = types(schema)
        return self.union(self.one(kind, schema, nesting, level) for kind in kinds[:8]) if kinds else "Any"

    def all_of(self, schema: Mapping[str, Any], parts: list[Any], nesting: int, level: int) -> str:
        together: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
        shown, needed = dict(properties(together)), set(required(together))
        for part in parts[:_MAX_BRANCHES]:
            inner = resolve(part, self.root)
            self.charge(inner)
            if self.steps < 0:
                return "Any"
            together = {**inner, **together}
            shown.update(properties(inner))
            needed |= required(inner)
        if shown:
            together.update(properties=shown, required=sorted(needed))
        together.pop("$ref", None)
        return self.text(together, nesting, level + 1)

    def one(self, kind: str, schema: Mapping[str, Any], nesting: int, level: int) -> str:
        if kind == "object":
            return self.object(schema, nesting, level)
        if kind == "array":
            items = schema.get("items")
            if isinstance(items, Mapping):
                return self.inside("list", self.text(items, nesting, level + 1))
            places = schema.get("prefixItems")
            if isinstance(places, list) and places:
                return self.inside(
                    "list", self.union(self.text(each, nesting, level + 1) for each in places[:_MAX_BRANCHES])
                )
            return "list"
        if kind == "string" and schema.get("format") == "binary":
            return "bytes"
        return _SCALARS.get(kind, "Any")

    def object(self, schema: Mapping[str, Any], nesting: int, level: int) -> str:
        shown = schema.get("properties")
        if not isinstance(shown, Mapping) or not shown:
            values = schema.get("additionalProperties")
            if not isinstance(values, Mapping) or not values:
                return "dict"
            return self.inside("dict", self.text(values, nesting, level + 1))
        if nesting >= _MAX_NESTING:
            return "dict"
        needed = required(schema)
        parts: list[str] = []
        room = _MAX_TYPE
        for name, part in shown.items():
            key = name if isinstance(name, str) and name.isidentifier() else _scalar(str(name))
            parts.append(f"{key}{'' if name in needed else '?'}: {self.text(part, nesting + 1, level + 1)}")
            room -= len(parts[-1]) + 2
            if room < 0:
                return "dict"
        return f"{{{', '.join(parts)}}}"

    def inside(self, outer: str, inner: str) -> str:
        if inner == "Any" or len(inner) > 2 * _MAX_TYPE:
            return outer
        return f"{outer}[{'str, ' if outer == 'dict' else ''}{inner}]"

    def union(self, texts: Iterable[str]) -> str:
        kinds = list(dict.fromkeys(part for text in texts for part in _split_union(text)))
        if "Any" in kinds or not kinds:
            return "Any"
        if "None" in kinds:
            kinds = [kind for kind in kinds if kind != "None"] + ["None"]
        text = " | ".join(kinds)
        return text if len(text) <= 2 * _MAX_TYPE else "Any"


def _split_union(text: str) -> list[str]:
    """The members of a union text whose members hold no union themselves; else the text as one."""
    return [text] if any(mark in text for mark in "[{'\"") else text.split(" | ")
