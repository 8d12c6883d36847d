"""Which expressions surely are what the type checker takes them for.

A type checker believes what it can see: that a dict keeps the types it was made with, that nobody
changes a result, that a name is not given a value from elsewhere. A script may do all of that and
be correct. So its word stops a script only about expressions that the tree can follow to their
source without a doubt: literals, plain computations, and tool results that nothing is written into.
"""

from __future__ import annotations

import ast
from functools import cached_property
from typing import TypeGuard

from ..program import Program, Reach, chain
from ..tools.scope import Scope
from .arguments import tool_calls

_DEEPEST = 15
_BUILTINS = frozenset(
    {"str", "int", "float", "bool", "len", "list", "dict", "set", "tuple", "sorted", "repr"}
)
_TEXT_TO_TEXT = frozenset({"join", "upper", "lower", "strip", "replace", "title", "format", "removeprefix"})
_SAME_ITEMS = frozenset({"list", "sorted", "reversed", "tuple", "min", "max"})
_FILLING = frozenset({"append", "extend", "insert", "appendleft", "extendleft"})
_ADDING = _FILLING | {"update", "setdefault"}
_NEW = frozenset({"dict", "list", "set", "defaultdict", "Counter", "OrderedDict", "deque"})
_DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.Tuple, ast.ListComp, ast.DictComp, ast.SetComp)


class Sure:
    """What is certain about the values of one script."""

    def __init__(self, reach: Reach, scope: Scope) -> None:
        self._program: Program = reach.program
        self._held = {
            call.node
            for call, tool in tool_calls(reach, scope)
            if tool.output_schema is not None and tool.holds_output and tool.results != "text"
        }

    def value(self, node: ast.expr, level: int = 0) -> bool:
        """Whether an expression gives the kind of value that it seems to."""
        if level > _DEEPEST:
            return False
        deeper = level + 1
        match node:
            case ast.Constant() | ast.JoinedStr():
                return True
            case ast.BoolOp(values=parts):
                return all(self.value(part, deeper) for part in parts)
            case ast.BinOp(left=left, right=right):
                return self.value(left, deeper) and self.value(right, deeper)
            case ast.UnaryOp(op=operation, operand=operand):
                return isinstance(operation, ast.Not) or self.value(operand, deeper)
            case ast.IfExp(body=body, orelse=orelse):
                return self.value(body, deeper) and self.value(orelse, deeper)
            case ast.Call(func=ast.Name(id=name)) if name in _BUILTINS:
                return name not in self._program.bindings
            case ast.Call(func=ast.Attribute(value=receiver)) if self._text(receiver, deeper):
                return True
            case ast.Name() if (given := self._given(node)) is not None and self.value(given, deeper):
                return True
        return isinstance(node, _DISPLAYS) or self.result(node, level)

    def _text(self, node: ast.expr, level: int) -> bool:
        """Whether an expression is a text; those cannot change, so their methods are what they seem."""
        if level > _DEEPEST:
            return False
        match node:
            case ast.Constant(value=str()) | ast.JoinedStr():
                return True
            case ast.Call(func=ast.Name(id="str" as name)):
                return name not in self._program.bindings
            case ast.Call(func=ast.Attribute(value=receiver, attr=name)) if name in _TEXT_TO_TEXT:
                return self._text(receiver, level + 1)
            case ast.Name():
                given = self._given(node)
                return given is not None and self._text(given, level + 1)
        return False

    def result(self, node: ast.expr, level: int = 0) -> bool:
        """Whether an expression is a declared tool result, or a part or a collection of such."""
        if level > _DEEPEST or self.written_into:
            return False
        deeper = level + 1
        match node:
            case ast.Await(value=ast.Call() as call):
                return call in self._held or self._is_gathered(call)
            case ast.Subscript(value=inner):
                return self.result(inner, deeper)
            case ast.ListComp(elt=inner) | ast.GeneratorExp(elt=inner) | ast.DictComp(value=inner):
                return self.result(inner, deeper)
            case ast.BoolOp(op=ast.Or(), values=[first, *others]):
                return self.result(first, deeper) and all(map(_is_empty, others))
            case ast.Call(func=ast.Name(id=name), args=[first], keywords=options) if name in _SAME_ITEMS:
                same = all(option.arg in ("key", "reverse") for option in options)
                return same and name not in self._program.bindings and self.result(first, deeper)
            case ast.Call(func=ast.Attribute(value=inner, attr="values" | "get"), args=args):
                return len(args) < 2 and self.result(inner, deeper)
            case ast.Name(id=name) if name not in self._dirty:
                return self._named_result(node, deeper)
        return False

    def _is_gathered(self, call: ast.Call) -> bool:
        """`asyncio.gather` of tool calls and nothing else."""
        if chain(call.func)[-1:] != ("gather",) or len(call.args) != 1:
            return False
        match call.args[0]:
            case ast.Starred(value=ast.ListComp(elt=each) | ast.GeneratorExp(elt=each)):
                return each in self._held
        return False

    def _given(self, name: ast.Name) -> ast.expr | None:
        """What a name is given, when that is in one place and plain."""
        places = self._program.bindings.get(name.id, ())
        if len(places) != 1:
            return None
        parent = self._program.parents[places[0]]
        if isinstance(parent, ast.Assign):
            return parent.value if parent.targets == [places[0]] else None
        return parent.value if isinstance(parent, ast.NamedExpr) else None

    def _named_result(self, name: ast.Name, level: int) -> bool:
        given = self._given(name)
        if given is not None:
            return self.result(given, level)
        places = self._program.bindings.get(name.id, ())
        if len(places) != 1:
            return False
        parent = self._program.parents[places[0]]
        if isinstance(parent, ast.For | ast.comprehension) and parent.target is places[0]:
            return self.result(parent.iter, level)
        return isinstance(parent, ast.Tuple) and self._is_unpacked(parent, places[0], level)

    def _is_unpacked(self, pattern: ast.Tuple, place: ast.AST, level: int) -> bool:
        index = next(at for at, each in enumerate(pattern.elts) if each is place)
        match self._program.parents[pattern]:
            case ast.For(iter=ast.Call() as call) | ast.comprehension(iter=ast.Call() as call):
                return index == 1 and len(pattern.elts) == 2 and self._is_numbered(call, level)
            case ast.Assign(value=ast.Await(value=ast.Call(func=function, args=args))):
                known = chain(function)[-1:] == ("gather",) and len(args) == len(pattern.elts)
                return known and args[index] in self._held
        return False

    def _is_numbered(self, call: ast.Call, level: int) -> bool:
        """`enumerate(result)` or `result.items()`."""
        match call:
            case ast.Call(func=ast.Name(id="enumerate"), args=[first, *_]):
                return "enumerate" not in self._program.bindings and self.result(first, level)
            case ast.Call(func=ast.Attribute(value=inner, attr="items"), args=[]):
                return self.result(inner, level)
        return False

    # --- what is written into

    @property
    def written_into(self) -> bool:
        """Whether the script writes into something that may be a tool result."""
        return self._writes[0]

    @property
    def _dirty(self) -> frozenset[str]:
        """Names of the script's own collections that are filled or changed."""
        return self._writes[1]

    @cached_property
    def _writes(self) -> tuple[bool, frozenset[str]]:
        dirty: set[str] = set()
        for node in self._program.nodes:
            receiver: ast.expr | None = None
            if _is_merged(node):
                receiver = node.target
            elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
                receiver = node.value
            elif isinstance(node, ast.Attribute) and node.attr in _ADDING:
                receiver = _outermost(node.value) if node.attr in _FILLING else node.value
            if receiver is None:
                continue
            if not isinstance(receiver, ast.Name) or not self._is_own(receiver.id):
                return True, frozenset()
            if (
                isinstance(node, ast.Attribute)
                and node.value is not receiver
                and self._has_parts(receiver.id)
            ):
                return True, frozenset()  # what is in it may be a result
            dirty.add(receiver.id)
        return False, frozenset(dirty)

    def _is_own(self, name: str) -> bool:
        """Whether a name always means a collection that the script has made itself, or a constant."""
        for place in self._program.bindings.get(name, ()):
            parent = self._program.parents[place]
            if isinstance(parent, ast.AugAssign):
                continue  # what it means stays, only with more in it
            value = getattr(parent, "value", None)
            made = isinstance(value, ast.Call) and chain(value.func)[-1:] and chain(value.func)[-1] in _NEW
            if not made and not isinstance(value, (*_DISPLAYS, ast.Constant)):
                return False
        return name in self._program.bindings

    def _has_parts(self, name: str) -> bool:
        """Whether one of the script's own collections is made with something in it."""
        parents = (self._program.parents[place] for place in self._program.bindings[name])
        return not all(_starts_empty(getattr(parent, "value", None)) for parent in parents)


