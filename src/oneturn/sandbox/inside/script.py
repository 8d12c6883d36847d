"""A script's text made runnable, and where in it something happened.

What Python lacks at the top of a module is put in before it is compiled: the last expression is kept as
the value, and a top-level `return` leaves the module. It becomes a `break` out of a loop round everything,
because that is what a `return` is: context managers and `finally` see an ordinary end, `except` sees nothing.

Standard library only; runs with any Python from 3.11, on the script's side.
"""

from __future__ import annotations

import ast
import itertools
import sys
import types
from collections.abc import Iterator
from typing import Any

VALUE, LEFT = "<value>", "<left>"
"""Names no script can write, under which the builtins hold `keep(value)` and `left()`."""
MAX_TEXT = 10_000  # characters of an error's message
_SHOWN = 5  # notes of an error, and errors of a group
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_BLOCKS = ("body", "orelse", "finalbody")

Span = tuple[int | None, ...]  # line, end line, column, end column as code objects have them
Where = tuple[int, int]  # line and column, both from 1, the column in characters


class Source:
    """One script: its lines, and its code once it is compiled."""

    code: types.CodeType

    def __init__(self, text: str, filename: str) -> None:
        self.filename = filename
        self._text = text
        self._lines = text.split("\n")

    def compile(self) -> None:
        """Make `code`. Raises SyntaxError and what else Python says of a text."""
        filename = self.filename
        tree = ast.parse(self._text, filename)
        _awaited[filename] = frozenset(
            (node.value.lineno, node.value.end_lineno, node.value.col_offset, node.value.end_col_offset)
            for node in ast.walk(tree)
            if isinstance(node, ast.Await) and isinstance(node.value, ast.Call)
        )
        _keep_last(tree)
        _let_return(tree, filename)
        self.code = compile(
            ast.fix_missing_locations(tree),
            filename,
            "exec",
            ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )

    # --- positions

    def now(self) -> Where | None:
        """Where the script is now, in its innermost frame."""
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != self.filename:
            frame = frame.f_back
        return self._where(_span(frame.f_code, frame.f_lasti)) if frame is not None else None

    def waiting(self, coroutine: Any) -> Where | None:
        """Where a suspended script waits, in its innermost frame."""
        found = None
        while (frame := getattr(coroutine, "cr_frame", None)) is not None:
            if frame.f_code.co_filename == self.filename:
                found = frame
            coroutine = coroutine.cr_await
        return self._where(_span(found.f_code, found.f_lasti)) if found is not None else None

    def _where(self, span: Span) -> Where | None:
        if span[0] is None:
            return None
        line, column = span[0], span[2] or 0
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        if not text.isascii():
            column = len(text.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "replace"))
        return line, column + 1

    def place(self, error: BaseException) -> Where | None:
        """Where an error came from: the innermost line of this script on the way to it."""
        if isinstance(error, SyntaxError) and error.filename == self.filename and error.lineno:
            return error.lineno, max(1, error.offset or 1)
        found = None
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self.filename:
                found = trace
            trace = trace.tb_next
        return self._where(_span(found.tb_frame.f_code, found.tb_lasti)) if found is not None else None


