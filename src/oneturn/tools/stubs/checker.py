"""Stubs for the type checker that looks at a script before it runs.

They hold only the tools the script names. Every class has a method for each tool of one
namespace; builtins and `typing` are always spelled through aliases, because a tool may be called
`list`. What the stubs do not know is `Any`, so that they never object to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ...types import Tool
from .schema_types import ANY, ANY_DICT, TYPING, Arguments, Parameter, camel
from .typed_tool import types_of
from .writing import Declarations, Spelling, free, typed_dict

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class CheckerStub:
    """The text of a stub module, and what its names mean.

    `declared` maps a TypedDict that is, or is part of, the declared result of a tool to that tool;
    with several, the first. `keys` are those of every TypedDict. `loose` are the declared ones whose
    values may have other keys: a JSON Schema that does not rule them out lets them pass.
    """

    text: str
    declared: Mapping[str, str]
    keys: Mapping[str, tuple[str, ...]]
    loose: frozenset[str] = frozenset()


def checker_stub(tools: Sequence[Tool], bare: Mapping[str, str] = _NOTHING) -> CheckerStub:
    """A stub module for just these tools.

    It declares `tools` and the names in `bare`. An object that is open to other keys on purpose is
    `dict[str, Any]`; an optional parameter also takes `None`, which means leaving it out. Results
    that are not declared are `Any`.

    Args:
        tools: The tools a script may mean, of unique names.
        bare: Names the script may use without `tools.`, each with the namespace or the full tool
            name it means. One that means neither of the tools nor a namespace of them is left out.
    """
    return _Module(tools, bare).stub()


@dataclass
class _Class:
    """One namespace: its tools and the namespaces in it, by their last name."""

    name: str
    tools: dict[str, Tool] = field(default_factory=dict)
    inside: dict[str, _Class] = field(default_factory=dict)
    itself: Tool | None = None  # a tool that has the name of the namespace

    @property
    def unknown(self) -> bool:
        """Whether it holds a name such as `__init__`, which would change what the class is."""
        return any(name.startswith("__") for name in (*self.tools, *self.inside))


class _Module:
    def __init__(self, tools: Sequence[Tool], bare: Mapping[str, str]) -> None:
        self.tools = tools
        self.bare = bare
        taken = {part for tool in tools for part in tool.name.split(".")} | {*bare, "tools"}
        self.spelling = Spelling.aliased(taken)
        taken |= {self.spelling.builtin[:-1], self.spelling.typing[:-1]}
        self.declarations = Declarations(taken)
        self.classes: dict[str, _Class] = {}
        self.declared: dict[str, str] = {}
        self.loose: set[str] = set()
        self.open: set[str] = set()  # shapes that are open to other keys
        self.root = self._class("")
        for tool in tools:
            self._place(tool)

    def _class(self, path: str) -> _Class:
        known = self.classes.get(path)
        if known is None:
            wanted = f"_{path.replace('.', '_')}" if path else "_tools"
            name = free(wanted, self.declarations.taken)
            self.declarations.taken.add(name)
            known = self.classes[path] = _Class(name)
            if path:
                outer, _, last = path.rpartition(".")
                self._class(outer).inside[last] = known
        return known

    def _place(self, tool: Tool) -> None:
        self._class(tool.namespace).tools[tool.short_name] = tool

    def stub(self) -> CheckerStub:
        for place in self.classes.values():
            for name in [name for name in place.tools if name in place.inside]:
                place.inside[name].itself = place.tools.pop(name)
        bodies = [self._body(place) for place in self.classes.values() if not place.unknown]
        shown = [placed for placed in self.declarations.placed if placed.name not in self.open]
        shapes = [typed_dict(placed, self.spelling, self._refer) for placed in shown]
        keys = {placed.name: tuple(key.name for key in placed.shape.keys) for placed in shown}
        lines = [self.spelling.imports, *shapes, *bodies, f"tools: {self._type(self.root)}"]
        lines += [line for name, meaning in self.bare.items() if (line := self._bare(name, meaning))]
        return CheckerStub("\n".join([*lines, ""]), self.declared, keys, frozenset(self.loose))

    def _refer(self, name: str) -> str:
        return self.spelling.write(ANY_DICT) if name in self.open else name

    def _bare(self, name: str, meaning: str) -> str:
        if meaning in self.classes:
            return f"{name}: {self._type(self.classes[meaning])}"
        return f"{name} = tools.{meaning}" if any(tool.name == meaning for tool in self.tools) else ""

    def _type(self, place: _Class) -> str:
        return f"{self.spelling.typing}Any" if place.unknown else place.name

    def _body(self, place: _Class) -> str:
        lines = [f"class {place.name}:"]
        if place.itself is not None:
            lines.append(self._method(place.itself, "__call__"))
        lines += [f"    {name}: {self._type(inner)}" for name, inner in place.inside.items()]
        lines += [self._method(tool, name) for name, tool in place.tools.items()]
        return "\n".join(lines if len(lines) > 1 else [f"{lines[0]} ..."])

    def _method(self, tool: Tool, name: str) -> str:
        types = types_of(tool)
        owner = camel(tool.short_name)
        gives, given = self.declarations.add(types.result.shapes, owner)
        takes, taken = self.declarations.add(types.arguments.shapes, owner)
        self.open |= {placed.name for placed in (*given, *taken) if placed.shape.open}
        for own, shape in gives.items():
            self.declared.setdefault(shape, tool.name)
            if tool.source != "python" and not types.result.shapes[own].closed:
                self.loose.add(shape)
        result = self.spelling.write(types.result.type, lambda shape: self._refer(gives[shape]))
        return f"    async def {name}({self._parameters(types.arguments, takes)}) -> {result}: ..."

    def _parameters(self, arguments: Arguments, names: Mapping[str, str]) -> str:
        listed = arguments.parameters
        own = free("self", {parameter.name for parameter in listed})
        if any(parameter.name.startswith("__") for parameter in listed):
            # Type checkers give such parameters a meaning of their own, so nothing is said of any.
            return self.spelling.write(f"{own}, *args: {TYPING}Any, **kwargs: {TYPING}Any")
        rest = ordered(listed)
        parts = [own, *(part if isinstance(part, str) else self._parameter(part, names) for part in rest)]
        if arguments.others is not None:
            others = self.spelling.write(arguments.others, lambda name: self._refer(names[name]))
            parts.append(f"**{free('others', {parameter.name for parameter in listed})}: {others}")
        return ", ".join(parts)

    def _parameter(self, parameter: Parameter, names: Mapping[str, str]) -> str:
        return accepting(
            parameter, self.spelling.write(parameter.type, lambda name: self._refer(names[name]))
        )


def accepting(parameter: Parameter, kind: str) -> str:
    """A parameter for a type checker: one that may be left out also takes None, which means just that."""
    if parameter.required:
        return f"{parameter.name}: {kind}"
    optional = (
        kind if parameter.type in ("None", ANY) or parameter.type.endswith("| None") else f"{kind} | None"
    )
    return f"{parameter.name}: {optional} = ..."


def ordered(parameters: Sequence[Parameter]) -> list[Parameter | str]:
    """Parameters as Python takes them: after the first that may be left out, required ones go by name."""
    parts: list[Parameter | str] = []
    optional_seen = False
    for parameter in parameters:
        if not parameter.required:
            optional_seen = True
        elif optional_seen and "*" not in parts:
            parts.append("*")
        parts.append(parameter)
    return parts
