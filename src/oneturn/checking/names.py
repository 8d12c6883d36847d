"""Calls and imports of tools that are not there, or not for this caller.

The verdict and its words are those of the gate's first guard, asked ahead of time. Only scope
decides, so nothing is said about a tool outside it but that it is not allowed.
"""

from __future__ import annotations

import ast
import builtins
import difflib
from collections.abc import Iterator

from ..gate.base import Budget, Context, Request, cut
from ..gate.guards import scope as scope_guard
from ..program import Program, Reach, Reached
from ..program.reach import is_pythons
from ..tools.scope import Scope
from ..types import Call, Failure, Limits
from .problems import Problem

_HANDLES = frozenset({"NameError", "UnboundLocalError", "AttributeError", "PermissionError"})
_HANDLES_IMPORT = _HANDLES | {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
_BLOCKS = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.If, ast.While, ast.For, ast.Try, ast.Match,
)  # fmt: skip
_MOST = 50  # problems looked for; a script with more has learnt enough


def unknown_tools(reach: Reach, scope: Scope) -> list[Problem]:
    """One problem for every name that would be refused: blocking, unless the script is prepared."""
    found: list[Problem | None] = []
    for call in reach.calls:
        if len(found) < _MOST and _is_meant_as_tool(call, scope):
            blocks = not reach.handled(call.node, _HANDLES) and not reach.conditional(call.node)
            blocks = blocks and not _is_like_nothing(call, scope, reach.program)
            found.append(_problem(reach.program, call.node, call.name, scope, blocks))
    for node, name in _imports(reach.program, scope):
        if len(found) < _MOST and reach.reachable(node):
            blocks = not reach.handled(node, _HANDLES_IMPORT) and not reach.conditional(node)
            found.append(_problem(reach.program, node, name, scope, blocks, imported=True))
    return [problem for problem in found if problem is not None]


def _is_meant_as_tool(call: Reached, scope: Scope) -> bool:
    """Whether a call is of a tool, for certain, and there is no such tool in scope."""
    status = scope.status(call.name)
    if status == "allowed" or _is_inside_tool(call.name, scope):
        return False
    root, dot, _ = call.name.partition(".")
    inside = not dot or root in scope.top_level  # a lone name nobody has defined can be nothing else
    return not call.bare or call.awaited or status != "unknown" or inside


def _is_like_nothing(call: Reached, scope: Scope, program: Program) -> bool:
    """A plain function that is no misspelling of anything: Python's own affair, if it is ever reached."""
    name = call.name
    if "." in name or call.awaited or scope.status(name) != "unknown" or _at_once(call.node, program):
        return False
    return not scope.nearest(name) and not _similar(name, program)


def _at_once(node: ast.AST, program: Program) -> bool:
    """Whether a place is reached however the script goes on, as far as its blocks tell."""
    child, parent = node, program.parents.get(node)
    while parent is not None:
        tested = isinstance(parent, ast.If | ast.While) and child is parent.test
        if isinstance(parent, _BLOCKS) and not tested:
            return False
        child, parent = parent, program.parents.get(parent)
    return True


def _similar(name: str, program: Program) -> list[str]:
    """The one name of Python's or the script's that it looks like."""
    known = {*dir(builtins), *program.bindings}
    return difflib.get_close_matches(name, known, 1) if len(name) < 100 else []


def _is_inside_tool(name: str, scope: Scope) -> bool:
    """`shop.find.more`: what a function has for attributes is another matter."""
    parts = name.split(".")
    return any(scope.get(".".join(parts[:count])) is not None for count in range(1, len(parts)))


def _imports(program: Program, scope: Scope) -> Iterator[tuple[ast.ImportFrom, str]]:
    """`from tools.x import y` where there is neither a tool nor a namespace x.y."""
    for node in program.nodes:
        if not isinstance(node, ast.ImportFrom) or node.level:
            continue
        root, _, inner = (node.module or "").partition(".")
        if root != "tools":
            continue
        for alias in node.names:
            name = f"{inner}.{alias.name}" if inner else alias.name
            odd = alias.name == "*" or any(map(is_pythons, name.split(".")))
            if not odd and scope.get(name) is None and not _is_namespace(name, scope):
                yield node, name


def _is_namespace(name: str, scope: Scope) -> bool:
    return any(space == name or space.startswith(f"{name}.") for space in scope.namespaces())


def _problem(
    program: Program,
    node: ast.Call | ast.ImportFrom,
    name: str,
    scope: Scope,
    blocks: bool,
    *,
    imported: bool = False,
) -> Problem | None:
    failure = scope_guard(Request(Call(0, "tool", name)), Context(scope, Limits(), Budget()))
    if not isinstance(failure, Failure):
        return None  # it has come into scope this very moment
    near = scope.nearest(name) if failure.kind == "NameError" else []
    # What an import binds looks like itself.
    own = [] if isinstance(node, ast.ImportFrom) else _similar(name, program)
    if failure.kind == "NameError" and own:
        hint = f"Write {own[0]}."
    elif near:
        hint = f"Write tools.{near[0]} or see runtime.get_tool_info('{near[0]}')."
    elif scope.status(name) == "forbidden":
        hint = "Use a tool that runtime.list_tools() shows, or leave this step to the person you work for."
    elif failure.kind == "PermissionError":
        hint = ""
    else:
        hint = "Find the tool with runtime.search_tools('...')."
    place = node if isinstance(node, ast.ImportFrom) else node.func
    kind = "ImportError" if imported and failure.kind == "NameError" else failure.kind
    return Problem(kind, cut(failure.message, 600), program.position(place), hint, blocks)
