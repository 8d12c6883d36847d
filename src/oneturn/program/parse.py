"""Turns a script's text into a `Program`: the syntax tree, and what one walk over it can tell.

Nothing here compiles or runs model code; the tree is all we ever look at. A script that is not
Python is a `ScriptError` value, never an exception, whatever bytes a model sends.
"""

from __future__ import annotations

import ast
import re
import textwrap
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..types import Position, ScriptError

MAX_SOURCE_BYTES = 64_000
# Python parses a replacement field of an f-string so slowly that this many hold up the process.
MAX_BRACES = 5_000
MAX_LINE = 500  # characters of a source line that a position shows

Bindings = Mapping[str, tuple[ast.AST, ...]]
"""Each name the script binds, with the node of every place that binds it, in any scope."""

_OPENING_FENCE = re.compile(r"\s*(```|~~~)[\w+-]*\s*")
_TYPE_STATEMENT = re.compile(r"\s*type\s+\w+\s*(\[.*\]\s*)?=")  # Python 3.12; this may be an older one
_CLOSING_FENCE = re.compile(r"\s*(```|~~~)\s*")
_BARE_FIELDS = frozenset({"ctx", "op", "ops"})  # shared nodes without a position or anything below
_parser_warnings = threading.Lock()  # catch_warnings swaps global state, so one parse at a time


@dataclass(frozen=True, slots=True)
class Program:
    """A parsed script.

    `source` is what `tree` and every position refer to: the given text with line ends unified and
    Markdown fences and common indentation gone. Lines keep their numbers.
    """

    source: str
    tree: ast.Module
    identifiers: frozenset[str]
    """Every name, attribute and import part, and every text constant that is shaped like one."""
    free: frozenset[str]
    """Names the script reads and nowhere binds, builtins among them."""
    paths: frozenset[tuple[str, ...]]
    """Longest attribute chains on a name, such as `("tools", "github", "create_issue")`."""
    imports: frozenset[str]
    """Dotted modules the script imports: `a.b` for `import a.b` and for `from a.b import c`."""
    awaited: frozenset[tuple[int, int]]
    """UTF-8 byte ranges, end exclusive, of calls that stand directly under an `await`."""
    nodes: tuple[ast.AST, ...] = field(repr=False, compare=False)
    """All nodes that have a meaning of their own, parents first, in source order."""
    parents: Mapping[ast.AST, ast.AST] = field(repr=False, compare=False)
    bindings: Bindings = field(repr=False, compare=False)
    lines: tuple[str, ...] = field(repr=False, compare=False)
    """The lines of `source`, without their ends."""

    def position(self, node: ast.AST) -> Position:
        """Where a node starts, with its source line."""
        line: int = getattr(node, "lineno", 1)
        offset: int = getattr(node, "col_offset", 0)
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        if not text.isascii():
            offset = len(text.encode()[:offset].decode(errors="ignore"))
        return Position(line, offset + 1, text[:MAX_LINE])

    def text(self, node: ast.expr) -> str:
        """The source text of an expression."""
        raw = [line.encode() for line in self.lines[node.lineno - 1 : node.end_lineno or node.lineno]]
        raw[-1] = raw[-1][: node.end_col_offset]
        raw[0] = raw[0][node.col_offset :]
        return b"\n".join(raw).decode(errors="replace")


