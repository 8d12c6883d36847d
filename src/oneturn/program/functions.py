"""The functions of a script as values: who calls which, with what, and what they return."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property

from .kinds import Kinds
from .paths import DEEP, Path, Place, element, under

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Functions:
    """The functions of one script and their calls."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        self.program = kinds.program

    @cached_property
    def calls(self) -> Mapping[str, list[ast.Call]]:
        """The calls of each name, and of each method as `.name`."""
        found: defaultdict[str, list[ast.Call]] = defaultdict(list)
        for call in self.kinds.nodes[ast.Call]:
            if isinstance(call.func, ast.Name):
                found[call.func.id].append(call)
            elif isinstance(call.func, ast.Attribute):
                found[f".{call.func.attr}"].append(call)
        return found

    @cached_property
    def named(self) -> Mapping[str, list[ast.AST]]:
        """The functions of the script by name, methods as `.name`."""
        found: defaultdict[str, list[ast.AST]] = defaultdict(list)
        for kind in _FUNCTIONS:
            for node in self.kinds.nodes[kind]:
                method = isinstance(self.program.parents[node], ast.ClassDef)
                found[f".{node.name}" if method else node.name].append(node)
        return found

    @cached_property
    def returned(self) -> Mapping[ast.AST, list[ast.expr]]:
        found: defaultdict[ast.AST, list[ast.expr]] = defaultdict(list)
        for node in self.kinds.nodes[ast.Return]:
            function = self.program.parents[node]
            while not isinstance(function, (*_FUNCTIONS, ast.Module)):
                function = self.program.parents[function]
            found[function] += [node.value] if node.value else []
        for each in self.kinds.nodes[ast.Lambda]:
            found[each].append(each.body)
        return found

    @cached_property
    def uses(self) -> Mapping[ast.AST, list[ast.AST]]:
        """The functions that are values somewhere, with the places where they are."""
        found: dict[ast.AST, list[ast.AST]] = {each: [each] for each in self.kinds.nodes[ast.Lambda]}
        for node in self.kinds.nodes[ast.Name]:
            parent = self.program.parents[node]
            if isinstance(node.ctx, ast.Load) and not (isinstance(parent, ast.Call) and parent.func is node):
                for function in self.named.get(node.id, ()):
                    found.setdefault(function, []).append(node)
        for functions in self.named.values():
            for function in functions:
                if getattr(function, "decorator_list", ()) or getattr(function, "name", "") == "__call__":
                    found.setdefault(function, [])
        return found

    @cached_property
    def open_calls(self) -> list[ast.Call]:
        """The calls that may be of any function that is a value somewhere."""
        return [call for call in self.kinds.nodes[ast.Call] if self.is_open(call.func)]

    def is_open(self, func: ast.expr) -> bool:
        if isinstance(func, ast.Name):
            known = self.kinds.builtin(func) or self.kinds.path(func) or func.id in self.named
            bound = self.program.bindings.get(func.id, ())
            return not known and any(not isinstance(place, ast.ClassDef) for place in bound)
        return not isinstance(func, ast.Attribute)

    def called(self, call: ast.Call) -> list[ast.AST]:
        """The functions of the script that a call may be of."""
        func = call.func
        if self.is_open(func):
            return list(self.uses)
        if isinstance(func, ast.Attribute):
            return [] if self.kinds.path(func) else list(self.named.get(f".{func.attr}", ()))
        found = list(self.named.get(func.id, ())) if isinstance(func, ast.Name) else []
        decorated = any(getattr(function, "decorator_list", ()) for function in found)
        return [*found, *self.uses] if decorated else found


def arguments_of(call: ast.Call) -> list[ast.expr]:
    """What a call is given, starred or not."""
    parts = (*call.args, *(keyword.value for keyword in call.keywords))
    return [part.value if isinstance(part, ast.Starred) else part for part in parts]


def passed(
    call: ast.Call, arguments: ast.arguments, place: ast.arg, path: Path, *, skipped: int
) -> Iterator[Place]:
    """What a call gives a parameter."""
    for part in call.args:
        if isinstance(part, ast.Starred):
            yield part.value, (DEEP, *path)
    positional = [*arguments.posonlyargs, *arguments.args]
    if place is arguments.vararg:
        rest = element(path)
        yield from ((part, rest) for part in call.args if rest is not None)
    elif place in positional:
        yield from ((part, path) for part in call.args[max(positional.index(place) - skipped, 0) :][:1])
    for keyword in call.keywords:
        if keyword.arg is None:
            yield keyword.value, (DEEP, *path)
        elif keyword.arg == place.arg:
            yield keyword.value, path
        elif place is arguments.kwarg and (rest := under(path, keyword.arg)) is not None:
            yield keyword.value, rest
