"""Which calls of a script reach for a tool, whether they are ever made, and who handles their failure.

All of it is read off the syntax tree. Where the tree leaves a doubt, the answer is the one that
stops nothing: a name that may mean something else means nothing here, code that may be reached
is reached, and a handler that may catch does.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from .features import imported
from .parse import Program, chain

_MANY_USES = 100  # of one name; where there are more, each is taken to be in order
_OURS = frozenset({"runtime", "final_answer", "ToolError"})
_DYNAMIC = frozenset({"exec", "eval", "globals", "locals", "vars", "setattr", "delattr"})
_DISCOVERY = frozenset({"list_tools", "search_tools", "get_tool_info", "hasattr", "getattr", "dir"})
_BROAD = frozenset({"Exception", "BaseException"})
_ENDS = frozenset({("final_answer",), ("exit",), ("quit",), ("sys", "exit")})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_CONDITIONS = (
    *(ast.If, ast.IfExp, ast.BoolOp, ast.While, ast.Match, ast.Try),
    *(ast.For, ast.comprehension, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
    *_FUNCTIONS,
)
_DEEPEST = 20  # parts of a dotted name


@dataclass(frozen=True, slots=True)
class Reached:
    """A call of something that can only be a tool: `name` is what the gate will be asked for."""

    node: ast.Call
    name: str
    bare: bool
    """Written without `tools.`."""
    awaited: bool
    """Stands under an `await`, or is handed to `asyncio.gather`."""


def meaning(program: Program, path: tuple[str, ...]) -> tuple[str, ...]:
    """A path with imports and simple aliases followed; empty when its root is the script's own."""
    for _ in range(10):  # an alias of an alias of ...; a cycle ends here too
        places = program.bindings.get(path[0]) if path else None
        if not places:
            return path
        place = places[0]
        parent = program.parents[place]
        if isinstance(place, ast.alias):
            full = imported(program, path[0])
            known = full.partition(".")[0] in ("tools", "asyncio")
            return (*full.split("."), *path[1:]) if known else ()
        if len(places) > 1 or not isinstance(parent, ast.Assign | ast.AnnAssign) or parent.value is None:
            return ()
        if isinstance(parent, ast.Assign) and parent.targets != [place]:
            return ()
        value = chain(parent.value)
        path = (*value, *path[1:]) if value else ()
    return ()


def is_pythons(root: str) -> bool:
    """Whether a bare name means something of Python's own, whatever namespaces there are."""
    return hasattr(builtins, root) or root in sys.stdlib_module_names


