"""Whether Monty runs a script with the same result as CPython, told before anything runs.

The same means: the same value, prints and calls with the same arguments in the same order, and an
error where CPython has one, of the same kind where the script could tell. So this is an allow-list: a
script is Monty's when everything in it is in `monty_facts` and every value that Monty shows
differently stands where `places` lets it. Whatever leaves a doubt needs full Python: that costs a few
milliseconds, and a wrong value would cost more.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..types import Position
from . import monty_facts as facts
from .annotations import evaluates
from .calls import Calls
from .caught import doubt_of_handlers, shown_error
from .deep import too_deep
from .keys import Keys
from .kinds import DICT, Kinds
from .parse import Program, chain
from .places import Places

_NESTED = 20  # types within types
_LARGEST = 6_000  # nodes of a script that are looked at
_BUILTINS = frozenset(dir(builtins))
_VALUES = frozenset(
    {
        *(ast.Name, ast.Call, ast.BinOp, ast.Set, ast.SetComp, ast.GeneratorExp, ast.BoolOp, ast.IfExp),
        *(ast.NamedExpr, ast.Subscript),
    }
)
_IDENTITY = (ast.Is, ast.IsNot)
_TYPE_PARTS = (ast.Tuple, ast.BinOp, ast.Subscript, ast.List)
_SOFT_KEYWORDS = frozenset({"match", "case", "type"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.Lambda, ast.ClassDef, ast.Module)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a script needs full Python: what, where, and one sentence such as an outcome shows."""

    construct: str
    position: Position
    sentence: str


def needs_full_python(program: Program) -> Reason | None:
    """Why a script cannot be left to Monty; None when Monty does exactly what CPython would.

    Only the tree is looked at, for a time that grows with the size of the script. Whatever modules are
    configured beside those of Monty, importing one is a reason.
    """
    if len(program.nodes) > _LARGEST:
        return _reason(program, program.tree, "so much code", "is not looked through for Monty")
    exactness = _Exactness(program)
    if (deep := too_deep(program, exactness.kinds)) is not None:
        return _reason(program, *deep, "Monty may not compile")
    for node in program.nodes:
        if type(node) not in _PLAIN:
            doubt = exactness.doubt(node)
            if doubt is not None:
                return _reason(program, node, *doubt)
    if (caught := doubt_of_handlers(exactness.kinds)) is not None:
        return _reason(program, *caught, "may fail otherwise in Monty, and a handler here could tell")
    if (shown := shown_error(exactness.kinds)) is not None:
        return _reason(program, *shown, "may be of a kind that Monty does not have")
    return None


def _reason(program: Program, node: ast.AST, construct: str, why: str) -> Reason:
    while not hasattr(node, "lineno") and node in program.parents:
        node = program.parents[node]
    position = program.position(node)
    return Reason(construct, position, f"line {position.line} uses {construct}, which {why}")


_Doubt = tuple[str, str]
"""A construct, and what is the matter with it: `uses X, which …`."""

_MISSING = "Monty does not have"
_UNKNOWN = "is not known to be the same in Monty"
_OTHERWISE = "Monty does otherwise"


