"""Whether an annotation can be evaluated: CPython does so when a function is made, and Monty never."""

from __future__ import annotations

import ast

from . import monty_facts as facts
from .kinds import Kinds

_GENERIC = frozenset({"list", "dict", "tuple", "set", "frozenset", "type"})
_FUNCTIONS = frozenset({"any", "callable"})  # often meant as types, and no error


def evaluates(kinds: Kinds, node: ast.expr, *, inside: bool = False) -> bool:
    """Whether evaluating an annotation cannot fail; `inside` the brackets of another one."""
    match node:
        case ast.Constant(value=value):
            return value is None or isinstance(value, str) or inside
        case ast.Name():
            return _is_there(kinds, node)
        case ast.Attribute():
            return _is_type(kinds.path(node))
        case ast.Subscript(value=value, slice=part):
            return _is_generic(kinds, value) and evaluates(kinds, part, inside=True)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return inside and all(evaluates(kinds, part, inside=True) for part in parts)
        case ast.BinOp(op=ast.BitOr(), left=left, right=ast.Constant(value=None)):
            return _is_class(kinds, left)
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _is_class(kinds, left) and _is_class(kinds, right)
    return False


def _is_class(kinds: Kinds, node: ast.expr) -> bool:
    """Whether something can stand beside `|`."""
    either = isinstance(node, ast.Name | ast.Subscript | ast.BinOp) and evaluates(kinds, node)
    return either and not (isinstance(node, ast.Name) and node.id in _FUNCTIONS)


def _is_there(kinds: Kinds, node: ast.Name) -> bool:
    places = kinds.program.bindings.get(node.id, ())
    if not places:
        return node.id in facts.TYPES or node.id in _FUNCTIONS
    place = places[0]
    if len(places) > 1 or getattr(place, "lineno", node.lineno) >= node.lineno:
        return False
    if isinstance(place, ast.ClassDef):
        return kinds.program.parents[place] is kinds.program.tree
    return isinstance(place, ast.alias) and _is_type(kinds.path(node))


def _is_type(path: str) -> bool:
    return path.removeprefix("typing.") in facts.TYPING or path in facts.FUNCTIONS


def _is_generic(kinds: Kinds, node: ast.expr) -> bool:
    if isinstance(node, ast.Name) and node.id not in kinds.program.bindings:
        return node.id in _GENERIC
    path = kinds.path(node)
    return path.startswith("typing.") and path != "typing.Any" and evaluates(kinds, node)
