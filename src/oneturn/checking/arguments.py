"""Calls whose arguments the gate is certain to refuse, asked of the gate's own guard ahead of time.

A call that is literal throughout is put to the guard as it stands. Of any other, two smaller
questions are put, each of which the guard can only refuse when it would refuse the whole call:
do the arguments bind, whatever their values, and would those that are literal pass by themselves?
"""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import ToolDefinitionError
from ..gate.arguments import Arguments
from ..gate.base import Budget, Context, Request
from ..journal.redaction import Fields
from ..program import Program, Reach, Reached, constant
from ..tools.names import parameter_names
from ..tools.scope import Scope
from ..tools.signature import signature
from ..types import Call, Failure, Limits, Tool
from .kept import Kept
from .problems import Problem

HANDLES = frozenset({"TypeError", "ValueError"})
"""A script that catches one of these by name is prepared for a wrong argument."""
SECONDS = 0.5
"""What one look at a script's arguments may take: a stranger's schema may be slow to make ready."""
_UNKNOWN = object()
_KEPT_PARTS = 512
_MOST = 50  # problems looked for
_MOST_CALLS = 500  # calls looked at; a script of more is data
_MAX_PARTS = 5_000  # of a schema, searched for references
_KEPT = ("$schema", "$defs", "definitions", "additionalProperties", "patternProperties")
_SIMPLE = (str, int, float, bool, bytes, type(None))


@dataclass(slots=True)
class Given:
    """What a call passes, as far as the script says. `_UNKNOWN` stands for any value."""

    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    more: bool = False
    """Also passes a `*` or `**` of unknown content."""

    @property
    def is_literal(self) -> bool:
        """Whether every value is known."""
        return not self.more and all(each is not _UNKNOWN for each in (*self.args, *self.kwargs.values()))


class ArgumentCheck:
    """The arguments guard of the gate, put to use before the call. Thread-safe.

    Args:
        fields: Their values are quoted in no problem.
    """

    def __init__(self, fields: Fields | None = None) -> None:
        self._fields = fields
        self._guard = Arguments(fields)
        self._parts: Kept[tuple[int, frozenset[str]], tuple[Tool, Tool, Arguments]] = Kept(_KEPT_PARTS)

    def problems(self, reach: Reach, scope: Scope) -> list[Problem]:
        """One problem for every call that would be refused: blocking, unless the script is prepared."""
        found: list[Problem] = []
        deadline = time.monotonic() + SECONDS
        for call, tool in tool_calls(reach, scope)[:_MOST_CALLS]:
            failure = self.refused(tool, given(reach.program, call.node))
            if failure is not None:
                blocks = not reach.handled(call.node, HANDLES) and not reach.conditional(call.node)
                found.append(_problem(reach.program, call, failure, blocks))
            if len(found) >= _MOST or time.monotonic() > deadline:
                break
        return found

    def refused(self, tool: Tool, call: Given) -> Failure | None:
        """Why the gate would refuse every call that looks like this one; None when it may not."""
        if call.is_literal:
            return self._asked(tool, call.args, call.kwargs, self._guard)
        try:
            order = parameter_names(tool.input_schema)
        except ToolDefinitionError:
            return None
        failure = self._asked(
            replace(tool, input_schema=_any_values(tool.input_schema, call.more)),
            [None] * len(call.args),
            dict.fromkeys(call.kwargs),
        )
        if failure is None and not _has_odd_references(tool.input_schema):
            known = {
                name: value
                for name, value in (*zip(order, call.args, strict=False), *call.kwargs.items())
                if value is not _UNKNOWN
            }
            part, guard = self._part(tool, frozenset(order.get(name, name) for name in known))
            failure = self._asked(part, [], known, guard)
        if failure is None:
            return None
        reason = failure.message.rpartition(" Signature: ")[0] or failure.message
        return Failure(failure.kind, f"{reason} Signature: {signature(tool)}")

    def accepts(self, tool: Tool, name: str, value: object) -> bool:
        """Whether a call with this value for one parameter may pass."""
        return self.refused(tool, Given(kwargs={name: value}, more=True)) is None

    def may_quote(self, name: str, found: str) -> bool:
        """Whether a parameter's type may be told as the type checker found it, with literals in it."""
        if self._fields is None:
            return True
        named = {name: None}
        # Within something larger a literal may be the value of a field that must not be told.
        return self._fields.hidden(named) is named and "Literal[" not in found[1:]

    def _part(self, tool: Tool, names: frozenset[str]) -> tuple[Tool, Arguments]:
        """A tool with these parameters alone, and a guard that has its schema ready."""
        key = (id(tool), names)
        kept = self._parts.get(key)
        if kept is None or kept[0] is not tool:
            part = replace(tool, input_schema=_only(tool.input_schema, names))
            kept = (tool, part, Arguments(self._fields))
            self._parts.put(key, kept)
        return kept[1], kept[2]

    def _asked(
        self, tool: Tool, args: list[Any], kwargs: Mapping[str, Any], guard: Arguments | None = None
    ) -> Failure | None:
        request = Request(Call(0, "tool", tool.name, tuple(args), kwargs), tool)
        verdict = (guard or Arguments(self._fields))(request, Context(Scope((), ()), Limits(), Budget()))
        if isinstance(verdict, Failure) and verdict.kind in HANDLES:
            return verdict
        return None