class _Exactness:
    """The checks of one script, one for each kind of node that can be a problem."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.kinds = Kinds(program)
        self.places = Places(self.kinds)
        self.calls = Calls(self.kinds)
        self.keys = Keys(self.kinds)
        stored = frozenset(node.attr for node in self.kinds.stores)
        self.own = self.kinds.methods | self.kinds.declared | stored
        """Names of attributes that the script's own objects have."""
        self.classes = frozenset(node.name for node in self.kinds.nodes[ast.ClassDef])
        self.lazy_annotations = "annotations" in program.bindings and "__future__" in program.imports

    def doubt(self, node: Any) -> _Doubt | None:
        """What is the matter with one node, its parts apart."""
        kind = type(node)
        if kind not in facts.NODES:
            return _SAYINGS.get(kind.__name__, kind.__name__.lower()), _MISSING
        check = _CHECKS.get(kind)
        found = check(self, node) if check else None
        if found is not None or kind not in _VALUES:
            return found
        stored = isinstance(getattr(node, "ctx", None), ast.Store)
        if stored or (self.kinds.settled and self.places.fits(node)):
            return None
        return self._loose(node), "Monty makes in another order or at another time"

    def _loose(self, node: ast.expr) -> str:
        text = " ".join(self.program.text(node).split())
        return f"`{text}`" if len(text) <= 40 else f"`{text[:39]}…`"

    # Statements

    def imports(self, node: ast.Import) -> _Doubt | None:
        for alias in node.names:
            doubt = self._module(alias.name)
            if doubt is not None:
                return doubt
        return None

    def import_from(self, node: ast.ImportFrom) -> _Doubt | None:
        module = node.module or ""
        if node.level:
            return "a relative import", _MISSING
        doubt = self._module(module)
        if doubt is not None or module.partition(".")[0] in ("tools", "runtime"):
            return doubt
        if module == "__future__" and node not in self.program.tree.body[:2]:
            return "a late __future__ import", _OTHERWISE
        for alias in node.names:
            name = f"{module}.{alias.name}"
            known = name in facts.FUNCTIONS or name in facts.CONSTANTS or name in facts.DECORATORS
            typed = module == "typing" and alias.name in facts.TYPING
            if not known and not typed and name != "__future__.annotations":
                return name, _UNKNOWN
        return None

    def _module(self, name: str) -> _Doubt | None:
        root = name.partition(".")[0]
        if name in facts.MODULES or root in ("tools", "runtime"):
            return None
        return f"the module {name}", _UNKNOWN

    def class_def(self, node: ast.ClassDef) -> _Doubt | None:
        if node.bases or node.keywords:
            return f"class {node.name} with a base", _MISSING
        for decorator in node.decorator_list:
            call = decorator if isinstance(decorator, ast.Call) else None
            if self.kinds.path(call.func if call else decorator) != "dataclasses.dataclass":
                return f"a decorator on class {node.name}", _UNKNOWN
            if call and (call.args or any(not _is_frozen(each) for each in call.keywords)):
                return "a dataclass with options", _UNKNOWN
        for item in node.body:
            if isinstance(item, _FUNCTIONS):
                if item.decorator_list:
                    return f"a decorator on method {item.name}", _MISSING
                if item.name.startswith("__") and item.name not in facts.CLASS_METHODS:
                    return f"method {item.name} of a class", _OTHERWISE
            elif not _is_plain_item(item):
                return f"a statement in the body of class {node.name}", _MISSING
        return None

    def function_def(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> _Doubt | None:
        in_class = isinstance(self.program.parents[node], ast.ClassDef)
        for decorator in [] if in_class else node.decorator_list:  # a method's are its class's matter
            func = decorator.func if isinstance(decorator, ast.Call) else decorator
            path = self.kinds.path(func)
            cache = path in facts.DECORATORS and path.startswith("functools.")
            cached = cache and isinstance(node, ast.FunctionDef)
            own = isinstance(func, ast.Name) and self._is_own_function(func.id)
            if not cached and not own:
                return f"a decorator on {node.name}", _UNKNOWN
        arguments = node.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every = [*named, arguments.vararg, arguments.kwarg]
        annotations = [each.annotation for each in every if each] + [node.returns]
        return next(filter(None, (self._annotation(each) for each in annotations)), None)

    def _is_own_function(self, name: str) -> bool:
        places = self.program.bindings.get(name, ())
        return bool(places) and all(isinstance(place, ast.FunctionDef) for place in places)

    def annotated(self, node: ast.AnnAssign) -> _Doubt | None:
        parent = self.program.parents[node]
        while parent is not self.program.tree:
            if isinstance(parent, _FUNCTIONS):
                return None  # nobody evaluates those of local names
            parent = self.program.parents[parent]
        return self._annotation(node.annotation)

    def _annotation(self, node: ast.expr | None) -> _Doubt | None:
        """CPython evaluates annotations and Monty does not, so one that fails makes a difference."""
        if node is None or self.lazy_annotations or evaluates(self.kinds, node):
            return None
        return "an annotation", "Monty does not evaluate"

    def handler(self, node: ast.ExceptHandler) -> _Doubt | None:
        types = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type] if node.type else []
        for each in types:
            name = self.kinds.path(each) or (each.id if isinstance(each, ast.Name) else "")
            free = name and name not in self.program.bindings
            if not (free and name in facts.EXCEPTIONS) and name != "json.JSONDecodeError":
                return f"`except {self._loose(each)[1:]}", _UNKNOWN
        return None

    def tries(self, node: ast.Try) -> _Doubt | None:
        early = any(handler.type is None for handler in node.handlers[:-1])
        return ("a bare except before others", _OTHERWISE) if early else None

    def names_global(self, node: ast.Global) -> _Doubt | None:
        function = self.program.parents[node]
        while not isinstance(function, (*_FUNCTIONS, ast.Module)):
            function = self.program.parents[function]
        if isinstance(function, ast.Module) or any(
            isinstance(place, ast.arg) for name in node.names for place in self.program.bindings.get(name, ())
        ):
            return "global for a name that cannot be it", _OTHERWISE
        return None

    def awaits(self, node: ast.Await) -> _Doubt | None:
        """CPython refuses an `await` outside an async function before anything runs."""
        parent = self.program.parents[node]
        while not isinstance(parent, _SCOPES):
            parent = self.program.parents[parent]
        allowed = isinstance(parent, ast.AsyncFunctionDef | ast.Module)
        return None if allowed else ("await outside an async function", _OTHERWISE)

    def named(self, node: ast.NamedExpr) -> _Doubt | None:
        """CPython refuses `:=` in some places of comprehensions and classes before anything runs."""
        child: ast.AST = node
        parent = self.program.parents[node]
        while not isinstance(parent, (*_FUNCTIONS, ast.Lambda, ast.Module)):
            targets = [each.target for each in getattr(parent, "generators", ())]
            rebinds = any(
                isinstance(name, ast.Name) and name.id == node.target.id
                for each in targets
                for name in self.kinds.walk(each)
            )
            if rebinds or isinstance(parent, ast.ClassDef) or getattr(parent, "iter", None) is child:
                return "`:=` where it is not allowed", _OTHERWISE
            child, parent = parent, self.program.parents[parent]
        return None

    def raises(self, node: ast.Raise) -> _Doubt | None:
        name = node.exc.id if isinstance(node.exc, ast.Name) else ""
        if name and name not in self.program.bindings and name not in facts.EXCEPTIONS:
            return f"`raise {name}`", _UNKNOWN
        return None

    def comprehension(self, node: ast.comprehension) -> _Doubt | None:
        return ("an asynchronous comprehension", _MISSING) if node.is_async else None

    def operation(self, node: ast.BinOp | ast.AugAssign) -> _Doubt | None:
        if isinstance(node.op, ast.MatMult):
            return "the operator @", _MISSING
        left, right = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.target, node.value)
        if isinstance(node, ast.AugAssign):
            doubt = self.calls.augmented(node)
            if doubt is not None:
                return doubt
        if isinstance(node.op, ast.Mult | ast.Div | ast.FloorDiv | ast.Mod):
            return self.calls.scaled(left, right)
        return None

    def match_class(self, node: ast.MatchClass) -> _Doubt | None:
        name = node.cls.id if isinstance(node.cls, ast.Name) else ""
        if name in facts.TYPES and name not in self.program.bindings:
            return None
        return ("a class pattern", _UNKNOWN) if node.patterns or not name else None

    # Expressions

    def constant(self, node: ast.Constant) -> _Doubt | None:
        value = node.value
        if isinstance(value, str):
            lone = not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value)
            return ("half a surrogate pair", _OTHERWISE) if lone or "\\ud" in value else None
        return ("a complex number", _UNKNOWN) if isinstance(value, complex) else None

    def generator(self, node: ast.GeneratorExp) -> _Doubt | None:
        parts: list[ast.AST] = [node.elt, *node.generators[0].ifs, *node.generators[1:]]
        if any(isinstance(inner, ast.Await) for part in parts for inner in self.kinds.walk(part)):
            return "an asynchronous generator", _MISSING
        return None

    def compare(self, node: ast.Compare) -> _Doubt | None:
        operands = [node.left, *node.comparators]
        for index, op in enumerate(node.ops):
            pair = operands[index : index + 2]
            if isinstance(op, _IDENTITY) and not any(map(self._is_singleton, pair)):
                return "`is`", "asks for the identity of values, and that is another in Monty"
        return None

    def _is_singleton(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Constant):
            return node.value is None or isinstance(node.value, bool)
        return isinstance(node, ast.Name) and node.id in facts.TYPES and node.id not in self.program.bindings

    def call(self, node: ast.Call) -> _Doubt | None:
        func = node.func
        if self.places.holds_itself(node):
            return "a container that holds itself", _OTHERWISE
        if isinstance(func, ast.Attribute) and not self.kinds.path(func) and not self.kinds.is_outside(func):
            if func.attr in self.own:
                return None
            if chain(func) == ("dict", "fromkeys") and "dict" not in self.program.bindings:
                return self.calls.function("dict.fromkeys", node) or self.made_keys(node)
        return self.calls.doubt(node) or self.made_keys(node)

    def name(self, node: ast.Name) -> _Doubt | None:
        if not isinstance(node.ctx, ast.Load):
            if node.id in _SOFT_KEYWORDS and ";" in self.program.lines[node.lineno - 1]:
                return f"`{node.id}` after a semicolon", _OTHERWISE
            shadows = node.id in facts.BUILTINS and node.id in self.calls.called
            return (f"`{node.id}` as a name of its own", _UNKNOWN) if shadows else None
        if node.id in self.program.bindings:
            return self._bound_name(node)
        if node.id not in _BUILTINS:
            hidden = node.id.startswith("__") or node.id == "copyright"
            return (node.id, _UNKNOWN) if hidden else None
        parent = self.program.parents[node]
        if isinstance(parent, ast.Call) and parent.func is node:
            known = node.id in facts.BUILTINS or node.id in facts.EXCEPTIONS or node.id == "__name__"
            allowed = known or self.calls.asks_outside(parent)
        elif node.id == "__name__" or self._names_type(node, parent):
            allowed = True
        elif node.id in facts.EXCEPTIONS:
            allowed = isinstance(parent, ast.Raise | ast.ExceptHandler) or self._is_caught(parent)
        elif isinstance(parent, ast.Attribute):
            allowed = chain(parent) == ("dict", "fromkeys")
        else:
            allowed = node.id in facts.VALUES
        return None if allowed else (node.id, _UNKNOWN)

    def _bound_name(self, node: ast.Name) -> _Doubt | None:
        path = self.kinds.modules.get(node.id, "")
        if not path and node.id not in self.classes:
            return None
        parent = self.program.parents[node]
        if isinstance(parent, ast.Attribute) or (isinstance(parent, ast.Call) and parent.func is node):
            return None
        if path:
            return self._module_value(node, path)
        used = self._names_type(node, parent) or isinstance(parent, ast.Compare | ast.MatchClass)
        return None if used else (f"class {node.id} as a value", _UNKNOWN)

    def _is_caught(self, parent: ast.AST) -> bool:
        return isinstance(parent, ast.Tuple) and isinstance(self.program.parents[parent], ast.ExceptHandler)

    def _names_type(self, node: ast.expr, parent: ast.AST) -> bool:
        """Whether a type stands where only its identity counts: in `isinstance`, annotations, patterns."""
        child: ast.AST = node
        for _ in range(_NESTED):
            if not isinstance(parent, _TYPE_PARTS):
                break
            child, parent = parent, self.program.parents[parent]
        if isinstance(parent, ast.Call):
            asked = self.kinds.builtin(parent.func) == "isinstance" and parent.args[1:2] == [child]
            return asked and self._is_known_type(node)
        if isinstance(parent, ast.Compare | ast.MatchClass):
            return isinstance(node, ast.Name) and node.id in facts.TYPES
        return child is getattr(parent, "annotation", None) or child is getattr(parent, "returns", None)

    def _is_known_type(self, node: ast.expr) -> bool:
        """Whether `isinstance` can be asked for a type: a class of the script, or one that Monty has."""
        path = self.kinds.path(node)
        if path:
            return path in facts.FUNCTIONS or path in facts.CONSTANTS
        bound = isinstance(node, ast.Name) and node.id in self.program.bindings
        return bound or getattr(node, "id", "") in facts.INSTANCES

    def _module_value(self, node: ast.expr, path: str) -> _Doubt | None:
        """A module's attribute, or a name imported from one, that is not called here."""
        parent = self.program.parents[node]
        root = path.partition(".")[0]
        if root in ("tools", "runtime") or path in facts.CONSTANTS or self._names_type(node, parent):
            return None
        if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return None  # a decorator; its function or class is asked
        if path.startswith("math.") and path in facts.FUNCTIONS:
            return None
        return f"{path} as a value", _UNKNOWN

    def attribute(self, node: ast.Attribute) -> _Doubt | None:
        parent = self.program.parents[node]
        if isinstance(parent, ast.Attribute) and (self.kinds.path(parent) or self.kinds.is_outside(parent)):
            return None
        called = isinstance(parent, ast.Call) and parent.func is node
        stored = not isinstance(node.ctx, ast.Load)
        path = self.kinds.path(node)
        if path or self.kinds.is_outside(node):
            if stored:
                return f"`{'.'.join(chain(node))} = …`", _UNKNOWN
            return self._module_value(node, path) if path and not called else None
        if node.attr.startswith("__"):
            named = node.attr == "__name__" and self._is_type(node.value)
            return None if named else (f".{node.attr}", _UNKNOWN)
        if stored:
            root = chain(node)[:1]
            own = bool(root) and self._is_own_function(root[0])
            return (f"an attribute of the function {root[0]}", _UNKNOWN) if own else None
        if called or node.attr in self.own or node.attr in facts.ATTRIBUTES:
            return None
        known = node.attr in facts.PYTHONS_ATTRIBUTES
        return (f".{node.attr} as a value", _UNKNOWN) if known else None

    def _is_type(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and self.kinds.builtin(node.func) == "type"

    def subscript(self, node: ast.Subscript) -> _Doubt | None:
        sliced = isinstance(node.slice, ast.Slice)
        if sliced and isinstance(node.ctx, ast.Load) and self.kinds.is_only(node.value, DICT):
            return "a slice of a dict", _OTHERWISE
        if isinstance(node.ctx, ast.Store) and self.places.holds_itself(node):
            return "a container that holds itself", _OTHERWISE
        return self.made_keys(node)

    def made_keys(self, node: ast.expr) -> _Doubt | None:
        """Of equal keys, such as 1 and 1.0, Monty keeps the last and CPython the first."""
        construct = self.keys.doubt(node)
        return (construct, _OTHERWISE) if construct else None

    def formatted(self, node: ast.FormattedValue) -> _Doubt | None:
        if node.format_spec is None:
            return None
        parts = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else []
        texts = [str(part.value) for part in parts if isinstance(part, ast.Constant)]
        if len(texts) != len(parts):
            return "a computed format", _UNKNOWN
        return self.calls.spec("".join(texts), None if node.conversion != -1 else node.value)


def _is_frozen(keyword: ast.keyword) -> bool:
    return keyword.arg == "frozen" and isinstance(keyword.value, ast.Constant)


def _is_plain_item(item: ast.stmt) -> bool:
    match item:
        case ast.Pass():
            return True
        case ast.Expr(value=ast.Constant(value=value)):
            return isinstance(value, str) or value is ...
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return not name.startswith("__")
    return False


_SAYINGS = {
    "Yield": "a generator",
    "YieldFrom": "a generator",
    "Delete": "del",
    "With": "with",
    "AsyncWith": "async with",
    "AsyncFor": "async for",
    "TryStar": "except*",
    "TypeAlias": "a type alias",
}
_CHECKS: Mapping[type[ast.AST], Callable[[_Exactness, Any], _Doubt | None]] = {
    ast.Import: _Exactness.imports,
    ast.ImportFrom: _Exactness.import_from,
    ast.ClassDef: _Exactness.class_def,
    ast.FunctionDef: _Exactness.function_def,
    ast.AsyncFunctionDef: _Exactness.function_def,
    ast.AnnAssign: _Exactness.annotated,
    ast.ExceptHandler: _Exactness.handler,
    ast.Raise: _Exactness.raises,
    ast.Try: _Exactness.tries,
    ast.Global: _Exactness.names_global,
    ast.Await: _Exactness.awaits,
    ast.NamedExpr: _Exactness.named,
    ast.comprehension: _Exactness.comprehension,
    ast.BinOp: _Exactness.operation,
    ast.AugAssign: _Exactness.operation,
    ast.MatchClass: _Exactness.match_class,
    ast.Constant: _Exactness.constant,
    ast.GeneratorExp: _Exactness.generator,
    ast.Compare: _Exactness.compare,
    ast.Call: _Exactness.call,
    ast.Name: _Exactness.name,
    ast.Attribute: _Exactness.attribute,
    ast.Subscript: _Exactness.subscript,
    ast.Dict: _Exactness.made_keys,
    ast.DictComp: _Exactness.made_keys,
    ast.FormattedValue: _Exactness.formatted,
}
_PLAIN = facts.NODES - _CHECKS.keys() - _VALUES
"""Kinds of nodes in which nothing can be the matter, their parts apart."""
