"""Stops a script that cannot work, before it has called anything.

Three things are looked for: Python the sandbox does not have, tools written like a function of a
Python module, and calls whose `await` was forgotten: of tools, and of the script's own async
functions. The last is a judgement on what happens to the coroutine, and it is made only where
there is no doubt: a coroutine that is kept, passed on or gathered is never touched.
"""

from __future__ import annotations

import ast
import builtins
import importlib
from collections.abc import Callable, Iterable
from enum import Enum
from typing import TypeGuard

from ..types import ScriptError
from . import dialect
from .features import Unsupported, dotted, refused_imports, unsupported
from .parse import Program, chain
from .reach import is_pythons, meaning

_SHOWN = 10
_CHARS = 80
_UNPACKED = 20  # a longer tuple is data, not `a, b = f(), g()`
_CONSUMERS = frozenset(
    [
        "print",
        "str",
        "repr",
        "len",
        "int",
        "float",
        "bool",
        "sorted",
        "sum",
        "list",
        "tuple",
        "set",
        "dict",
        "enumerate",
        "reversed",
        "final_answer",
        "json.loads",
        "json.dumps",
    ]
)
"""Functions that want a value; a coroutine there is a mistake."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)
_COROUTINES = frozenset({"asyncio.gather", "asyncio.sleep"})


def check(
    program: Program,
    is_tool: Callable[[str], bool],
    *,
    importable: Callable[[str], bool] | None = None,
) -> ScriptError | None:
    """One error for everything that is wrong with a script, or None.

    Args:
        program: The parsed script.
        is_tool: Whether a dotted name, without `tools.`, is a tool the script may mean.
        importable: Where it may use all of Python: whether a module may be imported there. Without
            it, what Monty offers is what there is.
    """
    constructs = unsupported(program) if importable is None else refused_imports(program, importable)
    hidden = hidden_tools(program, is_tool)
    calls = [call for call in forgotten_awaits(program, is_tool) if call not in hidden]
    if not constructs and not hidden and not calls:
        return None
    missing, lead = "UnsupportedPython", "The sandbox runs a subset of Python without"
    if importable is not None:
        missing, lead = "ModuleNotFoundError", "Scripts cannot have these modules"
    message, hints = _unsupported_message(constructs, lead)
    sentences = [message] if message else []
    tools = list(dict.fromkeys(hidden.values()))[:_SHOWN]
    sentences += [_hidden_message(tool) for tool in tools]
    hints += [f"write: await tools.{_cut(tool)}(...)" for tool in tools]
    if calls:
        sentences.append(_await_message(program, calls))
        hints.append(_await_hint(program, calls))
    first = next(iter((*hidden, *calls)), None)
    return ScriptError(
        kind=missing if constructs else "NameError" if hidden else "ForgottenAwait",
        message=". ".join(sentence.removesuffix(".") for sentence in sentences),
        position=constructs[0].position if constructs or first is None else program.position(first),
        hint="\n".join(hints),
    )


def _unsupported_message(constructs: tuple[Unsupported, ...], lead: str) -> tuple[str, list[str]]:
    lines: dict[str, list[int]] = {}
    rewrites: dict[str, dict[str, None]] = {}
    for item in constructs:
        lines.setdefault(item.construct, []).append(item.position.line)
        rewrites.setdefault(item.rewrite, {})[item.construct] = None
    if not lines:
        return "", []
    found = [f"{_cut(name)} ({_lines(where)})" for name, where in lines.items()]
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    message = f"{lead}: {', '.join(found[:_SHOWN])}{more}."
    hints = [f"{_cut(', '.join(names))}: {rewrite}" for rewrite, names in rewrites.items()]
    return message, hints[:_SHOWN]


def _cut(text: str) -> str:
    return text if len(text) <= _CHARS else text[: _CHARS - 1] + "…"


def _lines(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    return f"line {shown}" if len(numbers) == 1 else f"lines {shown}"


def _await_message(program: Program, calls: list[ast.Call]) -> str:
    if len(calls) == 1:
        return f"{_cut(program.text(calls[0].func))}(...) is not awaited"
    found = [f"{_cut(program.text(call.func))}(...) (line {call.lineno})" for call in calls[:_SHOWN]]
    more = f", and {len(calls) - _SHOWN} more" if len(calls) > _SHOWN else ""
    return f"These calls are not awaited: {', '.join(found)}{more}."


def _await_hint(program: Program, calls: list[ast.Call]) -> str:
    text = _cut(" ".join(program.text(calls[0]).split()))
    inner = isinstance(program.parents[calls[0]], ast.Attribute | ast.Subscript)
    return f"write: (await {text})" if inner else f"write: await {text}"


def _hidden_message(tool: str) -> str:
    root, _, name = tool.partition(".")
    builtin = hasattr(builtins, root)
    there = builtin or root in dialect.MODULES
    why = f"and it has no {_cut(name)}" if there else "which is not available here"
    return f"`{root}` alone means Python's {'builtin' if builtin else 'module'}, {why}"


def hidden_tools(program: Program, is_tool: Callable[[str], bool]) -> dict[ast.Call, str]:
    """Calls such as `time.get_weather()`, with the tool each means: bare, `time` is Python's own."""
    found: dict[ast.Call, str] = {}
    for node in program.nodes:
        if not isinstance(node, ast.Call):
            continue
        path = chain(node.func)
        if len(path) > 1 and path[0] not in program.bindings:
            name = ".".join(path)
        else:
            name = dotted(program, node.func)
        root, _, rest = name.partition(".")
        if rest and is_tool(name) and is_pythons(root) and not _has(root, rest.partition(".")[0]):
            found[node] = name
    return found


