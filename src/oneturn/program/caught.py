"""Where a script could tell Monty's errors from CPython's: in what it does with those it catches.

Both fail at the same places, nearly always with the same kind of error; a few kinds and many texts
differ, between versions of CPython too. That matters only to a handler that reads an error, or
that catches one kind and not the other. Only what can raise inside its `try` counts: the statements
there, and every function of the script when they call one.

A tool may raise any kind. What Monty does not have it raises as the nearest kind that it has: with the
same text, and the same to every `except` that may be written. So such errors may be caught and told as
text, and nothing else of them may be shown.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from . import monty_facts as facts
from .kinds import BYTES, DICT, LIST, NUMBER, SET, STR, TUPLE, Kinds

_BROAD = frozenset({"Exception", "BaseException", "ToolError"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (*_FUNCTIONS, *_COMPREHENSIONS, ast.Module)
_DECLARATIONS = (ast.Global, ast.Nonlocal)
_RAISING = (
    *(ast.Call, ast.Subscript, ast.BinOp, ast.AugAssign, ast.Compare, ast.Assert, ast.Assign, ast.For),
    *(ast.comprehension, ast.FormattedValue, ast.GeneratorExp),
)
"""What is asked whether its error differs."""
_AS_TEXT = (-1, ord("s"))  # conversions of an f-string
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
    functions: dict[bool, tuple[ast.AST, str] | None] = {}
    statements = [statement for statement in kinds.nodes[ast.Try] if statement.handlers]
    gathers = bool(statements) and any(_gathers(kinds, node) for node in kinds.nodes[ast.Call])
    for statement in statements:
        reads = any(_reads(kinds, handler) for handler in statement.handlers)
        if not reads and not gathers and all(map(_is_broad, statement.handlers)):
            continue
        inside = [node for part in statement.body for node in kinds.walk(part)]
        found = _first_doubt(kinds, inside, reads)
        if found is None and any(
            isinstance(node, ast.Call) and not _is_known(kinds, node) for node in inside
        ):
            if reads not in functions:
                own = (each for each in kinds.program.nodes if isinstance(each, _FUNCTIONS))
                bodies = [node for each in own for node in _body(kinds, each)]
                functions[reads] = _first_doubt(kinds, bodies, reads)
            found = functions[reads]
        if found is not None:
            return found
    return None


def shown_error(kinds: Kinds) -> tuple[ast.AST, str] | None:
    """A place that shows more of a tool's error than its text, and what stands there."""
    if not kinds.nodes[ast.Await] and "asyncio" not in kinds.program.imports:
        return None
    anywhere = any(map(_raises_again, kinds.nodes[ast.Raise])) or (
        "run" in kinds.program.identifiers
        and any(kinds.path(call.func) == "asyncio.run" for call in kinds.nodes[ast.Call])
    )
    caught: dict[str, list[ast.ExceptHandler]] = {}
    for statement in kinds.nodes[ast.Try]:
        handlers = [handler for handler in statement.handlers if handler.name and _catches_missing(handler)]
        if handlers and (anywhere or _awaits(kinds, statement)):
            for handler in handlers:
                caught.setdefault(handler.name or "", []).append(handler)
    for name, handlers in caught.items():
        for node in (*_uses_inside(kinds, handlers), *_uses_in_functions(kinds, name, handlers)):
            if not _is_told_as_text(kinds, node):
                return node, f"the caught error {name} beyond its text"
    return None


def _catches_missing(handler: ast.ExceptHandler) -> bool:
    """Whether a handler may catch a kind of error that Monty does not have."""
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(each, ast.Name) and each.id in facts.COARSE_EXCEPTIONS for each in types)


def _raises_again(node: ast.Raise) -> bool:
    return node.exc is None or isinstance(node.exc, ast.Name)


def _awaits(kinds: Kinds, statement: ast.Try) -> bool:
    return any(isinstance(node, ast.Await) for part in statement.body for node in kinds.walk(part))


def _uses_inside(kinds: Kinds, handlers: list[ast.ExceptHandler]) -> Iterator[ast.Name]:
    for handler in handlers:
        for node in kinds.walk(handler):
            if isinstance(node, ast.Name) and node.id == handler.name and isinstance(node.ctx, ast.Load):
                yield node


def _uses_in_functions(kinds: Kinds, name: str, handlers: list[ast.ExceptHandler]) -> Iterator[ast.Name]:
    """Where functions that a handler may call mean the name of its error, which is not one of their own."""
    places = kinds.program.bindings[name]
    everywhere = any(isinstance(place, _DECLARATIONS) for place in places)
    owners = {next(_scopes(kinds, place)) for place in places}
    homes = {next(_scopes(kinds, handler)) for handler in handlers}
    for node in kinds.nodes[ast.Name]:
        if node.id == name and isinstance(node.ctx, ast.Load):
            scopes = list(_scopes(kinds, node))
            owner = next((scope for scope in scopes if scope in owners), None)
            inner = next(scope for scope in scopes if not isinstance(scope, _COMPREHENSIONS))
            if everywhere or (owner in homes and owner is not inner):
                yield node


def _scopes(kinds: Kinds, node: ast.AST) -> Iterator[ast.AST]:
    """What a node stands in that has names of its own, from the innermost on."""
    while node is not kinds.program.tree:
        node = kinds.program.parents[node]
        if isinstance(node, _SCOPES):
            yield node


def _is_told_as_text(kinds: Kinds, node: ast.Name) -> bool:
    """Whether a use of an error shows its text, or asks what `except` could, and nothing else."""
    match kinds.program.parents[node]:
        case ast.Raise() | ast.Attribute(attr="args"):
            return True
        case ast.FormattedValue(conversion=conversion):
            return conversion in _AS_TEXT
        case ast.Call(func=func, args=args):
            name = kinds.builtin(func)
            return name in ("str", "print") or (name == "isinstance" and args[0] is node)
    return False


def _first_doubt(kinds: Kinds, nodes: list[ast.AST], reads: bool) -> tuple[ast.AST, str] | None:
    for node in nodes:
        if not isinstance(node, _RAISING):
            continue
        construct = (_text_differs(kinds, node) if reads else "") or _kind_differs(kinds, node)
        if not construct and _gathers(kinds, node):
            construct = "asyncio.gather() of functions of its own"
        if construct:
            return node, construct
    return None


def _gathers(kinds: Kinds, node: ast.AST) -> bool:
    """Whether coroutines of the script are gathered: when one fails, CPython lets the others go on first."""
    gather = isinstance(node, ast.Call) and kinds.path(node.func) == "asyncio.gather"
    return gather and bool(kinds.nodes[ast.AsyncFunctionDef])


def _body(kinds: Kinds, function: ast.AST) -> Iterator[ast.AST]:
    parts = function.body if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) else [function]
    for part in parts:
        yield from kinds.walk(part)


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
        for node in kinds.walk(part):
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
