"""Where the value of an expression may come from, asked back through the names of a script.

The places behind a place are those its value is taken from: what a name is bound to, what is put into a
list, what a function is given and what it returns. Scopes are not told apart, nor is the order of
statements, so more may be said than can be. Tools are taken to give back what they were given, at the most.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from . import monty_facts as facts
from .functions import Functions, arguments_of, passed
from .kinds import DICT, LIST, LOOSE, NUMBER, OTHER, STR, TUPLE, Kinds
from .parse import chain
from .paths import (
    DEEP,
    EACH,
    MAKERS,
    OTHER_NUMBER,
    PART,
    Path,
    Place,
    element,
    json_value,
    of_each,
    rests,
    shortened,
    somewhere,
    step_of,
    under,
)

_MOST = 50_000  # places that are looked for in one script
_DEEPEST = 4  # steps to something that two names may share
_PROBES: tuple[Path, ...] = ((), (EACH,), (PART,), (EACH, PART))
"""Where in what a call or an operator gives something is looked for that it shares with others."""
_MAKING = (ast.Call, ast.BinOp)
_PATTERNS = (ast.MatchAs, ast.MatchStar, ast.MatchMapping)
_SHARING = (ast.Add, ast.Mult, ast.BitOr)
_HOLDING = LIST | TUPLE | DICT | OTHER | LOOSE
_SAME = frozenset({"copy.copy", "copy.deepcopy", "json.loads", "json.dumps"})
_GONE_THROUGH = frozenset(
    [
        *("sorted", "list", "tuple", "set", "frozenset", "reversed", "iter", "collections.deque"),
        *("itertools.islice", "itertools.cycle", "itertools.chain", "random.sample"),
    ]
)
"""What gives the elements of its arguments."""
_OF_TEXT = frozenset(
    [
        *("split", "rsplit", "splitlines", "partition", "rpartition", "group", "groups", "groupdict"),
        *("findall", "finditer", "span", "keys", "most_common"),
    ]
)
"""Methods whose results have in them only texts, whole numbers and keys of dicts."""
_FOLDING = frozenset({"functools.reduce", "itertools.accumulate"})
"""What gives a function its own results."""
_TAKING = frozenset({"get", "pop", "popleft", "setdefault"})
_ADDING = frozenset({"append", "appendleft", "add"})
_JOINING = frozenset({"extend", "update", "union", "intersection", "difference", "symmetric_difference"})


class Origins:
    """The places behind the places of one script."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        self.program = kinds.program
        self.functions = Functions(kinds)
        self.left = _MOST
        """How many more places are looked for; behind any place after that there may be any number."""

    def of(self, node: ast.expr, path: Path) -> Iterator[Place]:
        """The places from which what is at a path into an expression may come."""
        look = _LOOKS.get(type(node))
        for source, where in look(self, node, path) if look is not None else ():
            self.left -= 1
            if self.left < 0:
                yield OTHER_NUMBER, ()
                return
            yield source, shortened(where)

    # Expressions

    def _sequence(self, node: ast.List | ast.Tuple | ast.Set, path: Path) -> Iterator[Place]:
        if not path:  # a tuple as a key is its parts
            yield from ((part, ()) for part in node.elts)
            return
        sure = not any(isinstance(part, ast.Starred) for part in node.elts)
        for index, part in enumerate(node.elts):
            rest = element(path, index if sure else None)
            if rest is not None:
                yield (part.value, (EACH, *rest)) if isinstance(part, ast.Starred) else (part, rest)

    def _dict(self, node: ast.Dict, path: Path) -> Iterator[Place]:
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                yield value, path
            elif (rest := under(path, step_of(key))) is not None:
                yield value, rest

    def _made_of_each(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, path: Path
    ) -> Iterator[Place]:
        rest = element(path)
        if rest is not None:
            yield node.elt, rest

    def _dict_of_each(self, node: ast.DictComp, path: Path) -> Iterator[Place]:
        rest = under(path)
        if rest is not None:
            yield node.value, rest

    def _inner(self, node: ast.Await | ast.NamedExpr | ast.Starred, path: Path) -> Iterator[Place]:
        yield node.value, path

    def _operand(self, node: ast.UnaryOp, path: Path) -> Iterator[Place]:
        yield node.operand, path

    def _either(self, node: ast.BoolOp, path: Path) -> Iterator[Place]:
        yield from ((value, path) for value in node.values)

    def _choice(self, node: ast.IfExp, path: Path) -> Iterator[Place]:
        yield node.body, path
        yield node.orelse, path

    def _sides(self, node: ast.BinOp, path: Path) -> Iterator[Place]:
        if path and isinstance(path[0], int):
            path = (PART, *path[1:])
        yield node.left, path
        yield node.right, path

    def _subscript(self, node: ast.Subscript, path: Path) -> Iterator[Place]:
        if isinstance(node.slice, ast.Slice):
            yield node.value, of_each(path)
        else:
            yield node.value, (step_of(node.slice), *path)

    def _attribute(self, node: ast.Attribute, path: Path) -> Iterator[Place]:
        name = self.kinds.path(node)
        if name:
            if name.startswith("math."):
                yield OTHER_NUMBER, path
        elif not self.kinds.is_outside(node):
            yield from self._label(f".{node.attr}", path)

    def _name(self, node: ast.Name, path: Path) -> Iterator[Place]:
        if node.id in self.program.bindings:
            yield from self._label(node.id, path)
        elif node.id in ("float", "bool"):
            yield OTHER_NUMBER, ()

    # Names and attributes

    def _label(self, label: str, path: Path) -> Iterator[Place]:
        """The places behind a name, or behind an attribute of whatever object as `.name`."""
        for place in self._bindings[label]:
            yield from self._bound(place, path)
        if path:
            yield from self._put(label, path)

    @cached_property
    def _bindings(self) -> Mapping[str, list[ast.AST]]:
        found: defaultdict[str, list[ast.AST]] = defaultdict(list)
        for name, places in self.program.bindings.items():
            found[name] += places
        for node in self.kinds.stores:
            found[f".{node.attr}"].append(node)
        for made in self.kinds.nodes[ast.ClassDef]:
            for item in made.body:
                for target in (*getattr(item, "targets", ()), getattr(item, "target", None)):
                    if isinstance(target, ast.Name):
                        found[f".{target.id}"] += [target, made]
        return found

    def _bound(self, place: ast.AST, path: Path) -> Iterator[Place]:
        if isinstance(place, ast.arg):
            yield from self._parameter(place, path)
        elif isinstance(place, ast.Name | ast.Attribute):
            yield from self._assigned(place, path)
        elif isinstance(place, ast.ClassDef):  # a field of a dataclass
            for call in self.functions.calls.get(place.name, ()):
                yield from ((part, path) for part in arguments_of(call))
        elif isinstance(place, _PATTERNS):
            node: ast.AST = place
            while not isinstance(node, ast.Match):
                node = self.program.parents[node]
            yield node.subject, (DEEP, *path)

    def _assigned(self, target: ast.expr, path: Path) -> Iterator[Place]:
        """The places behind what a statement binds or stores."""
        steps: Path = path
        child: ast.AST = target
        parent = self.program.parents[child]
        while isinstance(parent, ast.Tuple | ast.List | ast.Starred):
            if isinstance(parent, ast.Starred):
                steps = (DEEP, *steps)
            else:
                sure = not any(isinstance(part, ast.Starred) for part in parent.elts)
                steps = (parent.elts.index(child) if sure else PART, *steps)  # type: ignore[arg-type]
            child, parent = parent, self.program.parents[parent]
        match parent:
            case ast.For(iter=iterated) | ast.comprehension(iter=iterated):
                yield iterated, (EACH, *steps)
            case ast.AugAssign(op=ast.Div()):
                yield OTHER_NUMBER, steps
            case ast.Assign(value=value) | ast.AugAssign(value=value) | ast.NamedExpr(value=value):
                yield value, steps
            case ast.AnnAssign(value=value) if value is not None:
                yield value, steps

    # What is put into a container

    @cached_property
    def _puts(self) -> Mapping[str, list[tuple[Path, ast.expr]]]:
        """What is put into what is reached from a name: where, and the value or the place it is stored in."""
        found: defaultdict[str, list[tuple[Path, ast.expr]]] = defaultdict(list)
        for node in self.kinds.nodes[ast.Subscript]:
            if isinstance(node.ctx, ast.Store):
                step: Path = () if isinstance(node.slice, ast.Slice) else (step_of(node.slice),)
                for label, steps in self._reached(node.value):
                    found[label].append(((*steps, *step), node))
        for node in self.kinds.nodes[ast.AugAssign]:
            if not isinstance(node.target, ast.Subscript):
                for label, steps in self._reached(node.target):
                    found[label].append((steps, node.value))
        for call in self.kinds.nodes[ast.Call]:
            if self.kinds.path(call.func) == "bisect.insort":
                for label, steps in self._reached(call.args[0]):
                    found[label] += [((*steps, EACH), part) for part in call.args[1:]]
            elif isinstance(call.func, ast.Attribute):
                given = list(_put_by(call.func.attr, call))
                for label, steps in self._reached(call.func.value) if given else ():
                    found[label] += [((*steps, *path), part) for path, part in given]
        return found

    def _reached(self, node: ast.expr) -> Iterator[tuple[str, Path]]:
        """The names, and attributes as `.name`, from which something is reached, and how."""
        waiting: list[Place] = [(node, ())]
        known: set[Place] = set()
        while waiting and self.left > 0:
            node, path = place = waiting.pop()
            if place in known:
                continue
            known.add(place)
            match node:
                case ast.Name(id=name):
                    yield name, path
                case ast.Attribute(attr=attr):
                    yield f".{attr}", path
                case _:
                    waiting += self.of(node, path)

    def _put(self, label: str, path: Path) -> Iterator[Place]:
        """The places behind what was put at a path into a name, under whatever name that was done."""
        waiting, known = [(label, path)], {(label, path)}
        while waiting and self.left > 0:
            label, path = waiting.pop()
            for where, value in self._puts.get(label, ()):
                for rest in rests(path, where):
                    self.left -= 1
                    yield from self._stored(value, rest)
            for where, other, there in self._links.get(label, ()):
                for rest in rests(path, where):
                    self.left -= 1
                    same = (other, shortened((*there, *rest)))
                    if same not in known:
                        known.add(same)
                        waiting.append(same)

    def _stored(self, value: ast.expr, path: Path) -> Iterator[Place]:
        if isinstance(value, ast.Subscript) and isinstance(value.ctx, ast.Store):
            yield from self._assigned(value, path)
        else:
            yield value, path

    @cached_property
    def _links(self) -> Mapping[str, set[tuple[Path, str, Path]]]:
        """For each name the paths into it that may be the same thing as a path into another."""
        found: defaultdict[str, set[tuple[Path, str, Path]]] = defaultdict(set)
        for label, places in self._bindings.items():
            for place in places:
                self._link(found, label, self._bound(place, ()), ())
        for label, puts in self._puts.items():
            for steps, put in puts:
                self._link(found, label, self._stored(put, ()), steps)
        return found

    def _link(
        self,
        found: defaultdict[str, set[tuple[Path, str, Path]]],
        label: str,
        places: Iterable[Place],
        there: Path,
    ) -> None:
        """Note what a path into a name may share with others, if it can be changed."""
        waiting = [(place, there) for place in places]
        known: set[tuple[Place, Path]] = set()
        while waiting and self.left > 0:
            (node, path), there = each = waiting.pop()
            if each in known or len(there) > _DEEPEST or (not path and not self.kinds.of(node) & _HOLDING):
                continue
            known.add(each)
            parts = None if path else _parts(node)
            match node:
                case ast.Name(id=name):
                    found[name].add(_linked(path, label, there))
                case ast.Attribute(attr=attr):
                    found[f".{attr}"].add(_linked(path, label, there))
                case ast.BinOp(op=op) if not isinstance(op, _SHARING):
                    continue
                case _ if parts is not None:
                    waiting += [((part, ()), (*there, *where)) for where, part in parts]
                case _:
                    for probe in _PROBES if isinstance(node, _MAKING) else _PROBES[:1]:
                        waiting += [(place, (*there, *probe)) for place in self.of(node, (*path, *probe))]

    # Functions of the script

    def _parameter(self, place: ast.arg, path: Path) -> Iterator[Place]:
        arguments = self.program.parents[place]
        function = self.program.parents[arguments]
        if not isinstance(arguments, ast.arguments):
            return
        yield from ((value, path) for value in (*arguments.defaults, *arguments.kw_defaults) if value)
        name = getattr(function, "name", "")
        owner = self.program.parents[function]
        method = isinstance(owner, ast.ClassDef)
        calls = list(self.functions.calls.get(f".{name}" if method else name, ()))
        if isinstance(owner, ast.ClassDef) and name == "__init__":
            calls += self.functions.calls.get(owner.name, ())
        for call in calls:
            yield from passed(call, arguments, place, path, skipped=int(method))
        if function in self.functions.uses:
            for call in self.functions.open_calls:
                yield from ((part, path) for part in arguments_of(call))
                yield from ((part, (EACH, *path)) for part in arguments_of(call))
            for use in self.functions.uses[function]:
                yield from self._handed(use, function, path)

    def _handed(self, use: ast.AST, function: ast.AST, path: Path) -> Iterator[Place]:
        """What a call gives a function that it was given, as `sorted(rows, key=f)` does."""
        call = self.program.parents[use]
        if isinstance(call, ast.keyword):
            call = self.program.parents[call]
        if not isinstance(call, ast.Call):
            return
        receiver = [call.func.value] if isinstance(call.func, ast.Attribute) else []
        for part in (*arguments_of(call), *receiver):
            if part is not use:
                yield part, path
                yield part, (EACH, *path)
        if self.kinds.path(call.func) in _FOLDING:
            yield from ((value, path) for value in self.functions.returned.get(function, ()))

    # Calls

    def _call(self, node: ast.Call, path: Path) -> Iterator[Place]:
        func, kinds = node.func, self.kinds
        name = kinds.builtin(func) or kinds.path(func)
        if chain(func) == ("dict", "fromkeys"):
            name = "dict.fromkeys"
        if kinds.of(node) == STR and name != "json.dumps":
            return
        for function in self.functions.called(node):
            yield from ((value, path) for value in self.functions.returned.get(function, ()))
        method = func.attr if isinstance(func, ast.Attribute) and not name else ""
        maker = MAKERS.get(name)
        if name in _SAME and node.args:
            yield node.args[0], path
            for value in self._json if name == "json.loads" else ():
                yield value, () if value is OTHER_NUMBER else path
        elif name in _GONE_THROUGH:
            yield from ((part, of_each(path)) for part in node.args)
        elif maker is not None:
            yield from maker(node, path)
        elif kinds.is_outside(func):
            yield from ((part, path) for part in node.args)
            given = (keyword.value for keyword in node.keywords)
            yield from ((part, path) for part in given if not kinds.is_only(part, NUMBER))
        elif isinstance(func, ast.Attribute) and method not in kinds.methods and method in facts.METHODS:
            yield from self._method(func, node, path)
        elif not self.functions.called(node) or self.functions.is_open(func):
            yield from self._made_of(node, path)

    @cached_property
    def _json(self) -> list[ast.expr]:
        """What the texts of the script say as JSON, each of which may be read."""
        texts = {node.value for node in self.kinds.nodes[ast.Constant] if isinstance(node.value, str)}
        return [value for value in map(json_value, sorted(texts)) if value is not None]

    def _made_of(self, node: ast.Call, path: Path) -> Iterator[Place]:
        """The places behind what an unknown call makes of its arguments."""
        receiver = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        where = somewhere(path)
        for part in (*arguments_of(node), *receiver):
            yield part, where
            for function in (
                [part]
                if isinstance(part, ast.Lambda)
                else self.functions.named.get(getattr(part, "id", ""), ())
            ):
                yield from ((value, where) for value in self.functions.returned.get(function, ()))

    def _method(self, func: ast.Attribute, node: ast.Call, path: Path) -> Iterator[Place]:
        value, method = func.value, func.attr
        if method in _OF_TEXT:
            return
        if method in ("items", "values"):
            rest = element(path)
            if method == "items" and rest is not None and path[0] is not DEEP:
                if rest[:1] == (0,):
                    return
                rest = rest[1:]
            if rest is not None:
                yield value, rest if path[0] is DEEP else (PART, *rest)
        elif method in _TAKING:
            yield value, (step_of(node.args[0]) if node.args else PART, *path)
            yield from ((part, path) for part in node.args[1:])
        elif method == "copy":
            yield value, path
        elif method in _JOINING:
            yield from ((part, path) for part in (value, *node.args))
        else:
            yield from self._made_of(node, path)


