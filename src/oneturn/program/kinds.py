"""What kinds of value the expressions of a script can have, as far as its syntax tree tells.

A kind is a bit and what is known of an expression is a set of bits. `ANY` is what flows freely: tool
results, parameters, parts of containers. The kinds of `LOOSE` are those that Monty shows
differently from CPython (the order of a set, a list in the place of an iterator); they are never
part of `ANY`, because `places` sends every script away in which one of them leaves the sight of
the tree. So a name's kinds are those of everything it is bound to, in any scope, worked out until
nothing changes.
"""

from __future__ import annotations

import ast
import builtins
import functools
import operator
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from . import monty_facts as facts
from .parse import Program, chain

NONE, BOOL, INT, FLOAT, STR, BYTES, LIST, TUPLE, DICT, OTHER, SET, VIEW, RANGE, LAZY, STREAM, THING = (
    1 << bit for bit in range(16)
)
LOOSE = SET | VIEW | RANGE | LAZY | STREAM | THING
"""Sets; views of dicts; ranges; what Monty makes lists of (`map`, generator expressions); iterators;
and things such as matches, which leave Monty as text."""
ANY = SET - 1
NUMBER = BOOL | INT | FLOAT
_DEPTH = 12  # of an expression, beyond which nothing is known
_BUILTINS = frozenset(dir(builtins))
_FILLING = frozenset({"append", "extend", "insert", "update", "setdefault"})
_ROUNDS = 6  # in which the kinds of names must settle
_NAMES: Mapping[str, int] = {
    "none": NONE,
    "bool": BOOL,
    "int": INT,
    "float": FLOAT,
    "number": INT | FLOAT,
    "str": STR,
    "bytes": BYTES,
    "list": LIST,
    "tuple": TUPLE,
    "dict": DICT,
    "set": SET,
    "view": VIEW,
    "range": RANGE,
    "lazy": LAZY,
    "stream": STREAM,
    "thing": THING,
    "other": OTHER,
    "any": ANY,
}
_CONSTANTS: Mapping[type, int] = {
    bool: BOOL,
    int: INT,
    float: FLOAT,
    str: STR,
    bytes: BYTES,
    type(None): NONE,
}
_SHAPES: Mapping[type[ast.AST], int] = {
    ast.List: LIST,
    ast.ListComp: LIST,
    ast.Tuple: TUPLE,
    ast.Dict: DICT,
    ast.DictComp: DICT,
    ast.Set: SET,
    ast.SetComp: SET,
    ast.GeneratorExp: LAZY,
    ast.JoinedStr: STR,
    ast.Compare: BOOL,
    ast.Lambda: OTHER,
    ast.Await: ANY,
}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_NO_DATA = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.alias)
_SCOPES = (ast.Global, ast.Nonlocal)
_PLACES = (ast.Name, ast.Attribute)
_ASSIGNMENTS = (ast.Assign, ast.AnnAssign)
_SUMS = (ast.Add, ast.Sub)
_REPEATS = (ast.Add, ast.Mult)
_DIVISIONS = (ast.Div, ast.FloorDiv, ast.Mod)
_JOINS = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)