def _is_merged(node: ast.AST) -> TypeGuard[ast.AugAssign]:
    """`row |= {…}` and `rows += […]`, which change a dict or a list where it is; not `sums[key] += n`."""
    match node:
        case ast.AugAssign(op=ast.BitOr()) | ast.AugAssign(op=ast.Add(), value=ast.List() | ast.ListComp()):
            return True
        case ast.AugAssign(op=ast.Add(), target=ast.Name(), value=added):
            return not isinstance(added, ast.Constant | ast.JoinedStr)
    return False


def _outermost(node: ast.expr) -> ast.expr:
    """The collection that `groups[key]` and `groups.setdefault(key, [])` are in."""
    while True:
        match node:
            case ast.Subscript(value=inner):
                node = inner
            case ast.Call(func=ast.Attribute(value=inner, attr="setdefault")):
                node = inner
            case _:
                return node


def _starts_empty(node: ast.expr | None) -> bool:
    match node:
        case ast.Call(func=function, args=args, keywords=[]):
            return not args or (chain(function)[-1:] == ("defaultdict",) and len(args) == 1)
    return node is not None and _is_empty(node)


def _is_empty(node: ast.expr) -> bool:
    match node:
        case ast.List(elts=[]) | ast.Tuple(elts=[]) | ast.Dict(keys=[]) | ast.Constant(value=None):
            return True
    return False