def parse(source: str) -> Program | ScriptError:
    """Parse a script, tolerating a Markdown fence around it and common indentation.

    Top-level `await` and `return` are fine. Source over 64,000 bytes is refused, and so is source
    with thousands of braces.
    """
    if len(source) > MAX_SOURCE_BYTES or len(source.encode(errors="replace")) > MAX_SOURCE_BYTES:
        return ScriptError(
            "ScriptTooLarge",
            f"The script is larger than {MAX_SOURCE_BYTES:,} bytes.",
            hint="Send a shorter script: fetch data with tools instead of writing it into the code.",
        )
    if source.count("{") > MAX_BRACES:
        return ScriptError(
            "ScriptTooLarge",
            f"The script has more than {MAX_BRACES:,} braces.",
            hint="Send a shorter script: fetch data with tools instead of writing it into the code.",
        )
    source = _without_fences(source.replace("\r\n", "\n").replace("\r", "\n"))
    if source[:1] in (" ", "\t", "\n"):
        source = _dedent(source)
    try:
        with _parser_warnings, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape is the script's business, not the host's
            tree = ast.parse(source)
    except SyntaxError as error:
        return _syntax_error(error, source)
    except (RecursionError, MemoryError):
        return ScriptError(
            "SyntaxError",
            "The script is nested too deeply to parse.",
            hint="Split long expressions into several statements.",
        )
    except ValueError:  # a null byte, or half a surrogate pair
        return ScriptError(
            "SyntaxError",
            "The script contains a character that is not valid text.",
            hint="Send plain UTF-8 text without null bytes; write such characters as escapes.",
        )
    return _Walk(source, tree).program()


def _without_fences(source: str) -> str:
    if "```" not in source and "~~~" not in source:
        return source
    lines = source.split("\n")
    filled = [number for number, line in enumerate(lines) if line.strip()]
    if filled and _OPENING_FENCE.fullmatch(lines[filled[0]]):
        lines[filled[0]] = ""
    if len(filled) > 1 and _CLOSING_FENCE.fullmatch(lines[filled[-1]]):
        lines[filled[-1]] = ""
    return "\n".join(lines)


def _dedent(source: str) -> str:
    first = next((line for line in source.split("\n") if line.strip()), "")
    return textwrap.dedent(source) if first[:1] in (" ", "\t") else source


def _line(source: str, number: int) -> str:
    lines = source.split("\n")
    return lines[number - 1][:MAX_LINE] if 0 < number <= len(lines) else ""


def _syntax_error(error: SyntaxError, source: str) -> ScriptError:
    message = error.msg or "invalid syntax"
    number = error.lineno or 1
    text = _line(source, number)
    if any(line.strip().startswith(("```", "~~~")) for line in source.split("\n")):
        hint = "Send only Python: no Markdown fence and no prose around the script."
    elif _TYPE_STATEMENT.match(text):
        hint = "Leave the type statement out; it is not needed."
    elif "f-string" in message:
        hint = "Put the value into a variable first, and use that in the f-string."
    elif "null bytes" in message:
        hint = "Remove the null bytes; write them as \\0 inside a string."
    elif "was never closed" in message or "unterminated" in message or "EOF" in message:
        hint = "Close the bracket or string this line opens; the script may have been cut off."
    elif isinstance(error, IndentationError):
        hint = "Indent every block by four spaces, and nothing else."
    else:
        hint = "Correct this line and send the whole script again."
    column = min(max(error.offset or 1, 1), len(text) + 1)
    return ScriptError(type(error).__name__, message, Position(number, column, text), hint)


