"""Where a script could tell Monty's errors from CPython's: in what it does with those it catches.

Both fail at the same places, nearly always with the same kind of error; a few kinds and many texts
differ, between versions of CPython too. That matters only to a handler that reads an error, or
that catches one kind and not the other. Only what can raise inside its `try` counts: the statements
there, and every function of the script when they call one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .kinds import BYTES, DICT, LIST, NUMBER, SET, STR, TUPLE, Kinds
from .places import walk

_BROAD = frozenset({"Exception", "BaseException", "ToolError"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_DIVISIONS = (ast.Div, ast.FloorDiv, ast.Mod)
_TEXT_METHODS = frozenset(
    [
        "strip",
        "lstrip",
        "rstrip",
        "split",
        "rsplit",
        "startswith",
        "endswith",
        "find",
        "rfind",
        "count",
        "partition",
        "rpartition",
        "replace",
        "removeprefix",
        "removesuffix",
    ]
)
_CONTAINERS = LIST | TUPLE | DICT | STR | SET
_TELLING = frozenset({"index", "rindex", "popleft"})
"""Methods whose errors have another text."""


def doubt_of_handlers(kinds: Kinds) -> tuple[ast.AST, str] | None:
    """A place whose error a handler of the script could tell from CPython's, and what stands there."""
    program = kinds.program
    functions: dict[bool, tuple[ast.AST, str] | None] = {}
    gathers = any(_gathers(kinds, node) for node in program.nodes)
    for statement in program.nodes:
        if not isinstance(statement, ast.Try) or not statement.handlers:
            continue
        reads = any(_reads(kinds, handler) for handler in statement.handlers)
        if not reads and not gathers and all(map(_is_broad, statement.handlers)):
            continue
        inside = [node for part in statement.body for node in walk(part)]
        found = _first_doubt(kinds, inside, reads)
        if found is None and any(
            isinstance(node, ast.Call) and not _is_known(kinds, node) for node in inside
        ):
            if reads not in functions:
                bodies = [
                    node for each in program.nodes if isinstance(each, _FUNCTIONS) for node in _body(each)
                ]
                functions[reads] = _first_doubt(kinds, bodies, reads)
            found = functions[reads]
        if found is not None:
            return found
    return None


def _first_doubt(kinds: Kinds, nodes: list[ast.AST], reads: bool) -> tuple[ast.AST, str] | None:
    for node in nodes:
        construct = (_text_differs(kinds, node) if reads else "") or _kind_differs(kinds, node)
        if not construct and _gathers(kinds, node):
            construct = "asyncio.gather() of functions of its own"
        if construct:
            return node, construct
    return None


def _gathers(kinds: Kinds, node: ast.AST) -> bool:
    """Whether coroutines of the script are gathered: when one fails, CPython lets the others go on first."""
    gather = isinstance(node, ast.Call) and kinds.path(node.func) == "asyncio.gather"
    return gather and any(isinstance(each, ast.AsyncFunctionDef) for each in kinds.program.nodes)


def _body(function: ast.AST) -> Iterator[ast.AST]:
    parts = function.body if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) else [function]
    for part in parts:
        yield from walk(part)


def _is_known(kinds: Kinds, node: ast.Call) -> bool:
    """Whether a call is none of a function of the script."""
    if isinstance(node.func, ast.Name):
        return node.func.id not in kinds.program.bindings or bool(kinds.path(node.func))
    return isinstance(node.func, ast.Attribute) and node.func.attr not in kinds.methods


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or (isinstance(handler.type, ast.Name) and handler.type.id in _BROAD)


def _reads(kinds: Kinds, handler: ast.ExceptHandler) -> bool:
    """Whether a handler looks at the error it caught, other than to raise it again."""
    if not handler.name:
        return False
    for part in handler.body:
        for node in walk(part):
            its_name = isinstance(node, ast.Name) and node.id == handler.name
            if its_name and not isinstance(kinds.program.parents[node], ast.Raise):
                return True
    return False


