"""Finds what Monty cannot run, before anything runs, and says what to write instead.

The rule is: no false alarms. What Monty's parser refuses is always reported. What would fail when
it is reached is reported unless the script is prepared for it (a fallback in a `try`, an
`except` body, a type-checking block), and only where the tree leaves no doubt about what a name
means.
"""

from __future__ import annotations

import ast
import builtins
import collections
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..types import Position
from . import dialect
from .parse import Program, chain


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Something the sandbox cannot run: what, where, and one line on what to write instead."""

    construct: str
    position: Position
    rewrite: str


Found = Iterator[tuple[ast.AST, str, str]]

_VALUE_TYPES: Mapping[type[ast.AST], type] = {
    ast.List: list,
    ast.ListComp: list,
    ast.GeneratorExp: list,
    ast.Dict: dict,
    ast.DictComp: dict,
    ast.Set: set,
    ast.SetComp: set,
    ast.JoinedStr: str,
}
_CONSTRUCTORS: Mapping[str, type] = {
    "dict": dict,
    "list": list,
    "set": set,
    "sorted": list,
    "str": str,
    "collections.Counter": dict,
    "collections.defaultdict": dict,
    "collections.deque": collections.deque,
    "re.compile": re.Pattern,
}
_BUILTIN_TYPES = frozenset({"str", "list", "dict", "set", "tuple", "bytes", "int", "float", "frozenset"})
_LISTS_NOT_ITERATORS = frozenset({"map", "filter", "zip", "enumerate", "reversed"})
_MANY = 20  # a name bound more often tells nothing, and looking would take long in a hostile script
_BROAD = frozenset({"Exception", "BaseException"})
_GUARDS = {
    "import": frozenset({"ImportError", "ModuleNotFoundError"}),
    "name": frozenset({"NameError"}),
    "use": frozenset({"AttributeError", "TypeError", "PermissionError", "OSError", "RuntimeError"}),
}


def unsupported(program: Program) -> tuple[Unsupported, ...]:
    """Every construct the sandbox cannot run, in source order; empty when there is none."""
    finder = _Finder(program)
    found: dict[tuple[str, int], Unsupported] = {}
    for node in program.nodes:
        check = _CHECKS.get(type(node))
        if check is None:
            continue
        for place, construct, rewrite in check(finder, node):
            key = (construct, getattr(place, "lineno", 1))
            if key not in found:
                found[key] = Unsupported(construct, program.position(place), rewrite)
    return tuple(sorted(found.values(), key=lambda item: (item.position.line, item.position.column)))


def refused_imports(program: Program, importable: Callable[[str], bool]) -> tuple[Unsupported, ...]:
    """Every import that full Python would refuse and the script is not prepared for, in source order."""
    finder = _Finder(program)
    found: list[Unsupported] = []
    for node in program.nodes:
        if isinstance(node, ast.ImportFrom):
            names = [] if node.level else [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if not importable(name) and not finder.guarded(node, "import"):
                rewrite = dialect.module_rewrite(name) or dialect.OTHER_MODULE
                found.append(Unsupported(f"import {name}", program.position(node), rewrite))
    return tuple(found)


def dotted(program: Program, node: ast.AST) -> str:
    """An attribute chain with its root's import resolved, such as `datetime.datetime.utcnow`.

    A builtin the script does not bind stands for itself. Empty when the root may be anything else.
    """
    parts = chain(node)
    if not parts:
        return ""
    if parts[0] not in program.bindings:
        return ".".join(parts) if hasattr(builtins, parts[0]) else ""
    root = imported(program, parts[0])
    return ".".join((root, *parts[1:])) if root else ""


def imported(program: Program, name: str) -> str:
    """What a name that is bound by imports alone stands for, dotted; else empty."""
    places = program.bindings.get(name, ())
    if len(places) > _MANY:
        return ""
    meanings = {_imported(program, place, name) for place in places}
    return meanings.pop() if len(meanings) == 1 else ""


def _imported(program: Program, place: ast.AST, name: str) -> str:
    if not isinstance(place, ast.alias):
        return ""
    statement = program.parents[place]
    if isinstance(statement, ast.ImportFrom):
        return f"{statement.module}.{place.name}" if statement.module and not statement.level else ""
    return place.name if place.asname else name


class _Finder:
    """The checks, one for each kind of node that can be a problem."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.guards: dict[tuple[ast.AST, str], bool] = {}

    # What Monty's parser refuses, wherever it stands.

    def yields(self, node: ast.Yield | ast.YieldFrom) -> Found:
        yield node, "yield" if isinstance(node, ast.Yield) else "yield from", dialect.YIELD

    def delete(self, node: ast.Delete) -> Found:
        yield node, "del", dialect.DELETE

    def async_for(self, node: ast.AsyncFor) -> Found:
        yield node, "async for", dialect.ASYNC_LOOP

    def async_with(self, node: ast.AsyncWith) -> Found:
        yield node, "async with", dialect.ASYNC_WITH

    def comprehension(self, node: ast.comprehension) -> Found:
        if node.is_async:
            yield node.target, "async comprehension", dialect.ASYNC_LOOP

    def try_star(self, node: ast.TryStar) -> Found:
        yield node, "except*", dialect.EXCEPT_STAR

    def type_alias(self, node: ast.AST) -> Found:
        yield node, "type alias", dialect.TYPE_ALIAS

    def augmented(self, node: ast.AugAssign) -> Found:
        if isinstance(node.op, ast.MatMult):
            yield node, "@=", dialect.MATMUL

    def class_def(self, node: ast.ClassDef) -> Found:
        if node.bases or node.keywords:
            bases = [parts[-1] for parts in map(chain, node.bases) if parts]
            error = any(base.endswith(("Error", "Exception")) for base in bases)
            construct = f"class {node.name}({', '.join(bases) or '...'})"
            yield node, construct, dialect.EXCEPTION_CLASS if error else dialect.INHERITANCE
        for item in node.body:
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in item.decorator_list:
                    yield decorator, f"decorator on method {item.name}", dialect.METHOD_DECORATOR
                if item.name in dialect.IGNORED_METHODS and item.name not in self.named:
                    construct = f"{item.name} in class {node.name}"
                    yield item, construct, dialect.IGNORED_METHODS[item.name]
            elif not _simple_class_item(item):
                yield item, f"statement in the body of class {node.name}", dialect.CLASS_BODY

    # What fails when it is reached.

    def imports(self, node: ast.Import) -> Found:
        for alias in node.names:
            rewrite = dialect.module_rewrite(alias.name)
            if rewrite and not self.guarded(node, "import"):
                yield node, f"import {alias.name}", rewrite

    def import_from(self, node: ast.ImportFrom) -> Found:
        module = node.module or ""
        if any(alias.name == "*" for alias in node.names):
            yield node, f"from {module} import *", dialect.WILDCARD
        elif module == "__future__" or self.guarded(node, "import"):
            return
        elif node.level:
            yield node, "relative import", dialect.RELATIVE_IMPORT
        elif rewrite := dialect.module_rewrite(module):
            yield node, f"from {module} import ...", rewrite
        else:
            for alias in node.names:
                name = f"{module}.{alias.name}"
                missing = dialect.MISSING_ATTRIBUTES.get(name)
                if missing and name != "os.getenv":  # imports well, and fails when it is called
                    yield node, name, missing

    def name(self, node: ast.Name) -> Found:
        if node.id not in dialect.MISSING_BUILTINS or node.id in self.program.bindings:
            return
        parent = self.program.parents[node]
        if isinstance(parent, ast.Attribute):
            return  # a namespace of tools
        if isinstance(parent, ast.Call) and isinstance(self.program.parents[parent], ast.Await):
            return  # a tool of that name
        if not self.guarded(node, "name"):
            yield node, node.id, dialect.MISSING_BUILTINS[node.id]

    def attribute(self, node: ast.Attribute) -> Found:
        parent = self.program.parents[node]
        called = isinstance(parent, ast.Call) and parent.func is node
        found: tuple[str, str] | None = None
        if not isinstance(parent, ast.Attribute) and (path := dotted(self.program, node)):
            found = self.module_attribute(path, called)
        if not found and isinstance(node.ctx, ast.Load):
            kind = self.value_type(node.value)
            if kind and hasattr(kind, node.attr) and not node.attr.startswith("_"):
                if not called:
                    found = f".{node.attr} as a value", _method_value(self.program.text(node), node.attr)
                elif node.attr in dialect.MISSING_METHODS:
                    found = f".{node.attr}()", dialect.MISSING_METHODS[node.attr]
        if found and not self.guarded(node, "use"):
            yield node, *found

    def module_attribute(self, path: str, called: bool) -> tuple[str, str] | None:
        parts = path.split(".")
        for end in range(2, min(len(parts), 4) + 1):
            prefix = ".".join(parts[:end])
            if prefix in dialect.MISSING_ATTRIBUTES:
                return prefix, dialect.MISSING_ATTRIBUTES[prefix]
        if path in dialect.CALL_ONLY:
            return None if called else (f"{path} as a value", _function_value(path.partition(".")[2]))
        root, name = parts[0], parts[1]
        if (
            root not in _BUILTIN_TYPES
            or len(parts) > 2
            or name.startswith("_")
            or root in self.program.bindings
        ):
            return None
        if not hasattr(getattr(builtins, root), name) or (called and path in dialect.TYPE_METHODS_THAT_WORK):
            return None
        return path, dialect.MISSING_METHODS.get(
            name, f"call the method on the value: `lambda x: x.{name}()`"
        )

    def call(self, node: ast.Call) -> Found:
        path = dotted(self.program, node.func)
        found: tuple[str, str] | None = None
        if path in dialect.MISSING_KEYWORDS:
            known, rewrite = dialect.MISSING_KEYWORDS[path]
            for keyword in node.keywords:
                if keyword.arg and (known is None or keyword.arg in known):
                    found = f"{path}({keyword.arg}=...)", rewrite
        elif path in dialect.MISSING_OPTIONS:
            options, rewrite = dialect.MISSING_OPTIONS[path]
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                if keyword.arg in options and value is options[keyword.arg]:
                    found = f"{path}({keyword.arg}={value})", rewrite
        elif path == "next" and node.args and self.is_list(node.args[0]):
            found = "next(...) of a generator expression", dialect.NEXT
        elif path == "open":
            awaited = isinstance(self.program.parents[node], ast.Await)
            found = None if awaited else ("open()", dialect.MISSING_ATTRIBUTES["os.access"])
        elif path == "os.getenv":
            found = path, dialect.MISSING_ATTRIBUTES[path]
        elif any(map(self.is_function, node.args[:2])) and self.is_re_sub(node.func, path):
            found = "re.sub with a function", dialect.RE_SUB
        if found and not self.guarded(node, "use"):
            yield node, *found

    # What the tree says about a name or a place.

    @cached_property
    def named(self) -> frozenset[str]:
        """Attributes the script spells out: `x.__len__()` works, where `len(x)` does not."""
        attributes = (node for node in self.program.nodes if isinstance(node, ast.Attribute))
        return frozenset(node.attr for node in attributes if not _is_default(node.value))

    def is_list(self, node: ast.expr) -> bool:
        """Whether an expression that looks like an iterator is a list in Monty."""
        if isinstance(node, ast.Call):
            return dotted(self.program, node.func) in _LISTS_NOT_ITERATORS
        if isinstance(node, ast.Name):
            values = self.assigned(node.id)
            return bool(values) and all(isinstance(value, ast.GeneratorExp) for value in values)
        return isinstance(node, ast.GeneratorExp)

    def is_re_sub(self, func: ast.expr, path: str) -> bool:
        if path or not isinstance(func, ast.Attribute):
            return path == "re.sub"
        return func.attr == "sub" and self.value_type(func.value) is re.Pattern

    def is_function(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            places = self.program.bindings.get(node.id, ())
            return len(places) == 1 and isinstance(places[0], ast.FunctionDef)
        return isinstance(node, ast.Lambda)

    def value_type(self, node: ast.expr) -> type | None:
        """The builtin type of an expression, when the script leaves no doubt."""
        if isinstance(node, ast.Name):
            kinds = {self.direct_type(value) for value in self.assigned(node.id)}
            return kinds.pop() if len(kinds) == 1 else None
        return self.direct_type(node)

    def direct_type(self, node: ast.expr) -> type | None:
        if isinstance(node, ast.Constant):
            return type(node.value) if isinstance(node.value, str | int | float) else None
        if isinstance(node, ast.Call):
            return _CONSTRUCTORS.get(dotted(self.program, node.func))
        return _VALUE_TYPES.get(type(node))

    def assigned(self, name: str) -> list[ast.expr]:
        """The values of a name that is bound by plain assignments and nothing else, or nothing."""
        values: list[ast.expr] = []
        places = self.program.bindings.get(name, ())
        if len(places) > _MANY:
            return []
        for place in places:
            parent = self.program.parents[place]
            if isinstance(parent, ast.Assign | ast.AnnAssign) and parent.value is not None:
                values.append(parent.value)
            elif not isinstance(parent, ast.AnnAssign):
                return []
        return values

    def guarded(self, node: ast.AST, kind: str) -> bool:
        """Whether the script is prepared for a failure here, or this is never evaluated."""
        trail: list[tuple[ast.AST, str]] = []
        guarded = False
        child, parent = node, self.program.parents.get(node)
        while parent is not None:
            key = (child, kind)
            if key in self.guards:
                guarded = self.guards[key]
                break
            trail.append(key)
            if _guards(parent, child, kind):
                guarded = True
                break
            child, parent = parent, self.program.parents.get(parent)
        self.guards.update(dict.fromkeys(trail, guarded))
        return guarded


def _is_default(node: ast.expr) -> bool:
    """`object` or `super()`: its methods are named to do what Python does anyway."""
    return chain(node.func if isinstance(node, ast.Call) else node) in (("object",), ("super",))


def _guards(parent: ast.AST, child: ast.AST, kind: str) -> bool:
    if isinstance(parent, ast.Try):
        if isinstance(child, ast.ExceptHandler):
            return True
        in_body = bool(parent.handlers) and getattr(child, "lineno", 0) < parent.handlers[0].lineno
        return in_body and _catches(parent, kind)
    if isinstance(parent, ast.If):
        return chain(parent.test)[-1:] == ("TYPE_CHECKING",)
    return child is getattr(parent, "annotation", None) or child is getattr(parent, "returns", None)


def _catches(statement: ast.Try, kind: str) -> bool:
    fallback = kind == "import" or len(statement.body) == 1  # one risky line is a fallback idiom
    for handler in statement.handlers:
        if handler.type is None:
            if fallback:
                return True
            continue
        types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        names = {parts[-1] for parts in map(chain, types) if parts}
        if names & _GUARDS[kind] or (fallback and names & _BROAD):
            return True
    return False


def _simple_class_item(item: ast.stmt) -> bool:
    if isinstance(item, ast.Pass):
        return True
    if isinstance(item, ast.Assign):
        return len(item.targets) == 1 and isinstance(item.targets[0], ast.Name)
    if isinstance(item, ast.AnnAssign):
        return isinstance(item.target, ast.Name)
    if isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant):
        return isinstance(item.value.value, str) or item.value.value is ...
    return False


def _method_value(text: str, method: str) -> str:
    if method == "get":
        return f"`lambda k: {text}(k)`; for the largest, `max(d, key=lambda k: d[k])`"
    return f"wrap the call: `lambda x: {text}(x)`"


def _function_value(text: str) -> str:
    return f"wrap the call: `lambda x: {text}(x)`"


_CHECKS: dict[type[ast.AST], Callable[[_Finder, Any], Found]] = {
    ast.Yield: _Finder.yields,
    ast.YieldFrom: _Finder.yields,
    ast.Delete: _Finder.delete,
    ast.AsyncFor: _Finder.async_for,
    ast.AsyncWith: _Finder.async_with,
    ast.comprehension: _Finder.comprehension,
    ast.TryStar: _Finder.try_star,
    ast.AugAssign: _Finder.augmented,
    ast.ClassDef: _Finder.class_def,
    ast.Import: _Finder.imports,
    ast.ImportFrom: _Finder.import_from,
    ast.Name: _Finder.name,
    ast.Attribute: _Finder.attribute,
    ast.Call: _Finder.call,
}
if hasattr(ast, "TypeAlias"):  # Python 3.12 and later
    _CHECKS[ast.TypeAlias] = _Finder.type_alias