def _has(root: str, name: str) -> bool:
    """Whether a builtin, or a module the sandbox has, has an attribute of that name in Python."""
    if hasattr(builtins, root):
        return hasattr(getattr(builtins, root), name)
    return root in dialect.MODULES and hasattr(importlib.import_module(root), name)


def forgotten_awaits(program: Program, is_tool: Callable[[str], bool]) -> list[ast.Call]:
    """Calls that are used as if they were results, or dropped, without an `await`."""
    uses = _Uses(program, is_tool)
    return [node for node in program.nodes if isinstance(node, ast.Call) and uses.forgotten(node)]


class _Use(Enum):
    """What happens to a coroutine in one place."""

    BROKEN = 1
    """It fails for certain: subscripted, iterated, added to something."""
    WASTED = 2
    """It does not fail, and cannot be meant: printed, compared, dropped."""
    AWAITED = 3
    """Awaited or gathered here."""
    PASSED = 4
    """Kept, passed on or returned; whoever gets it may await it."""


class _Uses:
    """Decides for each call that makes a coroutine what becomes of it."""

    def __init__(self, program: Program, is_tool: Callable[[str], bool]) -> None:
        self.program = program
        self.is_tool = is_tool
        self.loads: dict[str, list[ast.Name]] | None = None
        self.verdicts: dict[str, bool] = {}

    def forgotten(self, call: ast.Call) -> bool:
        if isinstance(self.program.parents[call], ast.Await) or not self.makes_coroutine(call):
            return False
        names = self.assigned_names(call)
        if names is None:
            return self.use(call) in (_Use.BROKEN, _Use.WASTED)
        for name in names:
            if name not in self.verdicts:
                self.verdicts[name] = self.name_forgotten(name)
        return any(self.verdicts[name] for name in names)

    def makes_coroutine(self, call: ast.Call) -> bool:
        if isinstance(call.func, ast.Name) and self.is_async_function(call.func.id):
            return True
        path = meaning(self.program, chain(call.func))
        if not path or path[0] == "runtime":
            return False
        if path[0] == "tools":
            return len(path) > 1 and self.is_tool(".".join(path[1:]))
        if path[0] == "asyncio":
            return ".".join(path) in _COROUTINES
        return not hasattr(builtins, path[0]) and self.is_tool(".".join(path))

    def is_async_function(self, name: str) -> bool:
        """Whether a name means one plain `async def` of the script's top level, and nothing else."""
        places = self.program.bindings.get(name, ())
        if len(places) != 1 or not isinstance(places[0], ast.AsyncFunctionDef):
            return False
        plain = not places[0].decorator_list and self.program.parents[places[0]] is self.program.tree
        return plain and not self.generates(places[0])

    def generates(self, function: ast.AST) -> bool:
        """Whether a function is a generator, whose calls are looped over and not awaited."""
        for node in self.program.nodes:
            if isinstance(node, ast.Yield | ast.YieldFrom):
                parent = self.program.parents[node]
                while not isinstance(parent, _FUNCTIONS):
                    parent = self.program.parents[parent]
                if parent is function:
                    return True
        return False

    def assigned_names(self, call: ast.Call) -> list[str] | None:
        """The names a call's coroutine is assigned to; None when it is not assigned to plain names."""
        value: ast.AST = call
        parent = self.program.parents[call]
        if isinstance(parent, ast.NamedExpr):
            return [parent.target.id]
        index = -1
        if _is_unpacked(parent) and isinstance(self.program.parents[parent], ast.Assign):
            index = parent.elts.index(call)
            value, parent = parent, self.program.parents[parent]
        targets: list[ast.expr] = []
        if isinstance(parent, ast.Assign) and parent.value is value and len(parent.targets) == 1:
            targets = parent.targets
        elif isinstance(parent, ast.AnnAssign) and parent.value is value:
            targets = [parent.target]
        if index >= 0 and targets:
            pattern = targets[0]
            same = isinstance(pattern, ast.Tuple) and len(pattern.elts) == len(getattr(value, "elts", ()))
            targets = [pattern.elts[index]] if same and isinstance(pattern, ast.Tuple) else []
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        return names or None

    def name_forgotten(self, name: str) -> bool:
        if not all(self.binds_coroutine(place) for place in self.program.bindings[name]):
            return False
        uses = {self.use(node) for node in self.loads_of(name)}
        if _Use.AWAITED in uses:
            return False
        return _Use.BROKEN in uses or (_Use.WASTED in uses and _Use.PASSED not in uses)

    def binds_coroutine(self, place: ast.AST) -> bool:
        parent = self.program.parents[place]
        value: ast.AST | None = None
        if isinstance(parent, ast.Assign | ast.AnnAssign | ast.NamedExpr):
            value = parent.value
        elif _is_unpacked(parent):
            statement = self.program.parents[parent]
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Tuple):
                elements = statement.value.elts
                if len(elements) == len(parent.elts) and isinstance(place, ast.expr):
                    value = elements[parent.elts.index(place)]
        return isinstance(value, ast.Call) and self.makes_coroutine(value)

    def loads_of(self, name: str) -> Iterable[ast.Name]:
        if self.loads is None:
            self.loads = {}
            for node in self.program.nodes:
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    self.loads.setdefault(node.id, []).append(node)
        return self.loads.get(name, ())

    def use(self, node: ast.expr) -> _Use:
        """What the place where an expression stands does with it."""
        parent = self.program.parents[node]
        match parent:
            case ast.Await():
                return _Use.AWAITED
            case ast.BinOp(op=ast.Mod()):
                return _Use.WASTED  # text formatting, most likely
            case ast.Attribute(attr="close"):
                return _Use.PASSED  # a coroutine has this method, for one that is not wanted after all
            case ast.Attribute() | ast.BinOp() | ast.AugAssign():
                return _Use.BROKEN
            case ast.Subscript(value=value) if value is node:
                return _Use.BROKEN
            case ast.For(iter=iterated) | ast.comprehension(iter=iterated) if iterated is node:
                return _Use.BROKEN
            case ast.Assign(value=value, targets=[ast.Tuple() | ast.List()]) if value is node:
                return _Use.BROKEN
            case ast.Compare() | ast.FormattedValue() | ast.UnaryOp() | ast.Expr():
                return _Use.WASTED
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.Assert(test=test):
                return _Use.WASTED if test is node else _Use.PASSED
            case ast.Return():
                return _Use.PASSED if self.in_function(parent) else _Use.WASTED
            case ast.Call():
                return self.argument_use(node, parent)
        return _Use.PASSED

    def argument_use(self, node: ast.expr, call: ast.Call) -> _Use:
        function = chain(call.func)
        if function[-1:] == ("gather",):
            return _Use.AWAITED
        consumes = ".".join(function) in _CONSUMERS and node is not call.func
        own = bool(function) and len(function) == 1 and function[0] in self.program.bindings
        return _Use.WASTED if consumes and not own else _Use.PASSED

    def in_function(self, node: ast.AST) -> bool:
        parent = self.program.parents.get(node)
        while parent is not None:
            if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                return True
            parent = self.program.parents.get(parent)
        return False


def _is_unpacked(node: ast.AST) -> TypeGuard[ast.Tuple]:
    return isinstance(node, ast.Tuple) and len(node.elts) <= _UNPACKED