class _Walk:
    """One pass over a tree, with a stack of its own: a deep tree must not exhaust Python's."""

    def __init__(self, source: str, tree: ast.Module) -> None:
        self.source = source
        self.tree = tree
        self.identifiers: set[str] = set()
        self.read: set[str] = set()
        self.paths: set[tuple[str, ...]] = set()
        self.imports: set[str] = set()
        self.awaits: list[ast.Call] = []
        self.bindings: dict[str, list[ast.AST]] = {}
        self.parents: dict[ast.AST, ast.AST] = {}

    def program(self) -> Program:
        nodes: list[ast.AST] = []
        stack: list[ast.AST] = [self.tree]
        while stack:
            node = stack.pop()
            nodes.append(node)
            visit = _VISITS.get(type(node))
            if visit:
                visit(self, node)
            children: list[ast.AST] = []
            for name in node._fields:
                if name in _BARE_FIELDS:
                    continue
                value = getattr(node, name, None)
                if isinstance(value, list):
                    children += [item for item in value if isinstance(item, ast.AST)]
                elif isinstance(value, ast.AST):
                    children.append(value)
            for child in children:
                self.parents[child] = node
            stack += reversed(children)
        return Program(
            source=self.source,
            tree=self.tree,
            identifiers=frozenset(self.identifiers),
            free=frozenset(self.read - self.bindings.keys()),
            paths=frozenset(self.paths),
            imports=frozenset(self.imports),
            awaited=frozenset(self.ranges()),
            nodes=tuple(nodes),
            parents=self.parents,
            bindings={name: tuple(places) for name, places in self.bindings.items()},
            lines=tuple(self.source.split("\n")),
        )

    def visit_name(self, node: ast.Name) -> None:
        self.identifiers.add(node.id)
        if isinstance(node.ctx, ast.Load):
            self.read.add(node.id)
        else:
            self.bind(node.id, node)

    def visit_attribute(self, node: ast.Attribute) -> None:
        self.identifiers.add(node.attr)
        if not isinstance(self.parents[node], ast.Attribute):
            path = chain(node)
            if path:
                self.paths.add(path)

    def visit_constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and node.value.isidentifier():
            self.identifiers.add(node.value)

    def visit_await(self, node: ast.Await) -> None:
        if isinstance(node.value, ast.Call):
            self.awaits.append(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        self.bind(node.arg, node)

    def visit_scope(self, node: ast.Global | ast.Nonlocal) -> None:
        for name in node.names:
            self.bind(name, node)

    def visit_named(self, node: ast.AST) -> None:
        """A def, a class, an except-as, a match capture or a type parameter."""
        name = getattr(node, "name", None) or getattr(node, "rest", None)
        if isinstance(name, str):
            self.bind(name, node)

    def visit_import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.ImportFrom) and node.module:
            self.imports.add(node.module)
            self.identifiers.update(node.module.split("."))
        for alias in node.names:
            if isinstance(node, ast.Import):
                self.imports.add(alias.name)
            self.identifiers.update(alias.name.split("."))
            bound = alias.asname or alias.name.partition(".")[0]
            self.identifiers.add(bound)
            self.bind(bound, alias)

    def bind(self, name: str, node: ast.AST) -> None:
        self.bindings.setdefault(name, []).append(node)

    def ranges(self) -> list[tuple[int, int]]:
        if not self.awaits:
            return []
        starts = [0]
        for line in self.source.encode().split(b"\n"):
            starts.append(starts[-1] + len(line) + 1)
        return [
            (
                starts[call.lineno - 1] + call.col_offset,
                starts[(call.end_lineno or call.lineno) - 1] + (call.end_col_offset or 0),
            )
            for call in self.awaits
        ]


def chain(node: ast.AST) -> tuple[str, ...]:
    """`a.b.c` as `("a", "b", "c")`, a bare name as one part; empty when it starts at anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ()
    parts.append(node.id)
    return tuple(reversed(parts))


_NAMED = (
    "FunctionDef",
    "AsyncFunctionDef",
    "ClassDef",
    "ExceptHandler",
    "MatchAs",
    "MatchStar",
    "MatchMapping",
)
_TYPE_PARAMETERS = ("TypeVar", "ParamSpec", "TypeVarTuple")  # Python 3.12 and later
_VISITS: Mapping[type[ast.AST], Callable[[_Walk, Any], None]] = {
    ast.Name: _Walk.visit_name,
    ast.Attribute: _Walk.visit_attribute,
    ast.Constant: _Walk.visit_constant,
    ast.Await: _Walk.visit_await,
    ast.Import: _Walk.visit_import,
    ast.ImportFrom: _Walk.visit_import,
    ast.arg: _Walk.visit_arg,
    ast.Global: _Walk.visit_scope,
    ast.Nonlocal: _Walk.visit_scope,
    **{getattr(ast, name): _Walk.visit_named for name in _NAMED + _TYPE_PARAMETERS if hasattr(ast, name)},
}