def _text_differs(kinds: Kinds, node: ast.AST) -> str:
    """What an error at a node may be told in other words for; empty when in the same."""
    match node:
        case ast.BinOp(op=ast.Add(), left=left):
            return "a sum" if kinds.of(left) & (BYTES | TUPLE) and not kinds.of(left) & STR else ""
        case ast.BinOp(op=op, left=left, right=right) | ast.AugAssign(op=op, target=left, value=right):
            by_number = isinstance(right, ast.Constant) and bool(right.value)
            formats = kinds.is_only(left, STR)
            return "a division" if isinstance(op, _DIVISIONS) and not (by_number or formats) else ""
        case ast.Compare(ops=asked, comparators=rights):
            pairs = zip(asked, rights, strict=True)
            containers = [right for each, right in pairs if isinstance(each, ast.In | ast.NotIn)]
            return "" if all(kinds.is_only(each, _CONTAINERS) for each in containers) else "`in`"
        case ast.Assert():
            return "assert"
        case ast.Assign(targets=[ast.Tuple() | ast.List()]) | ast.For(target=ast.Tuple() | ast.List()):
            return "" if _gives_pairs(kinds, getattr(node, "iter", None)) else "unpacking"
        case ast.comprehension(target=ast.Tuple() | ast.List(), iter=iterated):
            return "" if _gives_pairs(kinds, iterated) else "unpacking"
        case ast.Subscript(value=value, slice=part, ctx=ast.Load()):
            text = kinds.is_only(part, STR) or isinstance(part, ast.Slice)
            return "" if text or kinds.is_only(value, LIST | STR | TUPLE) else "an index or a key"
        case ast.Call():
            return _call_differs(kinds, node)
    return ""


def _gives_pairs(kinds: Kinds, iterated: ast.AST | None) -> bool:
    if not isinstance(iterated, ast.Call):
        return False
    if isinstance(iterated.func, ast.Attribute):
        return iterated.func.attr == "items"
    return kinds.builtin(iterated.func) in ("enumerate", "zip")


def _call_differs(kinds: Kinds, node: ast.Call) -> str:
    name = kinds.builtin(node.func)
    if name in ("min", "max"):
        return "" if any(keyword.arg == "default" for keyword in node.keywords) else f"{name}()"
    if name in ("set", "frozenset", "dict", "chr", "ord"):
        return f"{name}()" if node.args else ""
    path = kinds.path(node.func)
    if path.startswith(("math.", "datetime.", "random.", "base64.", "json.", "collections.", "hashlib.")):
        return f"{path}()"
    if not isinstance(node.func, ast.Attribute) or path or node.func.attr in kinds.methods:
        return ""
    method = node.func.attr
    if method in _TELLING:
        return f".{method}()"
    if method in ("pop", "remove") and node.args and not kinds.is_only(node.args[0], STR):
        return f".{method}()"
    if method in _TEXT_METHODS and not all(kinds.is_only(arg, STR | NUMBER) for arg in node.args):
        return f".{method}()"
    return ""


def _kind_differs(kinds: Kinds, node: ast.AST) -> str:
    """What an error at a node may be of another kind for; empty when of the same."""
    match node:
        case ast.Subscript(value=value, slice=ast.Slice()):
            return "" if kinds.is_only(value, LIST | STR | TUPLE) else "a slice of what may be a dict"
        case ast.FormattedValue(format_spec=spec, value=value) if spec is not None:
            return "" if kinds.is_only(value, NUMBER | STR) else "a format of what may be None"
        case ast.Call(func=ast.Attribute(attr="format"), args=args) if args:
            return ".format()"
        case ast.GeneratorExp():
            return "a generator expression"
        case ast.Call(func=func) if kinds.builtin(func) in ("chr", "map", "filter"):
            return f"{kinds.builtin(func)}()"
        case ast.BinOp(op=ast.Add() | ast.Sub(), left=left, right=right) if (
            "datetime" in kinds.program.imports
        ):
            return (
                ""
                if kinds.is_only(left, NUMBER | STR) and kinds.is_only(right, NUMBER | STR)
                else "a sum of times"
            )
    return ""