class Kinds:
    """The kinds of the names and expressions of one script.

    `settled` is false for a script whose names would take too long to work out.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.nodes: defaultdict[type[ast.AST], list[Any]] = defaultdict(list)
        """The nodes of the script by their type, each in source order."""
        for node in program.nodes:
            self.nodes[type(node)].append(node)
        self.modules = dict(self._modules())
        """The dotted names of the modules, and of what is imported from them, by what they are bound to."""
        self.names: dict[str, int] = {}
        """The kinds of each name, and of each attribute that is assigned, as `.name`."""
        self.known: dict[ast.AST, int] = {}
        self.methods = frozenset(node.name for kind in _FUNCTIONS for node in self.nodes[kind])
        self.stores = [node for node in self.nodes[ast.Attribute] if isinstance(node.ctx, ast.Store)]
        """The attributes that are assigned."""
        self.declared = frozenset(self._declared())
        self.settled = self._settle()

    def _modules(self) -> Iterator[tuple[str, str]]:
        """Names that nothing but one import binds, with what they mean."""
        for alias in self.nodes[ast.alias]:
            name = alias.asname or alias.name.partition(".")[0]
            if len(self.program.bindings[name]) > 1:
                continue
            statement = self.program.parents[alias]
            if isinstance(statement, ast.ImportFrom):
                yield name, f"{statement.module or ''}.{alias.name}"
            else:
                yield name, alias.name if alias.asname else name

    def _declared(self) -> Iterator[str]:
        """Names in the bodies of classes: fields, which may hold anything."""
        for node in self.nodes[ast.ClassDef]:
            for item in node.body:
                for target in (*getattr(item, "targets", ()), getattr(item, "target", None)):
                    if isinstance(target, ast.Name):
                        yield target.id

    def _settle(self) -> bool:
        sources: list[tuple[str, ast.AST]] = [
            (name, place) for name, places in self.program.bindings.items() for place in places
        ]
        sources += [(f".{node.attr}", node) for node in self.stores]
        for _ in range(_ROUNDS):
            changed = False
            for name, place in sources:
                before = self.names.get(name, 0)
                after = before | self._bound(name, place)
                if after != before:
                    self.names[name] = after
                    changed = True
            if not changed:
                return True
        return False

    def _bound(self, name: str, place: ast.AST) -> int:
        """The kinds that one binding gives a name."""
        if isinstance(place, _SCOPES):
            return 0
        if not isinstance(place, _PLACES):
            return OTHER if isinstance(place, _NO_DATA) else ANY
        parent = self.program.parents[place]
        match parent:
            case ast.Assign(value=value):
                return self.see(value)
            case ast.AnnAssign(value=value) | ast.NamedExpr(value=value):
                return self.see(value) if value is not None else 0
            case ast.AugAssign(op=op, value=value):
                return self._operation(op, self.names.get(name, 0), self.see(value))
            case ast.For(target=target, iter=iterated) | ast.comprehension(target=target, iter=iterated):
                return self.element(iterated) if target is place else ANY
            case ast.Tuple():
                return self._unpacked(place, parent)
        return ANY

    def _unpacked(self, place: ast.expr, pattern: ast.Tuple) -> int:
        outer = self.program.parents[pattern]
        pair = paired(pattern, outer)
        if pair is not None:
            return self.see(pair.elts[pattern.elts.index(place)])
        iterated = getattr(outer, "iter", None)
        if isinstance(iterated, ast.Call) and self.builtin(iterated.func) == "enumerate":
            return INT if pattern.elts[0] is place and getattr(outer, "target", None) is pattern else ANY
        return ANY

    def of(self, node: ast.AST) -> int:
        """The kinds an expression can have; exact only when `settled`."""
        kind = self.known.get(node)
        if kind is None:
            kind = self.known[node] = self.see(node)
        return kind

    def is_only(self, node: ast.AST, kinds: int) -> bool:
        """Whether an expression can be nothing but `kinds`."""
        kind = self.of(node)
        return bool(kind) and not kind & ~kinds

    def walk(self, root: ast.AST) -> Iterator[ast.AST]:
        """Every node of a part of the tree."""
        stack = [root]
        while stack:
            node = stack.pop()
            yield node
            stack += self._parts.get(node, ())

    @cached_property
    def _parts(self) -> Mapping[ast.AST, list[ast.AST]]:
        found: defaultdict[ast.AST, list[ast.AST]] = defaultdict(list)
        for node, parent in self.program.parents.items():
            found[parent].append(node)
        return found

    def builtin(self, func: ast.AST) -> str:
        """The builtin a callee means; empty when it means anything else."""
        if isinstance(func, ast.Name) and func.id not in self.program.bindings:
            return func.id if func.id in facts.BUILTINS else ""
        return ""

    def element(self, iterated: ast.expr) -> int:
        """The kinds of what iterating gives."""
        kind = self.see(iterated)
        if kind == RANGE:
            return INT
        return STR if kind == STR else ANY

    def part(self, node: ast.Subscript) -> int:
        """The kinds of what stands under an index or a key, as far as the script itself put it there."""
        whole, key = node.value, node.slice
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value in self._by_key:
            return self._by_key[key.value]
        if isinstance(whole, ast.Name) and whole.id in self._by_name:
            return self._by_name[whole.id]
        return ANY

    @cached_property
    def _by_key(self) -> Mapping[str, int]:
        """The kinds that dicts of the script are given under each constant key."""
        found: dict[str, int] = {}
        pairs = [pair for node in self.nodes[ast.Dict] for pair in zip(node.keys, node.values, strict=True)]
        for node in self.nodes[ast.Assign]:
            pairs += [(each.slice, node.value) for each in node.targets if isinstance(each, ast.Subscript)]
        for key, value in pairs:
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                found[key.value] = found.get(key.value, 0) | self.of(value)
        return found

    @cached_property
    def _by_name(self) -> Mapping[str, int]:
        """The kinds in each container that the script makes in sight and fills in sight."""
        found: dict[str, int] = {}
        for name, places in self.program.bindings.items():
            kinds = [self._inside(self.program.parents[place]) for place in places]
            if kinds and all(kinds) and len(kinds) <= _DEPTH:
                found[name] = functools.reduce(operator.or_, kinds)
        for node in self.nodes[ast.Attribute]:
            if node.attr in _FILLING and isinstance(node.value, ast.Name):
                found.pop(node.value.id, None)
        for node in self.nodes[ast.Assign]:
            for target in node.targets:
                if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                    name = target.value.id
                    found[name] = found.get(name, ANY) | self.of(node.value)
        return found

    def _inside(self, statement: ast.AST) -> int:
        """The kinds in a container that is made and assigned in one statement; 0 when it is not."""
        value = statement.value if isinstance(statement, _ASSIGNMENTS) else None
        match value:
            case ast.Dict(values=parts) | ast.List(elts=parts):
                return functools.reduce(operator.or_, map(self.of, parts), NUMBER)
            case ast.ListComp(elt=part) | ast.DictComp(value=part):
                return self.of(part)
            case ast.BinOp(op=ast.Mult(), left=ast.List(elts=[part])):
                return self.of(part)
            case ast.Call(func=func, args=[ast.Name(id=name)]) if (
                self.path(func) == "collections.defaultdict"
            ):
                return {"int": INT, "float": FLOAT, "str": STR, "list": LIST}.get(name, 0)
            case ast.Call(func=func) if self.path(func) == "collections.Counter":
                return INT
        return 0

    def see(self, node: ast.AST, depth: int = 0) -> int:
        if depth > _DEPTH:
            return ANY | LOOSE
        shape = _SHAPES.get(type(node))
        if shape is not None:
            return shape
        look = _LOOKS.get(type(node))
        return look(self, node, depth + 1) if look else ANY

    def _constant(self, node: ast.Constant, _depth: int) -> int:
        return _CONSTANTS.get(type(node.value), OTHER)

    def _name(self, node: ast.Name, _depth: int) -> int:
        return self.names.get(node.id, 0) if node.id in self.program.bindings else ANY

    def _either(self, node: ast.BoolOp, depth: int) -> int:
        kind = 0
        for value in node.values:
            kind |= self.see(value, depth)
            if isinstance(node.op, ast.And) and value is not node.values[-1]:
                kind &= ~THING  # it is true, so `and` goes on
        return kind

    def _choice(self, node: ast.IfExp, depth: int) -> int:
        return self.see(node.body, depth) | self.see(node.orelse, depth)

    def _named(self, node: ast.NamedExpr, depth: int) -> int:
        return self.see(node.value, depth)

    def _starred(self, node: ast.Starred, depth: int) -> int:
        return self.see(node.value, depth)

    def _unary(self, node: ast.UnaryOp, depth: int) -> int:
        if isinstance(node.op, ast.Not):
            return BOOL
        kind = self.see(node.operand, depth)
        if kind and not kind & ~NUMBER:
            return kind & FLOAT | (INT if kind & (INT | BOOL) else 0)
        return ANY

    def _binary(self, node: ast.BinOp, depth: int) -> int:
        return self._operation(node.op, self.see(node.left, depth), self.see(node.right, depth))

    def _operation(self, op: ast.operator, left: int, right: int) -> int:
        """The kinds an operator gives where it does not fail."""
        both = left | right
        if isinstance(op, _JOINS) and both & (SET | VIEW):
            return SET | (both & ~LOOSE)
        numbers = [bool(side) and not side & ~NUMBER for side in (left, right)]
        if all(numbers) and isinstance(op, ast.Div):
            return FLOAT
        if all(numbers) and not isinstance(op, ast.Pow):
            return both & FLOAT | (INT if FLOAT not in (left, right) else 0)
        if isinstance(op, ast.Pow) or (isinstance(op, _SUMS) and any(numbers)):
            return INT | FLOAT
        if isinstance(op, _DIVISIONS) and numbers[0]:
            return INT | FLOAT
        if isinstance(op, _REPEATS) and STR in (left, right):
            return STR
        if isinstance(op, ast.Mod) and left == STR:
            return STR
        if isinstance(op, _REPEATS) and LIST in (left, right):
            return LIST
        if isinstance(op, ast.BitOr) and left == right == DICT:
            return DICT
        return ANY

    def _subscript(self, node: ast.Subscript, depth: int) -> int:
        kind = self.see(node.value, depth)
        if kind == STR:
            return STR
        if isinstance(node.slice, ast.Slice) and kind and not kind & ~(LIST | STR | TUPLE | BYTES | RANGE):
            return kind
        return ANY

    def _attribute(self, node: ast.Attribute, _depth: int) -> int:
        if node.attr in self.declared or node.attr in self.methods:
            return ANY
        assigned = self.names.get(f".{node.attr}")
        if assigned is not None:
            return assigned | (INT if node.attr in facts.INT_ATTRIBUTES else 0)
        return INT if node.attr in facts.INT_ATTRIBUTES else ANY

    def _call(self, node: ast.Call, depth: int) -> int:
        name = self.builtin(node.func)
        if name:
            return _NAMES[facts.BUILTINS[name].result]
        function = self.function(node.func)
        if function is not None:
            return _NAMES[function.result]
        function = self.method(node.func)
        if function is None or not isinstance(node.func, ast.Attribute):
            return ANY
        if function.result == "same":
            return self.see(node.func.value, depth) or ANY
        kind = _NAMES[function.result]
        return kind | ANY if node.func.attr in self.methods else kind

    def method(self, func: ast.AST) -> facts.Function | None:
        """What is known of the method a callee means by its name; nothing when it is a tool."""
        if not isinstance(func, ast.Attribute) or self.is_outside(func) or self.path(func):
            return None
        return facts.METHODS.get(func.attr)

    def is_outside(self, node: ast.AST) -> bool:
        """Whether a chain begins at a name that only the host can give: a tool, or a namespace of tools."""
        name = root(node)
        return bool(name) and name not in self.program.bindings and name not in _BUILTINS

    def function(self, func: ast.AST) -> facts.Function | None:
        """What is known of the module's function a callee means."""
        return facts.FUNCTIONS.get(self.path(func))

    def path(self, node: ast.AST) -> str:
        """The dotted name of a module's attribute, with the import of its root followed; else empty."""
        module = self.modules.get(root(node))
        return ".".join((module, *chain(node)[1:])) if module is not None else ""


