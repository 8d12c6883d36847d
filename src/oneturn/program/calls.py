"""Which calls Monty was shown to answer as CPython does: of builtins, methods and modules' functions."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import cached_property

from . import monty_facts as facts
from . import patterns
from .kinds import BOOL, BYTES, DICT, FLOAT, INT, LIST, NONE, NUMBER, OTHER, SET, STR, TUPLE, Kinds

_NEEDLES = frozenset({"find", "rfind", "count", "index", "rindex", "startswith", "endswith"})
_CODECS = frozenset({"utf-8", "utf8", "ascii"})
_PATTERNS = frozenset({"search", "match", "fullmatch", "findall", "finditer", "split", "sub"})
_SPREADS = frozenset({"print", "zip", "max", "min"})
_TYPES: Mapping[int, type] = {
    NONE: type(None),
    BOOL: bool,
    INT: int,
    FLOAT: float,
    STR: str,
    BYTES: bytes,
    LIST: list,
    TUPLE: tuple,
    DICT: dict,
    SET: set,
}
_FIRST_YEAR = 1000  # from which on every platform writes a year as Monty does
_OTHERWISE = "Monty does otherwise"
_UNKNOWN = "is not known to be the same in Monty"

_Doubt = tuple[str, str]


class Calls:
    """Judges the calls of one script."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        self.program = kinds.program

    @cached_property
    def called(self) -> frozenset[str]:
        """Names that are called."""
        callees = (node.func for node in self.kinds.nodes[ast.Call])
        return frozenset(func.id for func in callees if isinstance(func, ast.Name))

    @cached_property
    def _writes_years(self) -> bool:
        """Whether the script formats times."""
        return "strftime" in self.program.identifiers or any(
            node.format_spec is not None for node in self.kinds.nodes[ast.FormattedValue]
        )

    @cached_property
    def _has_times(self) -> bool:
        return "datetime" in self.program.imports

    def asks_outside(self, node: ast.Call) -> bool:
        """`hasattr` or `getattr` of something only the host can give."""
        if (
            not isinstance(node.func, ast.Name)
            or node.func.id not in ("hasattr", "getattr")
            or len(node.args) < 2
        ):
            return False
        return self.kinds.is_outside(node.args[0]) and isinstance(node.args[1], ast.Constant)

    def doubt(self, node: ast.Call) -> _Doubt | None:
        """What is the matter with a call."""
        func = node.func
        if isinstance(func, ast.Name):
            return self._name(func.id, node)
        if isinstance(func, ast.Attribute):
            path = self.kinds.path(func)
            if path:
                return self.function(path, node)
            return None if self.kinds.is_outside(func) else self._method(func, node)
        if isinstance(func, ast.Call) and self.kinds.builtin(func.func):
            return "a call of what a builtin gave", _UNKNOWN
        return None

    def _name(self, name: str, node: ast.Call) -> _Doubt | None:
        path = self.kinds.path(node.func)
        if path:
            return self.function(path, node)
        if name in self.program.bindings:
            return (f"{name}() under a name of its own", _UNKNOWN) if name in facts.BUILTINS else None
        if name in facts.EXCEPTIONS:
            return self._exception(name, node)
        function = facts.BUILTINS.get(name)
        if function is None or self.asks_outside(node):
            return None
        special = _BUILTIN_CHECKS.get(name)
        return self._shape(f"{name}()", function, node, name in _SPREADS) or (
            special(self, node) if special else None
        )

    def _shape(
        self, name: str, function: facts.Function, node: ast.Call, spreads: bool = False
    ) -> _Doubt | None:
        if any(isinstance(arg, ast.Starred) for arg in node.args):
            if not spreads:
                return f"{name} with starred arguments", _UNKNOWN
        elif not function.least <= len(node.args) <= function.most:
            return f"{name} with {len(node.args)} arguments", _UNKNOWN
        for keyword in node.keywords:
            if "*" not in function.keywords and keyword.arg not in function.keywords:
                return f"{name} with {keyword.arg or '**'}", _UNKNOWN
        return None

    def function(self, path: str, node: ast.Call) -> _Doubt | None:
        """What is the matter with a call of a module's function."""
        root, _, name = path.partition(".")
        if root in ("tools", "runtime"):
            return None
        if path in facts.DECORATORS:
            return self._decorator(path, node)
        function = facts.FUNCTIONS.get(path)
        if function is None:
            return f"{path}()", _UNKNOWN
        spreads = path in ("asyncio.gather", "itertools.chain", "itertools.product", "itertools.zip_longest")
        doubt = self._shape(f"{path}()", function, node, spreads)
        if doubt is None and root == "re":
            return self._pattern(name, node.args, node.keywords)
        special = _FUNCTION_CHECKS.get(path)
        return doubt or (special(self, node) if special else None)

    def _decorator(self, path: str, node: ast.Call) -> _Doubt | None:
        parent = self.program.parents[node]
        decorates = node in getattr(parent, "decorator_list", ())
        plain = all(isinstance(keyword.value, ast.Constant) for keyword in node.keywords) and not node.args
        return None if decorates and plain else (f"{path}()", _UNKNOWN)

    def _method(self, func: ast.Attribute, node: ast.Call) -> _Doubt | None:
        function = facts.METHODS.get(func.attr)
        if function is None:
            # What no type of Python has is a tool's, or fails in both.
            return (f".{func.attr}()", _UNKNOWN) if func.attr in facts.PYTHONS_ATTRIBUTES else None
        if self._fails_late(func, node):
            return (
                f".{func.attr}() of what may not have it",
                "fails only after its arguments in Monty",
            )
        special = _METHOD_CHECKS.get(func.attr)
        doubt = self._shape(f".{func.attr}()", function, node)
        return doubt or (special(self, node, func.value) if special else None)

    def _fails_late(self, func: ast.Attribute, node: ast.Call) -> bool:
        """Whether a method may be missing, known only once calls in its arguments were made."""
        kind = self.kinds.of(func.value)
        if kind & OTHER or not any(kind & each and not hasattr(_TYPES[each], func.attr) for each in _TYPES):
            return False
        parts = [*node.args, *(keyword.value for keyword in node.keywords)]
        return any(isinstance(inner, ast.Call) for part in parts for inner in self.kinds.walk(part))

    # Builtins

    def _exception(self, name: str, node: ast.Call) -> _Doubt | None:
        plain = (
            not node.keywords
            and len(node.args) < 2
            and all(self.kinds.is_only(arg, STR) for arg in node.args)
        )
        return None if plain else (f"{name} with more than a text", _OTHERWISE)

    def _round(self, node: ast.Call) -> _Doubt | None:
        if len(node.args) < 2 or self.kinds.is_only(node.args[0], INT | BOOL):
            return None
        return "round() to digits", _OTHERWISE

    def _number(self, node: ast.Call) -> _Doubt | None:
        for arg in node.args:
            text = arg.value if isinstance(arg, ast.Constant) else None
            if not self.kinds.is_only(arg, NUMBER) and not (isinstance(text, str) and text.isascii()):
                return "a number read from text", "in Monty has to be in ASCII digits"
        return None

    def _sum(self, node: ast.Call) -> _Doubt | None:
        if facts.SUMS_AS_MONTY:
            return None
        part = node.args[0]
        whole = isinstance(part, ast.GeneratorExp | ast.ListComp) and self.kinds.is_only(part.elt, INT | BOOL)
        return None if whole else ("sum() of what may be floats", _OTHERWISE)

    def _type(self, node: ast.Call) -> _Doubt | None:
        parent = self.program.parents[node]
        named = isinstance(parent, ast.Attribute) and parent.attr == "__name__"
        return None if named or isinstance(parent, ast.Compare) else ("a type as a value", _OTHERWISE)

    def _ord(self, node: ast.Call) -> _Doubt | None:
        return ("ord() of bytes", _OTHERWISE) if self.kinds.is_only(node.args[0], BYTES) else None

    def _zip(self, node: ast.Call) -> _Doubt | None:
        return ("zip() with strict", _OTHERWISE) if node.keywords else None

    def _format(self, node: ast.Call) -> _Doubt | None:
        if len(node.args) < 2:
            return None
        text = _text(node.args[1])
        return ("a computed format", _UNKNOWN) if text is None else self.spec(text, node.args[0])

    def spec(self, spec: str, value: ast.expr | None) -> _Doubt | None:
        """What is the matter with a format specification; `value` is None for text."""
        if not spec:
            return None
        kind = self.kinds.of(value) if value is not None else STR
        if spec != "%" and patterns.times(spec, facts.DIRECTIVES):
            return None
        if not patterns.spec_is_plain(spec):
            return f"the format {spec[:20]!r}", _UNKNOWN
        if not kind & (NUMBER | STR):
            return f"the format {spec[:20]!r} of what is neither number nor text", _OTHERWISE
        if patterns.spec_asks_nothing(spec) and kind & ~(NUMBER | STR):
            return f"the format {spec[:20]!r} of what may be None or a container", _OTHERWISE
        return None

    def scaled(self, left: ast.expr, right: ast.expr) -> _Doubt | None:
        """What is the matter with multiplying or dividing: Monty has no fractions of a timedelta."""
        if not self._has_times:
            return None
        kinds = self.kinds
        known = NUMBER | STR | LIST
        if all(kinds.is_only(side, known) for side in (left, right)):
            return None
        if any(kinds.is_only(side, INT | BOOL | STR | LIST) for side in (left, right)):
            return None
        return "a product or fraction of what may be a timedelta", _OTHERWISE

    def augmented(self, node: ast.AugAssign) -> _Doubt | None:
        """What is the matter with `a op= b`: Monty changes lists and sets in place less often."""
        right, target = self.kinds.of(node.value), node.target
        if isinstance(node.op, ast.Add):
            changed = LIST if right & ~(LIST | NUMBER | NONE) else 0
        elif isinstance(node.op, ast.Mult):
            changed = LIST if right & (INT | BOOL) else 0
        else:
            changed = SET if isinstance(node.op, ast.Sub | ast.BitAnd | ast.BitXor) else 0
        if not changed:
            return None
        left = self.kinds.part(target) if isinstance(target, ast.Subscript) else self.kinds.of(target)
        return ("`op=` on what may be a list or a set", _OTHERWISE) if left & changed else None

    # Methods

    def _needle(self, node: ast.Call, value: ast.expr) -> _Doubt | None:
        first = node.args[0]
        sure = isinstance(first, ast.Constant) and bool(first.value)
        if self.kinds.is_only(value, BYTES) and not self.kinds.is_only(first, BYTES):
            return "a number searched in bytes", _OTHERWISE
        if len(node.args) == 1 or sure or self.kinds.is_only(value, LIST):
            return None
        return "a search from a place", "Monty finds an empty text with"

    def _lines(self, node: ast.Call, _value: ast.expr) -> _Doubt | None:
        whole = all(self.kinds.is_only(arg, BOOL) for arg in node.args)
        return None if whole else (".splitlines() with such arguments", _OTHERWISE)

    def _taken(self, node: ast.Call, _value: ast.expr) -> _Doubt | None:
        key = self.kinds.of(node.args[0]) if node.args else STR
        return None if key & ~(LIST | DICT) else (".pop() of what is no key", _OTHERWISE)

    def _codec(self, node: ast.Call, _value: ast.expr) -> _Doubt | None:
        known = all(_text(arg) in _CODECS for arg in node.args)
        return None if known else ("a text encoding", _UNKNOWN)

    def _replace(self, node: ast.Call, _value: ast.expr) -> _Doubt | None:
        texts = not self._has_times or all(self.kinds.is_only(arg, STR) for arg in node.args[:2])
        plain = (len(node.args) in (2, 3) and texts and not node.keywords) or not node.args
        return None if plain else (".replace() with such arguments", _UNKNOWN)

    def _update(self, node: ast.Call, _value: ast.expr) -> _Doubt | None:
        return None if node.args or node.keywords else (".update() with nothing", _UNKNOWN)

    def _strftime(self, node: ast.Call, _value: ast.expr) -> _Doubt | None:
        text = _text(node.args[0])
        known = text is not None and patterns.times(text, facts.DIRECTIVES)
        return None if known else ("a format of times", _UNKNOWN)

    def _template(self, node: ast.Call, value: ast.expr) -> _Doubt | None:
        text = _text(value)
        fields = patterns.fields(text) if text is not None else None
        if fields is None or any(keyword.arg is None for keyword in node.keywords):
            return "a computed template", _UNKNOWN
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        count = 0
        for name, spec in fields:
            arg: ast.expr | None = None
            if name == "" or name.isdigit():
                index = int(name) if name else count
                count += 1
                arg = node.args[index] if index < len(node.args) else None
            elif name.isidentifier():
                arg = named.get(name)
            if arg is None or "{" in spec:
                return f"the field {{{name[:20]}}} of a template", _UNKNOWN
            doubt = self.spec(spec, arg)
            if doubt is not None:
                return doubt
        return None

    def _compiled(self, node: ast.Call, _value: ast.expr) -> _Doubt | None:
        text = _text(node.args[0])
        plain = text is not None and "\\" not in text
        return None if plain else ("a replacement that is computed or has escapes", _OTHERWISE)

    # Functions of modules

    def _pattern(self, name: str, args: list[ast.expr], keywords: list[ast.keyword]) -> _Doubt | None:
        text = _text(args[0])
        if text is None or not patterns.pattern_is_plain(text):
            return "a regular expression", _UNKNOWN
        flags = [keyword.value for keyword in keywords if keyword.arg == "flags"]
        usual = {"compile": 1, "split": 9, "sub": 9}.get(name, 2)
        for flag in (*flags, *args[usual:]):
            if self.kinds.path(flag) not in facts.CONSTANTS:
                return "flags of a regular expression", _UNKNOWN
        if name != "sub":
            return None
        new = _text(args[1])
        plain = new is not None and "\\" not in new
        return None if plain else ("a replacement that is computed or has escapes", _OTHERWISE)

    def _duration(self, node: ast.Call) -> _Doubt | None:
        whole = all(self.kinds.is_only(keyword.value, INT | BOOL) for keyword in node.keywords)
        return None if whole else ("a timedelta of what may be a fraction", _OTHERWISE)

    def _date(self, node: ast.Call) -> _Doubt | None:
        year = node.args[0]
        late = isinstance(year, ast.Constant) and isinstance(year.value, int) and year.value >= _FIRST_YEAR
        if late or not self._writes_years:
            return None
        return "a year that may have few digits", _OTHERWISE

    def _seed(self, node: ast.Call) -> _Doubt | None:
        return None if self.kinds.is_only(node.args[0], INT | STR) else ("a computed seed", _UNKNOWN)

    def _default(self, node: ast.Call) -> _Doubt | None:
        for arg in node.args:
            made = isinstance(arg, ast.Lambda) or (isinstance(arg, ast.Name) and arg.id in facts.VALUES)
            if not made:
                return "the default of a defaultdict", _UNKNOWN
        return None


def _text(node: ast.expr) -> str | None:
    """The text of a constant."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


_BUILTIN_CHECKS: Mapping[str, Callable[[Calls, ast.Call], _Doubt | None]] = {
    "round": Calls._round,
    "int": Calls._number,
    "float": Calls._number,
    "sum": Calls._sum,
    "type": Calls._type,
    "zip": Calls._zip,
    "ord": Calls._ord,
    "format": Calls._format,
}
_METHOD_CHECKS: Mapping[str, Callable[[Calls, ast.Call, ast.expr], _Doubt | None]] = {
    **dict.fromkeys(_NEEDLES, Calls._needle),
    "splitlines": Calls._lines,
    "pop": Calls._taken,
    "encode": Calls._codec,
    "decode": Calls._codec,
    "replace": Calls._replace,
    "update": Calls._update,
    "strftime": Calls._strftime,
    "format": Calls._template,
    "sub": Calls._compiled,
}
_FUNCTION_CHECKS: Mapping[str, Callable[[Calls, ast.Call], _Doubt | None]] = {
    "datetime.timedelta": Calls._duration,
    "datetime.datetime": Calls._date,
    "datetime.date": Calls._date,
    "random.seed": Calls._seed,
    "collections.defaultdict": Calls._default,
}