def is_awaited() -> bool:
    """Whether the call that the innermost frame of any script makes now stands under an `await`."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        spans = _awaited.get(frame.f_code.co_filename)
        if spans is not None:
            return _span(frame.f_code, frame.f_lasti) in spans
        frame = frame.f_back
    return False


def _span(code: types.CodeType, instruction: int) -> Span:
    known = _spans.get((id(code), instruction))
    if known is None:
        found = next(itertools.islice(code.co_positions(), instruction // 2, None), (None,) * 4)
        known = _spans[id(code), instruction] = (found, code)  # the code is kept, so its id stays its own
    return known[0]


_awaited: dict[str, frozenset[Span]] = {}  # by file name
_spans: dict[tuple[int, int], tuple[Span, types.CodeType]] = {}


def is_success(error: BaseException) -> bool:
    """Whether it is `sys.exit()` or `sys.exit(0)`: the end of a script that did what it should."""
    return type(error) is SystemExit and (
        error.code is None or (type(error.code) in (int, bool) and not error.code)
    )


def message(error: BaseException) -> str:
    """An error's text, whatever its class makes of that, with its notes and what a group holds."""
    try:
        parts = [_text(error)]
        if isinstance(error, BaseExceptionGroup):
            inner = _inner(error)[:_SHOWN]
            parts[0] += ": " + "; ".join(f"{type(each).__name__}: {_text(each)[:MAX_TEXT]}" for each in inner)
        notes = vars(error).get("__notes__")
        if type(notes) is list:
            parts += [str.__str__(note) for note in notes[:_SHOWN] if isinstance(note, str)]
        text = "\n".join(parts)
    except BaseException:
        return "the error has no readable text"
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _text(error: BaseException) -> str:
    return str.__str__(error.msg if isinstance(error, SyntaxError) and error.msg else str(error))


def _inner(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    """What a group holds, and the groups in it."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _inner(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


# --- the value and `return`


def _keep_last(tree: ast.Module) -> None:
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        last.value = _keep(last.value)


def _keep(value: ast.expr) -> ast.expr:
    call = ast.Call(ast.copy_location(ast.Name(VALUE, ast.Load()), value), [value], [])
    return ast.copy_location(call, value)


def _let_return(tree: ast.Module, filename: str) -> None:
    if not any(_returns(tree.body)):
        return
    kept = 0
    while kept < len(tree.body) and _stays_first(tree.body[kept]):
        kept += 1
    head, rest = tree.body[:kept], tree.body[kept:]
    body = [*_leaving(rest, filename, in_loop=False), ast.Break()]
    loop = ast.While(ast.Constant(True), body, [])
    tree.body = [*head, ast.copy_location(loop, rest[0])]


def _stays_first(node: ast.stmt) -> bool:
    """A docstring and imports from the future stand before everything else."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "__future__"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _returns(body: list[ast.stmt]) -> Iterator[bool]:
    for node in body:
        if isinstance(node, ast.Return):
            yield True
        for block, _ in _blocks(node):
            yield from _returns(block)


def _blocks(node: ast.AST) -> Iterator[tuple[list[ast.stmt], bool]]:
    """The blocks of a statement that belong to the same scope; whether each is what a loop repeats."""
    if isinstance(node, _SCOPES):
        return
    for field in _BLOCKS:
        block = getattr(node, field, None)
        if isinstance(block, list):
            yield block, field == "body" and isinstance(node, _LOOPS)
    for part in [*getattr(node, "handlers", ()), *getattr(node, "cases", ())]:
        yield part.body, False


def _leaving(body: list[ast.stmt], filename: str, *, in_loop: bool) -> list[ast.stmt]:
    """The same statements, with each `return` as keeping its value and breaking out, loop by loop."""
    made: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.Return):
            value = node.value or ast.copy_location(ast.Constant(None), node)
            made += [ast.copy_location(ast.Expr(_keep(value)), node), ast.copy_location(ast.Break(), node)]
            continue
        if isinstance(node, ast.Break | ast.Continue) and not in_loop:
            where = (filename, node.lineno, node.col_offset + 1, None)
            word = (
                "'break' outside loop" if isinstance(node, ast.Break) else "'continue' not properly in loop"
            )
            raise SyntaxError(word, where)
        left = isinstance(node, _LOOPS) and any(_returns(node.body))
        for block, repeated in list(_blocks(node)):
            block[:] = _leaving(block, filename, in_loop=in_loop or repeated)
        made.append(node)
        if left:
            asked = ast.Call(ast.Name(LEFT, ast.Load()), [], [])
            made.append(ast.copy_location(ast.If(asked, [ast.Break()], []), node))
    return made
