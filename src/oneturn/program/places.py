"""Where the values may stand that Monty shows differently from CPython.

A set may be filled, asked and sorted, and not gone through: its order differs. What CPython makes
lazily and Monty at once (`map`, `zip`, generator expressions) may be used up on the spot, where nobody
can tell. Views, ranges and iterators may be gone through, and not be stored where the tree loses
sight of them. Every other place is a doubt.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from . import monty_facts as facts
from .kinds import LAZY, LIST, LOOSE, NUMBER, RANGE, SET, STR, STREAM, THING, TUPLE, VIEW, Kinds, paired
from .parse import chain

_WORDS = {"set": SET, "view": VIEW, "range": RANGE, "lazy": LAZY, "stream": STREAM}
_CHAIN = 5  # indexes that are followed
_PUTTING = frozenset({"append", "add", "insert", "setdefault", "appendleft"})
_SHORT_CIRCUITS = frozenset({"any", "all"})
_WITHOUT_ORDER = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)
_SNAPSHOTS = frozenset({"enumerate", "zip", "reversed"})
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_EFFECTS = (ast.Await, ast.NamedExpr)
_PARTS = (ast.Subscript, ast.Attribute)
_LISTS = (ast.List, ast.Tuple)
_WITH_VALUES = (ast.Dict, ast.BoolOp)
_CHANGING = (ast.Call, ast.Subscript, ast.AugAssign)


class Places:
    """Judges where the loose values of one script stand."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        self.program = kinds.program

    def fits(self, node: ast.expr) -> bool:
        """Whether an expression stands where nobody can tell Monty's value from CPython's."""
        loose = (
            self.kinds.names.get(node.id, 0) if isinstance(node, ast.Name) else self.kinds.of(node)
        ) & LOOSE
        if not loose:
            return True
        parent = self.program.parents[node]
        judge = _JUDGES.get(type(parent))
        return judge is not None and judge(self, node, parent, loose)

    def _kept(self, node: ast.expr, parent: Any, loose: int) -> bool:
        """Bound to a name, whose uses are judged in their turn."""
        targets = parent.targets if isinstance(parent, ast.Assign) else [parent.target]
        return (
            not loose & LAZY and node is parent.value and all(isinstance(each, ast.Name) for each in targets)
        )

    def _changed(self, node: ast.expr, parent: ast.AugAssign, loose: int) -> bool:
        if node is parent.target:
            return True
        return (
            isinstance(parent.op, _WITHOUT_ORDER) and isinstance(parent.target, ast.Name) and not loose & LAZY
        )

    def _dropped(self, node: ast.expr, parent: ast.Expr, _loose: int) -> bool:
        body = self.program.tree.body
        return not (body and body[-1] is parent)  # the last expression is the script's value

    def _asked(self, node: ast.expr, parent: Any, loose: int) -> bool:
        return node is parent.test and not loose & (LAZY | STREAM)

    def _chosen(self, node: ast.expr, parent: ast.IfExp, loose: int) -> bool:
        return not loose & LAZY or node is not parent.test

    def _negated(self, _node: ast.expr, parent: ast.UnaryOp, loose: int) -> bool:
        return isinstance(parent.op, ast.Not) and not loose & (LAZY | STREAM)

    def _joined(self, _node: ast.expr, _parent: ast.BoolOp, loose: int) -> bool:
        return not loose & (LAZY | STREAM)

    def _operand(self, _node: ast.expr, parent: ast.BinOp, loose: int) -> bool:
        return isinstance(parent.op, _WITHOUT_ORDER) and not loose & (LAZY | THING)

    def _compared(self, node: ast.expr, parent: ast.Compare, loose: int) -> bool:
        operands = [parent.left, *parent.comparators]
        for index, op in enumerate(parent.ops):
            left, right = operands[index], operands[index + 1]
            if node not in (left, right) or isinstance(op, ast.Is | ast.IsNot):
                continue
            if isinstance(op, ast.In | ast.NotIn):
                if node is left or loose & LAZY:
                    return False
            elif loose & (LAZY | STREAM | THING) or (loose & VIEW and not isinstance(op, ast.Eq | ast.NotEq)):
                return False
        return True

    def _read(self, node: ast.expr, parent: ast.Attribute, loose: int) -> bool:
        """A method is called on it."""
        call = self.program.parents[parent]
        called = isinstance(call, ast.Call) and call.func is parent
        return called and (loose == THING or (loose == SET and parent.attr in facts.SET_METHODS))

    def _indexed(self, node: ast.expr, parent: ast.Subscript, loose: int) -> bool:
        stepped = isinstance(parent.slice, ast.Slice) and parent.slice.step is not None
        return (
            node is parent.value and not loose & (LAZY | STREAM | THING) and not (loose & RANGE and stepped)
        )

    def _spread(self, node: ast.expr, parent: ast.Starred, loose: int) -> bool:
        outer = self.program.parents[parent]
        return not loose & SET and isinstance(outer, ast.Call | ast.List | ast.Tuple)

    def _shown(self, node: ast.expr, parent: ast.FormattedValue, loose: int) -> bool:
        return not loose & ~(VIEW | RANGE) and parent.format_spec is None

    def _part(self, node: ast.expr, parent: ast.Tuple, loose: int) -> bool:
        """One of the values of `a, b = x, y`."""
        outer = self.program.parents[parent]
        if not isinstance(outer, ast.Assign) or len(outer.targets) != 1 or loose & LAZY:
            return False
        pattern = outer.targets[0]
        if paired(pattern, outer) is not parent or not isinstance(pattern, ast.Tuple):
            return False
        return isinstance(pattern.elts[parent.elts.index(node)], ast.Name)

    def _passed(self, node: ast.expr, parent: ast.Call, loose: int) -> bool:
        if node is parent.func:
            return loose == THING
        name = self.kinds.builtin(parent.func)
        function = facts.BUILTINS.get(name) or self.kinds.function(parent.func)
        if function is None and isinstance(parent.func, ast.Attribute):
            function = self.kinds.method(parent.func)
            if parent.func.attr in self.kinds.methods:
                return False
        if function is None or loose & ~sum(_WORDS[word] for word in function.takes):
            return False
        if isinstance(parent.func, ast.Attribute) and loose & SET:
            # An update or union with a set keeps the order to itself only when it is a set's.
            return self.kinds.of(parent.func.value) == SET
        if loose & SET and any(keyword.arg == "key" for keyword in parent.keywords):
            return False  # between equals the order decides
        if name == "isinstance":
            return node is parent.args[0]
        return not loose & LAZY or self._used_up(node, parent, name)

    def _used_up(self, node: ast.expr, parent: ast.Call, name: str) -> bool:
        """Whether a consumer takes everything of a lazy value, so that nobody can tell when it was made."""
        if not self._made_at_once(node):
            return False  # what it leaves in an iterator is another rest
        if name in _SHORT_CIRCUITS:
            return self.total(node)
        if name in _SNAPSHOTS or name in ("map", "filter"):
            return self.pure(node)
        return self.pure(node) or name in ("list", "tuple", "sorted") or not name

    def _made_at_once(self, node: ast.expr) -> bool:
        return not any(self.kinds.of(part) & STREAM for part in getattr(node, "args", ()))

    def _looped(self, node: ast.expr, parent: ast.For, loose: int) -> bool:
        if node is not parent.iter or loose & SET:
            return False
        return not loose & LAZY or (self._snapshot(node) and not self._disturbed(node, parent.body))

    def _gone_through(self, node: ast.expr, parent: ast.comprehension, loose: int) -> bool:
        if node is not parent.iter or loose & SET:
            return False
        return not loose & LAZY or self.pure(self.program.parents[parent])

    def _snapshot(self, node: ast.AST) -> bool:
        """Whether something is a call such as `enumerate(zip(a, b))`: Monty copies what is in it first."""
        return (
            isinstance(node, ast.Call)
            and self.kinds.builtin(node.func) in _SNAPSHOTS
            and self._made_at_once(node)
            and all(self._snapshot(part) for part in node.args if self.kinds.of(part) & LAZY)
        )

    # What an expression does beside giving a value.

    def pure(self, root: ast.AST) -> bool:
        """Whether an expression calls only what changes nothing, shows nothing and waits for nothing."""
        return all(self._pure(node) for node in self.kinds.walk(root))

    def _pure(self, node: ast.AST) -> bool:
        if isinstance(node, _EFFECTS):
            return False
        if (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Load)
            and isinstance(self.program.parents[node], ast.Call)
        ):
            # A function handed to `map` or given as a key.
            places = self.program.bindings.get(node.id, ())
            if any(isinstance(place, _FUNCTIONS) for place in places):
                return False
        if not isinstance(node, ast.Call):
            return True
        name = self.kinds.builtin(node.func)
        function = facts.BUILTINS.get(name) or self.kinds.function(node.func)
        if function is None and getattr(node.func, "attr", None) not in self.kinds.methods:
            function = self.kinds.method(node.func)
        return function is not None and function.pure

    def total(self, root: ast.AST) -> bool:
        """Whether no part of a generator expression can fail, wherever it stops."""
        if not isinstance(root, ast.GeneratorExp) or len(root.generators) != 1:
            return False
        generator = root.generators[0]
        if not isinstance(generator.target, ast.Name) or self.kinds.of(generator.iter) & STREAM:
            return False
        return all(map(self._safe, (root.elt, *generator.ifs)))

    def _safe(self, node: ast.expr) -> bool:
        kinds = self.kinds
        match node:
            case ast.Name() | ast.Constant():
                return True
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._safe(operand)
            case ast.BoolOp(values=values):
                return all(map(self._safe, values))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                if not (self._safe(left) and self._safe(right)):
                    return False
                if isinstance(op, ast.Eq | ast.NotEq | ast.Is | ast.IsNot):
                    return True
                if isinstance(op, ast.In | ast.NotIn):
                    return kinds.is_only(right, LIST | TUPLE) or (
                        kinds.is_only(left, STR) and kinds.is_only(right, STR)
                    )
                return kinds.is_only(left, NUMBER) and kinds.is_only(right, NUMBER)
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return all(map(self._safe, parts))
            case ast.Call(func=ast.Attribute(value=value, attr=attr), args=[], keywords=[]):
                function = facts.METHODS.get(attr)
                known = kinds.is_only(value, STR) and hasattr(str, attr)
                return known and function is not None and function.least == 0 and self._safe(value)
            case ast.Call(func=func, args=[value, _], keywords=[]) if kinds.builtin(func) == "isinstance":
                return self._safe(value)
        return False

    # Whether what a loop goes through is changed meanwhile.

    def _disturbed(self, iterated: ast.expr, body: list[ast.stmt]) -> bool:
        """Whether a loop may change what it goes through, which Monty has copied."""
        roots = self._roots(iterated)
        if not roots:
            return False
        reached = roots | self._parameters if roots & self._parameters else roots
        calls = False
        for statement in body:
            for node in self.kinds.walk(statement):
                if not isinstance(node, _CHANGING):
                    continue
                if not self._changed_names(node).isdisjoint(reached):
                    return True
                calls = calls or self._calls_script(node)
        return calls and bool(roots & self._changed_by_functions)

    @cached_property
    def _parameters(self) -> frozenset[str]:
        """Names of parameters: two of them may be given the same list."""
        return frozenset(node.arg for node in self.kinds.nodes[ast.arg])

    @cached_property
    def _changed_by_functions(self) -> frozenset[str]:
        """Names of what the functions of the script change."""
        return frozenset(
            name
            for kind in _FUNCTIONS
            for function in self.kinds.nodes[kind]
            for node in self.kinds.walk(function)
            for name in self._changed_names(node)
        )

    def _roots(self, iterated: ast.expr) -> frozenset[str]:
        """Names of what a loop goes through; whatever else it goes through is made for it."""
        found: set[str] = set()
        for part in getattr(iterated, "args", ()):
            value = part.value if isinstance(part, ast.Starred) else part
            if self._snapshot(value):
                found |= self._roots(value)
            elif isinstance(value, ast.Call):
                path = chain(value.func)
                if path[-1:] not in (("items",), ("values",), ("keys",)):
                    continue
                found.update(path[:1])
            elif not self.kinds.is_only(value, STR | TUPLE | RANGE):
                found.update(each.id for each in self.kinds.walk(value) if isinstance(each, ast.Name))
        new = list(found)
        while new:
            more = self._aliases.get(new.pop(), set()) - found
            found |= more
            new += more
        return frozenset(found)

    def holds_itself(self, node: ast.Call | ast.Subscript) -> bool:
        """Whether something is put into itself, as far as its names tell."""
        given: list[ast.expr] = []
        if isinstance(node, ast.Subscript):
            statement = self.program.parents[node]
            given = _parts(statement.value) if isinstance(statement, ast.Assign) else []
        elif isinstance(node.func, ast.Attribute) and node.func.attr in _PUTTING:
            given = [part for arg in node.args for part in _parts(arg)]
        names = {part.id for part in given if isinstance(part, ast.Name)}
        if not names:
            return False
        whole = node.value if isinstance(node, ast.Subscript) else node.func
        while isinstance(whole, (*_PARTS, ast.Call)):
            whole = whole.func if isinstance(whole, ast.Call) else whole.value
        root = whole.id if isinstance(whole, ast.Name) else ""
        return bool(root) and not names.isdisjoint(self._same_as(root))

    def _same_as(self, name: str) -> set[str]:
        """The names of what a name is bound to by plain assignments such as `a = b`, it among them."""
        found, new = {name}, [name]
        while new:
            more = self._names_of.get(new.pop(), set()) - found
            found |= more
            new += more
        return found

    @cached_property
    def _names_of(self) -> Mapping[str, set[str]]:
        """The other names of what a name is bound to by one plain `a = b`."""
        found: dict[str, set[str]] = {}
        for node in self.kinds.nodes[ast.Assign]:
            if isinstance(node.value, ast.Name):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, set()).add(node.value.id)
                        found.setdefault(node.value.id, set()).add(target.id)
        return found

    @cached_property
    def _aliases(self) -> Mapping[str, set[str]]:
        """Names through which one thing may be reached: `a = b`, `a = b['c']`, `a = [b]`, `a.append(b)`."""
        found: dict[str, set[str]] = {}
        pairs: list[tuple[str, str]] = []
        for node in self.kinds.nodes[ast.Assign]:
            if len(node.targets) == 1:
                pairs += [(_root(node.targets[0]), _root(part)) for part in _parts(node.value)]
        for node in self.kinds.nodes[ast.Call]:
            if isinstance(node.func, ast.Attribute) and node.func.attr in _PUTTING:
                whole = _root(node.func.value)
                pairs += [(whole, part.id) for part in node.args if isinstance(part, ast.Name)]
        for one, other in pairs:
            if one and other:
                found.setdefault(one, set()).add(other)
                found.setdefault(other, set()).add(one)
        return found

    def _changed_names(self, node: ast.AST) -> set[str]:
        """Names of what a node may change."""
        if isinstance(node, ast.Subscript):
            return self._names(node.value) if isinstance(node.ctx, ast.Store) else set()
        if isinstance(node, ast.AugAssign):
            return set(chain(node.target)[:1])
        if not isinstance(node, ast.Call):
            return set()
        if isinstance(node.func, ast.Attribute):
            method = node.func.attr
            function = facts.METHODS.get(method)
            harmless = function is not None and function.pure and method not in self.kinds.methods
            return set() if harmless else self._names(node.func.value)
        if self._calls_script(node):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            return {part.id for part in arguments if isinstance(part, ast.Name)}
        return set()

    def _names(self, root: ast.AST) -> set[str]:
        return {node.id for node in self.kinds.walk(root) if isinstance(node, ast.Name)}

    def _calls_script(self, node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and not self.kinds.builtin(node.func)
        )