def tool_calls(reach: Reach, scope: Scope) -> list[tuple[Reached, Tool]]:
    """Every call of a tool in scope."""
    found = ((call, scope.get(call.name)) for call in reach.calls)
    return [(call, tool) for call, tool in found if tool is not None]


def given(program: Program, node: ast.Call) -> Given:
    """What a call passes."""
    found = Given()
    for each in node.args:
        if isinstance(each, ast.Starred):
            found.more = True
            break
        found.args.append(_value(program, each))
    for keyword in node.keywords:
        if keyword.arg is not None:
            found.kwargs[keyword.arg] = _value(program, keyword.value)
        else:
            found.more = not _unpacked(program, keyword.value, found.kwargs) or found.more
    return found


def is_literal(program: Program, node: ast.expr) -> bool:
    """Whether an expression is a literal, or a name for one, so that the gate itself has judged it."""
    return _value(program, node) is not _UNKNOWN


def _unpacked(program: Program, node: ast.expr, into: dict[str, Any]) -> bool:
    """Add what a `**{…}` passes; False when that is not all spelled out."""
    if not isinstance(node, ast.Dict):
        return False
    plain = True
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value not in into:
            into[key.value] = _value(program, value)
        else:
            plain = False
    return plain


def _value(program: Program, node: ast.expr) -> Any:
    """The value of a literal, or of a name for one; `_UNKNOWN` for anything else."""
    if isinstance(node, ast.Name):
        named = constant(program, node)
        return named.value if named is not None and isinstance(named.value, _SIMPLE) else _UNKNOWN
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _UNKNOWN
    return value if _is_plain(value) else _UNKNOWN


def _is_plain(value: object) -> bool:
    """Whether a literal is one the sandbox surely makes the same way: no complex number, no ellipsis."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set):
            waiting += part
        elif not isinstance(part, _SIMPLE):
            return False
    return True


# --- the smaller questions


def _any_values(schema: Mapping[str, Any], more: bool) -> dict[str, Any]:
    """A schema that wants the same arguments and takes every value; with `more`, misses none."""
    properties = schema.get("properties") or {}
    takes_others = bool(schema.get("additionalProperties")) or bool(schema.get("patternProperties"))
    return {
        "type": "object",
        "properties": {name: {} for name in properties},
        "required": [] if more else list(schema.get("required") or ()),
        "additionalProperties": takes_others,
    }


def _only(schema: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """What a schema says of these arguments alone. Takes all that the whole schema would take."""
    properties = schema.get("properties") or {}
    return {
        **{word: schema[word] for word in _KEPT if word in schema},
        "type": "object",
        "properties": {name: declared for name, declared in properties.items() if name in names},
        "required": [name for name in schema.get("required") or () if name in names],
    }


def _has_odd_references(schema: Mapping[str, Any]) -> bool:
    """Whether a reference leads to a place that `_only` does not keep, or the schema is too large."""
    waiting: list[Any] = [schema]
    parts = 0
    while waiting:
        part = waiting.pop()
        parts += 1
        if parts > _MAX_PARTS:
            return True
        if isinstance(part, Mapping):
            reference = part.get("$ref", "#/$defs/")
            if not isinstance(reference, str) or not reference.startswith(("#/$defs/", "#/definitions/")):
                return True
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part
    return False


# --- telling


def _problem(program: Program, call: Reached, failure: Failure, blocks: bool) -> Problem:
    hint = "Pass the arguments that the signature names, each of its type."
    return Problem(failure.kind, failure.message, program.position(call.node.func), hint, blocks)


def passed(call: Reached, tool: Tool) -> Iterator[tuple[ast.AST, ast.expr, str]]:
    """The arguments of a call with the parameter each is for: its place, its value, its Python name."""
    try:
        order = list(parameter_names(tool.input_schema))
    except ToolDefinitionError:
        return
    for name, value in zip(order, call.node.args, strict=False):
        if isinstance(value, ast.Starred):
            break
        yield value, value, name
    for keyword in call.node.keywords:
        if keyword.arg is not None:
            yield keyword, keyword.value, keyword.arg