def root(node: ast.AST) -> str:
    """The name a chain of attributes begins with; empty when it begins with anything else."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def paired(pattern: ast.AST, statement: ast.AST) -> ast.Tuple | None:
    """The tuple whose parts an assignment such as `a, b = x, y` gives to the names of `pattern`."""
    if not isinstance(statement, ast.Assign) or statement.targets != [pattern]:
        return None
    value = statement.value
    if not isinstance(value, ast.Tuple) or not isinstance(pattern, ast.Tuple):
        return None
    if len(value.elts) != len(pattern.elts) or len(value.elts) > _DEPTH:
        return None
    starred = any(isinstance(part, ast.Starred) for part in (*value.elts, *pattern.elts))
    return None if starred else value


_LOOKS: Mapping[type[ast.AST], Callable[[Kinds, Any, int], int]] = {
    ast.Constant: Kinds._constant,
    ast.Name: Kinds._name,
    ast.BoolOp: Kinds._either,
    ast.IfExp: Kinds._choice,
    ast.NamedExpr: Kinds._named,
    ast.Starred: Kinds._starred,
    ast.UnaryOp: Kinds._unary,
    ast.BinOp: Kinds._binary,
    ast.Subscript: Kinds._subscript,
    ast.Attribute: Kinds._attribute,
    ast.Call: Kinds._call,
}