def _parts(node: ast.expr) -> list[tuple[Path, ast.expr]] | None:
    """The parts of what is made in sight, each with where it is put; None for anything else."""
    match node:
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            sure = not any(isinstance(part, ast.Starred) for part in parts)
            return [
                ((), part.value) if isinstance(part, ast.Starred) else ((index if sure else PART,), part)
                for index, part in enumerate(parts)
            ]
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return [((step_of(key),) if key else (), part) for key, part in pairs]
        case ast.ListComp(elt=part) | ast.SetComp(elt=part) | ast.GeneratorExp(elt=part):
            return [((EACH,), part)]
        case ast.DictComp(value=part):
            return [((PART,), part)]
    return None


def _linked(where: Path, label: str, path: Path) -> tuple[Path, str, Path]:
    """A link as short as it can be: what is the same as a whole is so in its parts."""
    while where and path and where[-1] == path[-1]:
        where, path = where[:-1], path[:-1]
    return where, label, path


def _put_by(method: str, call: ast.Call) -> Iterator[tuple[Path, ast.expr]]:
    """What a method puts into what it is called on, and where."""
    if method in _ADDING:
        yield from (((EACH,), part) for part in call.args)
    elif method == "insert":
        yield from (((EACH,), part) for part in call.args[1:])
    elif method == "setdefault":
        yield from (((step_of(call.args[0]),), part) for part in call.args[1:])
    elif method in _JOINING:
        yield from (((), part) for part in call.args)
        yield from (((keyword.arg,) if keyword.arg else (), keyword.value) for keyword in call.keywords)


_LOOKS: Mapping[type[ast.AST], Callable[[Origins, Any, Path], Iterator[Place]]] = {
    ast.List: Origins._sequence,
    ast.Tuple: Origins._sequence,
    ast.Set: Origins._sequence,
    ast.Dict: Origins._dict,
    ast.ListComp: Origins._made_of_each,
    ast.SetComp: Origins._made_of_each,
    ast.GeneratorExp: Origins._made_of_each,
    ast.DictComp: Origins._dict_of_each,
    ast.Await: Origins._inner,
    ast.NamedExpr: Origins._inner,
    ast.Starred: Origins._inner,
    ast.UnaryOp: Origins._operand,
    ast.BoolOp: Origins._either,
    ast.IfExp: Origins._choice,
    ast.BinOp: Origins._sides,
    ast.Subscript: Origins._subscript,
    ast.Attribute: Origins._attribute,
    ast.Name: Origins._name,
    ast.Call: Origins._call,
}