class Reach:
    """The calls of one script, and what surrounds them."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._handled: dict[tuple[ast.AST, frozenset[str]], bool] = {}
        self._named: dict[frozenset[str], bool] = {}
        self._reachable: dict[ast.AST, bool] = {}
        self._blocks: dict[int, set[ast.stmt]] = {}

    @cached_property
    def calls(self) -> tuple[Reached, ...]:
        """Every call whose name can be read off the tree, in source order, unless it is never made."""
        return tuple(self._calls())

    def _calls(self) -> Iterator[Reached]:
        program = self.program
        for node in program.nodes:
            if not isinstance(node, ast.Call):
                continue
            path = meaning(program, chain(node.func))
            if not path or len(path) > _DEEPEST or path[0] in self._assigned_into:
                continue
            bare = path[0] != "tools"
            if bare and (path[0] in _OURS or is_pythons(path[0]) or program.identifiers & _DYNAMIC):
                continue
            name = ".".join(path if bare else path[1:])
            if not name or any(part.startswith("__") for part in path) or not self.reachable(node):
                continue
            yield Reached(node, name, bare, self._is_awaited(node))

    @cached_property
    def _assigned_into(self) -> frozenset[str]:
        """Roots of attribute chains the script assigns to: `tools.x = …` makes an x."""
        return frozenset(
            path[0]
            for node in self.program.nodes
            if isinstance(node, ast.Attribute)
            and not isinstance(node.ctx, ast.Load)
            and (path := meaning(self.program, chain(node)) or chain(node))
        )

    def _is_awaited(self, node: ast.AST) -> bool:
        parent = self.program.parents[node]
        while isinstance(parent, ast.ListComp | ast.GeneratorExp | ast.List | ast.Tuple | ast.Starred):
            parent = self.program.parents[parent]
        if isinstance(parent, ast.Call):
            return chain(parent.func)[-1:] == ("gather",)
        return isinstance(parent, ast.Await)

    # --- who handles a failure

    def handled(self, node: ast.AST, errors: frozenset[str]) -> bool:
        """Whether a `try` around `node`, or around a use of its function, names one of `errors`.

        A call that is kept or passed on fails where it is awaited: there any `try` may be the one.
        """
        if self._is_kept(node) and self._named_anywhere(errors):
            return True
        trail: list[tuple[ast.AST, frozenset[str]]] = []
        found = False
        child, parent = node, self.program.parents.get(node)
        while parent is not None and not found:
            key = (child, errors)
            if key in self._handled:
                found = self._handled[key]
                break
            self._handled[key] = True  # functions that call each other: somebody may handle it
            trail.append(key)
            if isinstance(parent, ast.Try) and any(child is each for each in parent.body):
                found = any(_names(handler, errors) for handler in parent.handlers)
            elif isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                waits = isinstance(parent, ast.AsyncFunctionDef)
                uses = self._outer_uses(parent)
                found = len(uses) > _MANY_USES or any(self._use_handled(use, waits, errors) for use in uses)
            elif isinstance(parent, ast.Lambda):
                found = self._named_anywhere(errors)
            child, parent = parent, self.program.parents.get(parent)
        self._handled.update(dict.fromkeys(trail, found))
        return found

    def _is_kept(self, node: ast.AST) -> bool:
        dropped = isinstance(self.program.parents.get(node), ast.Expr)
        return isinstance(node, ast.Call) and not dropped and not self._is_awaited(node)

    def _use_handled(self, use: ast.AST, waits: bool, errors: frozenset[str]) -> bool:
        """The same for where a function is named: called there, or passed on to be called elsewhere."""
        call = self.program.parents[use]
        if not isinstance(call, ast.Call) or call.func is not use:
            return self._named_anywhere(errors)
        return self.handled(call if waits else use, errors)

    def _named_anywhere(self, errors: frozenset[str]) -> bool:
        if errors not in self._named:
            handlers = (node for node in self.program.nodes if isinstance(node, ast.ExceptHandler))
            self._named[errors] = any(_names(handler, errors) for handler in handlers)
        return self._named[errors]

    def has_fallback(self, node: ast.AST) -> bool:
        """Whether a `try` without any call of a tool catches whatever goes wrong at `node`."""
        child, parent = node, self.program.parents.get(node)
        while parent is not None:
            if isinstance(parent, ast.Try) and any(child is each for each in parent.body):
                waits = any(isinstance(part, ast.Await) for each in parent.body for part in ast.walk(each))
                if not waits and any(_names(handler, _BROAD) for handler in parent.handlers):
                    return True
            child, parent = parent, self.program.parents.get(parent)
        return False

    @cached_property
    def _uses(self) -> dict[str, list[ast.AST]]:
        """Where each name is read, as a name or as an attribute."""
        found: dict[str, list[ast.AST]] = {}
        for node in self.program.nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                found.setdefault(node.id, []).append(node)
            elif isinstance(node, ast.Attribute):
                found.setdefault(node.attr, []).append(node)
        return found

    # --- whether it is ever evaluated

    def reachable(self, node: ast.AST) -> bool:
        """Whether a node may be evaluated at all."""
        trail: list[ast.AST] = []
        found = True
        child, parent = node, self.program.parents.get(node)
        while parent is not None and found:
            if child in self._reachable:
                found = self._reachable[child]
                break
            self._reachable[child] = True  # functions that call each other
            trail.append(child)
            found = self._goes_on(child, parent)
            child, parent = parent, self.program.parents.get(parent)
        self._reachable.update(dict.fromkeys(trail, found))
        return found

    def _goes_on(self, child: ast.AST, parent: ast.AST) -> bool:
        """Whether evaluating `parent` may come to `child`."""
        if isinstance(child, ast.stmt) and self._after_end(child, parent):
            return False
        if isinstance(parent, ast.If | ast.IfExp | ast.While) and child is not parent.test:
            body = parent.body if isinstance(parent.body, list) else [parent.body]
            fixed = self._truth(parent.test)
            return fixed is None or fixed == any(child is each for each in body)
        if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef):
            plain = not parent.decorator_list and not isinstance(
                self.program.parents.get(parent), ast.ClassDef
            )
            uses = self._outer_uses(parent)
            return not plain or len(uses) > _MANY_USES or any(map(self.reachable, uses))
        return True

    def _after_end(self, child: ast.stmt, parent: ast.AST) -> bool:
        for field in ("body", "orelse", "finalbody"):
            block = getattr(parent, field, None)
            if isinstance(block, list) and child in self._cut_off(block):
                return True
        return False

    def _cut_off(self, block: list[ast.stmt]) -> set[ast.stmt]:
        key = id(block)
        if key not in self._blocks:
            ends = next((index for index, each in enumerate(block) if self._ends(each)), len(block))
            self._blocks[key] = set(block[ends + 1 :])
        return self._blocks[key]

    def _ends(self, statement: ast.stmt) -> bool:
        """Whether nothing after this statement, in its block, is ever reached."""
        match statement:
            case ast.Return() | ast.Raise() | ast.Break() | ast.Continue():
                return True
            case ast.Expr(value=ast.Call(func=function)):
                return chain(function) in _ENDS
            case ast.If():
                return all(any(map(self._ends, block)) for block in (statement.body, statement.orelse))
            case ast.With():
                return any(map(self._ends, statement.body))
            case ast.While():
                forever = self._truth(statement.test) is True
                return forever and not any(isinstance(each, ast.Break) for each in ast.walk(statement))
        return False

    def _truth(self, test: ast.expr) -> bool | None:
        """What a condition always is, when it is a constant or a name for one."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            inner = self._truth(test.operand)
            return None if inner is None else not inner
        if chain(test)[-1:] == ("TYPE_CHECKING",):
            return False
        if isinstance(test, ast.Name):
            value = constant(self.program, test)
            return None if value is None else bool(value.value)
        return bool(test.value) if isinstance(test, ast.Constant) else None

    def _outer_uses(self, definition: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list[ast.AST]:
        """Where a function or class is named, its own body apart."""
        inside = range(definition.lineno, (definition.end_lineno or definition.lineno) + 1)
        uses = self._uses.get(definition.name, ())
        return [use for use in uses if getattr(use, "lineno", 0) not in inside]

    def conditional(self, node: ast.AST) -> bool:
        """Whether a script that looks at what tools there are makes this call on a condition.

        The condition may be around the call, or before it: `if not …: return`.
        """
        if not self.program.identifiers & _DISCOVERY:
            return False
        child, parent = node, self.program.parents.get(node)
        while parent is not None:
            if isinstance(parent, _CONDITIONS) or (isinstance(child, ast.stmt) and self._may_skip(child)):
                return True
            child, parent = parent, self.program.parents.get(parent)
        return False

    def _may_skip(self, statement: ast.stmt) -> bool:
        """Whether something that stands before a statement, at its level, may leave before it is reached."""
        return self._first_exit.get(self.program.parents[statement], statement.lineno) < statement.lineno

    @cached_property
    def _first_exit(self) -> dict[ast.AST, int]:
        """For everything that has a way out inside it, such as a `return`, the line of the first."""
        found: dict[ast.AST, int] = {}
        for node in self.program.nodes:
            leaves = isinstance(node, ast.Return | ast.Raise | ast.Continue | ast.Break)
            if leaves or (isinstance(node, ast.Call) and chain(node.func) in _ENDS):
                place: ast.AST | None = node
                while place is not None and place not in found:
                    found[place] = getattr(node, "lineno", 0)
                    inner = isinstance(node, ast.Return) and isinstance(place, _FUNCTIONS)
                    place = None if inner else self.program.parents.get(place)
        return found


def constant(program: Program, name: ast.Name) -> ast.Constant | None:
    """The constant a name stands for, when it is given one in one place and nothing else anywhere."""
    places = program.bindings.get(name.id, ())
    if len(places) != 1:
        return None
    parent = program.parents[places[0]]
    simple = isinstance(parent, ast.AnnAssign) or (
        isinstance(parent, ast.Assign) and parent.targets == [places[0]]
    )
    value = getattr(parent, "value", None)
    return value if simple and isinstance(value, ast.Constant) else None


def _names(handler: ast.ExceptHandler, errors: frozenset[str]) -> bool:
    if handler.type is None:
        return "BaseException" in errors
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    paths = [chain(each) for each in types]
    known = all((path and hasattr(builtins, path[-1])) or path == ("ToolError",) for path in paths)
    return not known or any(path[-1] in errors for path in paths)
