"""What is nested too deeply, or too wide, for Monty's compiler, which CPython compiles."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .kinds import Kinds
from .parse import Program

_DEEPEST = 150  # levels of the tree; Monty compiles 180 and not 200 of what takes one level each
_FUNCTIONS = 8  # defs within one another; each one more doubles Monty's time to compile
_WIDEST = 200  # arguments, parameters, targets of one kind; Monty has 255
_LOOPS = 60  # `for` of one comprehension; Monty has room for 120
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_DEFS = (ast.FunctionDef, ast.AsyncFunctionDef)


def too_deep(program: Program, kinds: Kinds) -> tuple[ast.AST, str] | None:
    """A node that Monty may not compile, and what it is; None when there is none."""
    if len(kinds.nodes[ast.FunctionDef]) + len(kinds.nodes[ast.AsyncFunctionDef]) > _FUNCTIONS:
        for node in (*kinds.nodes[ast.FunctionDef], *kinds.nodes[ast.AsyncFunctionDef]):
            if sum(isinstance(each, _DEFS) for each in _around(program, node)) >= _FUNCTIONS:
                return node, "so many functions within one another"
    if len(program.nodes) <= _LOOPS:
        return None
    for node in _wide(kinds):
        return node, "so many parts of one expression"
    if len(program.nodes) <= _DEEPEST:
        return None
    depths: dict[ast.AST, int] = {program.tree: 0}
    for node in program.nodes[1:]:  # parents come first
        depth = depths[node] = depths[program.parents[node]] + 1
        if depth > _DEEPEST:
            return node, "so deep a nesting"
    return None


def _around(program: Program, node: ast.AST) -> Iterator[ast.AST]:
    while node in program.parents:
        node = program.parents[node]
        yield node


def _wide(kinds: Kinds) -> Iterator[ast.AST]:
    for call in kinds.nodes[ast.Call]:
        if len(call.args) > _WIDEST or len(call.keywords) > _WIDEST:
            yield call
    for given in kinds.nodes[ast.arguments]:
        if len(given.posonlyargs) + len(given.args) > _WIDEST or len(given.kwonlyargs) > _WIDEST:
            yield given
    for row in (*kinds.nodes[ast.Tuple], *kinds.nodes[ast.List]):
        if isinstance(row.ctx, ast.Store) and len(row.elts) > _WIDEST:
            yield row
    for chain in kinds.nodes[ast.BoolOp]:  # one node for us, and one within the other for Monty
        if len(chain.values) > _DEEPEST:
            yield chain
    for kind in _COMPREHENSIONS:
        for made in kinds.nodes[kind]:
            if len(made.generators) > _LOOPS:
                yield made
