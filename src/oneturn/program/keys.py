"""Which keys of dicts may be equal and yet look different, as 1, 1.0 and True do, and 0.0 and -0.0.

Of equal keys Monty keeps the last and CPython the first. So no key may be a number that is not whole, or
hold one, as far as the script makes it. `origins` tells where the value of an expression comes from; that is
asked, back from each key, until such a number is found or nothing is left to ask. The keys of a dict
are not asked again: they were when they were put there. What a tool gives is left: its numbers that stand
in one place are taken to be of one kind.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .kinds import BOOL, DICT, FLOAT, INT, LIST, NUMBER, SET, STR, TUPLE, Kinds
from .origins import Origins
from .parse import chain
from .paths import DEEP, EACH, Place, key_of

_NO_DICT = LIST | STR | TUPLE
_RESULTS = (ast.BinOp, ast.Name, ast.UnaryOp, ast.IfExp, ast.BoolOp, ast.NamedExpr)
"""What has the kind of its parts, so that these are asked."""


class Keys:
    """Judges the keys of one script."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        self.origins = Origins(kinds)
        self.asked: set[tuple[object, object]] = set()
        """Places that no other number comes from; the first that it does ends the check of the script."""
        named = {*kinds.modules.values(), *kinds.program.identifiers}
        self.counts = any("Counter" in name for name in named)
        self.makes_missing = any("defaultdict" in name for name in named)

    def doubt(self, node: ast.AST) -> str:
        """What a part of the script may do that makes another dict in Monty; empty when nothing."""
        if any(map(self._is_told, self._written(node))) or self._come_from(list(self._given(node))):
            return "numbers that are not whole as keys"
        if isinstance(node, ast.Call) and self.counts and self._counts_no_numbers(node):
            return "a Counter of what is no number"
        return ""

    def _counts_no_numbers(self, node: ast.Call) -> bool:
        """Whether a Counter is given a dict of values without an order, which Monty cannot show."""
        made = self.kinds.path(node.func) == "collections.Counter"
        filled = isinstance(node.func, ast.Attribute) and node.func.attr == "update"
        waiting: list[Place] = [(part, ()) for part in node.args if made or filled]
        asked: set[object] = set()
        while waiting:
            place, path = waiting.pop()
            if (key_of(place), path) in asked:
                continue
            asked.add((key_of(place), path))
            if not path and isinstance(place, ast.Dict | ast.DictComp):
                values = place.values if isinstance(place, ast.Dict) else [place.value]
                if not all(self.kinds.is_only(value, NUMBER) for value in values):
                    return True
            waiting += self.origins.of(place, path)
        return False

    def _is_told(self, key: ast.expr) -> bool:
        return self.kinds.is_only(key, NUMBER) and not self.kinds.is_only(key, INT)

    def _written(self, node: ast.AST) -> list[ast.expr]:
        """The keys that are written where a dict is made or filled."""
        match node:
            case ast.Dict(keys=keys):
                return [key for key in keys if key]
            case ast.DictComp(key=key):
                return [key]
            case ast.Subscript(ctx=ast.Store(), slice=key) if not isinstance(key, ast.Slice):
                return [key]
        return []

    def _given(self, node: ast.AST) -> Iterator[Place]:
        """Where the keys are that a part of the script gives a dict."""
        match node:
            case ast.Subscript(ctx=ast.Load(), value=value, slice=key):
                if self.makes_missing and not self.kinds.is_only(value, _NO_DICT):
                    yield key, ()
            case ast.Subscript(value=value, slice=key):
                if not self.kinds.is_only(value, LIST):
                    yield key, ()
            case ast.Call(args=[first, *_]):
                yield from self._given_by_call(node, first)
            case _:
                yield from ((key, ()) for key in self._written(node))

    def _given_by_call(self, node: ast.Call, first: ast.expr) -> Iterator[Place]:
        func = node.func
        path = self.kinds.path(func)
        if self.kinds.builtin(func) == "dict":
            yield first, (EACH, 0)
        elif path == "collections.Counter" or chain(func) == ("dict", "fromkeys"):
            yield first, (EACH,)
        elif isinstance(func, ast.Attribute) and not path and not self.kinds.is_only(func.value, SET):
            if func.attr == "setdefault":
                yield first, ()
            elif func.attr == "update":
                yield first, (EACH, 0)
                if self.counts:
                    yield first, (EACH,)

    def _come_from(self, waiting: list[Place]) -> bool:
        """Whether a number that is not whole may come from one of some places."""
        while waiting:
            node, path = waiting.pop()
            asked = (key_of(node), path)
            if asked in self.asked:
                continue
            self.asked.add(asked)
            if path and path[0] is DEEP:
                waiting.append((node, path[1:]))
            if path and path[0] is EACH and self.kinds.is_only(node, DICT):
                continue
            verdict = None if path else self._verdict(node)
            if verdict:
                return True
            if verdict is None:
                waiting += self.origins.of(node, path)
        return False

    def _verdict(self, node: ast.expr) -> bool | None:
        """Whether a value is a number that is not whole; None when its parts or its names tell."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            return True
        kind = self.kinds.of(node)
        if not kind or kind & ~NUMBER:
            return None if kind & (NUMBER | TUPLE) or not kind else False
        if kind & INT and isinstance(node, _RESULTS):
            return None if kind & (BOOL | FLOAT) else False
        return bool(kind & (BOOL | FLOAT))