def _root(node: ast.AST) -> str:
    """The name a chain of indexes and attributes begins with."""
    for _ in range(_CHAIN):
        if not isinstance(node, _PARTS):
            break
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _parts(node: ast.expr) -> list[ast.expr]:
    """What a value shares with others: itself, or what is put into it."""
    if isinstance(node, _LISTS):
        return node.elts
    return node.values if isinstance(node, _WITH_VALUES) else [node]


_JUDGES: Mapping[type[ast.AST], Callable[[Places, Any, Any, int], bool]] = {
    ast.Assign: Places._kept,
    ast.AnnAssign: Places._kept,
    ast.NamedExpr: Places._kept,
    ast.AugAssign: Places._changed,
    ast.Expr: Places._dropped,
    ast.If: Places._asked,
    ast.While: Places._asked,
    ast.Assert: Places._asked,
    ast.IfExp: Places._chosen,
    ast.UnaryOp: Places._negated,
    ast.BoolOp: Places._joined,
    ast.BinOp: Places._operand,
    ast.Compare: Places._compared,
    ast.Attribute: Places._read,
    ast.Subscript: Places._indexed,
    ast.Starred: Places._spread,
    ast.FormattedValue: Places._shown,
    ast.Tuple: Places._part,
    ast.Call: Places._passed,
    ast.For: Places._looped,
    ast.comprehension: Places._gone_through,
}
