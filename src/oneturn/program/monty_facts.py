"""What Monty was shown to do exactly as CPython does, as tables: whatever is not here is not trusted.

Every entry was compared with CPython on systematic arguments and in random programs, and is tried
against the installed Monty by the tests. `exact` reads a script against these tables; `dialect`
tells what to write instead where there is no CPython to send a script to.

A few differences depend on values that no tree shows, and are known and left: the last digit of the text
of a float beyond 10**11 that lies exactly between two; which of two equal keys of different kinds (1 and
1.0) a dict keeps when tools gave both; the text of a container that holds itself, put there under names
that do not tell; lengths and counts too large for memory or 64 bits; letters that Unicode got after
Python's version; `chr` of half a surrogate pair; a date among other values that is formatted as a number,
an error in Monty; and the kind of the error that ends a script when it slices a dict, or formats None
as a number.
"""

from __future__ import annotations

import ast
import collections
import datetime as dt
import functools
import hashlib
import json
import re
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass

NODES = frozenset(
    {
        *(ast.Module, ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For, ast.While, ast.If),
        *(ast.Raise, ast.Try, ast.Assert, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.Pass),
        *(ast.Break, ast.Continue, ast.Return, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
        *(ast.Match, ast.match_case, ast.MatchValue, ast.MatchSingleton, ast.MatchSequence),
        *(ast.MatchMapping, ast.MatchClass, ast.MatchStar, ast.MatchAs, ast.MatchOr),
        *(ast.BoolOp, ast.NamedExpr, ast.BinOp, ast.UnaryOp, ast.Lambda, ast.IfExp, ast.Dict, ast.Set),
        *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Await, ast.Compare, ast.Call),
        *(ast.FormattedValue, ast.JoinedStr, ast.Constant, ast.Attribute, ast.Subscript, ast.Starred),
        *(ast.Name, ast.List, ast.Tuple, ast.Slice, ast.arguments, ast.arg, ast.keyword, ast.alias),
        *(ast.ExceptHandler, ast.comprehension),
    }
)
"""The kinds of syntax a script may be made of."""


@dataclass(frozen=True, slots=True)
class Function:
    """How something may be called.

    `result` is a kind by its word in `kinds`, or `same` for that of a method's own value. `takes` are
    the loose kinds that may be arguments, of which it does not show what Monty shows differently.
    """

    result: str = "any"
    least: int = 0
    most: int = 99
    keywords: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()
    pure: bool = True


def _call(
    result: str, least: int, most: int, keywords: str = "", takes: str = "", *, pure: bool = True
) -> Function:
    return Function(result, least, most, frozenset(keywords.split()), frozenset(takes.split()), pure)


def _each(names: str, function: Function) -> dict[str, Function]:
    return dict.fromkeys(names.split(), function)


_ORDERED = "view range lazy stream"  # whose order is the same, so they may be gone through
_WHOLE = f"set {_ORDERED}"

BUILTINS: Mapping[str, Function] = {
    **_each("any all", _call("bool", 1, 1, takes=_WHOLE)),
    **_each("bin chr hex oct", _call("str", 1, 1)),
    **_each("repr", _call("str", 1, 1, takes="view range")),
    **_each("set frozenset", _call("set", 0, 1, takes=_WHOLE)),
    **_each("list", _call("list", 0, 1, takes=_ORDERED)),
    **_each("tuple", _call("tuple", 0, 1, takes=_ORDERED)),
    **_each("min max", _call("any", 1, 99, "key default", _WHOLE)),
    "abs": _call("any", 1, 1),
    "bool": _call("bool", 0, 1, takes="set view range"),
    "dict": _call("dict", 0, 1, "*", "view lazy stream"),
    "divmod": _call("tuple", 2, 2),
    "enumerate": _call("lazy", 1, 2, "start", _ORDERED),
    "filter": _call("lazy", 2, 2, takes=_ORDERED),
    "float": _call("float", 0, 1),
    "format": _call("str", 1, 2),
    "int": _call("int", 0, 1),
    "isinstance": _call("bool", 2, 2, takes="set view range"),
    "iter": _call("stream", 1, 1, takes="view range stream"),
    "len": _call("int", 1, 1, takes="set view range"),
    "map": _call("lazy", 2, 99, takes=_ORDERED),
    "next": _call("any", 1, 2, takes="stream", pure=False),
    "ord": _call("int", 1, 1),
    "pow": _call("number", 2, 3),
    "print": _call("none", 0, 99, "sep end flush", "view range", pure=False),
    "range": _call("range", 1, 3),
    "reversed": _call("lazy", 1, 1, takes="view range"),
    "round": _call("number", 1, 2),
    "sorted": _call("list", 1, 1, "key reverse", _WHOLE),
    "str": _call("str", 0, 1, takes="view range"),
    "sum": _call("any", 1, 2, "start", _ORDERED),
    "type": _call("other", 1, 1),
    "zip": _call("lazy", 0, 99, "strict", _ORDERED),
}
"""Builtin functions and types that may be called."""

TYPES = frozenset(
    ["bool", "int", "float", "str", "bytes", "list", "tuple", "dict", "set", "frozenset", "type", "object"]
)
"""Builtin types that may be named in annotations, `isinstance` and patterns."""

VALUES = frozenset(
    [
        "len",
        "str",
        "int",
        "float",
        "bool",
        "abs",
        "sum",
        "min",
        "max",
        "sorted",
        "list",
        "tuple",
        "dict",
        "repr",
        "ord",
        "chr",
        "any",
        "all",
    ]
)
"""Builtins that may be passed on as values: called by anybody they do what they do when called here."""

EXCEPTIONS = frozenset(
    [
        *("Exception", "BaseException", "ArithmeticError", "AssertionError", "AttributeError"),
        *("ImportError", "IndexError", "KeyError", "LookupError", "ModuleNotFoundError", "NameError"),
        *("NotImplementedError", "OSError", "OverflowError", "PermissionError", "RecursionError"),
        *("RuntimeError", "StopIteration", "TimeoutError", "TypeError", "ValueError", "ZeroDivisionError"),
        *("FileNotFoundError", "ToolError"),
    ]
)
"""Exceptions that may be raised and caught by name."""

INSTANCES = TYPES - {"type"} | EXCEPTIONS | {"complex", "range", "slice"}
"""Builtin types that `isinstance` may be asked for."""

COARSE_EXCEPTIONS = frozenset(
    [
        *("Exception", "BaseException", "ToolError", "OSError", "ArithmeticError", "ValueError"),
        "RuntimeError",
    ]
)
"""Those of `EXCEPTIONS` with kinds that Monty does not have, and raises as the nearest of these."""

_TEXT_METHODS = "upper lower title capitalize swapcase casefold removeprefix removesuffix"
_TEXT_QUESTIONS = "isalpha isdigit isdecimal isalnum isspace isupper islower istitle isidentifier isascii"

METHODS: Mapping[str, Function] = {
    **_each(_TEXT_METHODS, _call("str", 0, 1)),
    **_each("strip lstrip rstrip", _call("str", 0, 1)),
    **_each(_TEXT_QUESTIONS, _call("bool", 0, 0)),
    **_each("center ljust rjust", _call("str", 1, 2)),
    **_each("zfill", _call("str", 1, 1)),
    **_each("split rsplit", _call("list", 0, 2, "sep maxsplit")),
    **_each("splitlines", _call("list", 0, 1, "keepends")),
    **_each("startswith endswith", _call("bool", 1, 3)),
    **_each("find rfind count index rindex", _call("int", 1, 3)),
    **_each("partition rpartition", _call("tuple", 1, 1)),
    "join": _call("str", 1, 1, takes=_ORDERED),
    "replace": _call("any", 0, 3, "year month day hour minute second microsecond tzinfo"),
    "format": _call("str", 0, 99, "*"),
    "encode": _call("bytes", 0, 1),
    "decode": _call("str", 0, 1),
    # of lists, dicts and sets
    **_each("append remove discard", _call("none", 1, 1, pure=False)),
    "add": _call("none", 1, 1, pure=False),
    "extend": _call("none", 1, 1, takes=_ORDERED, pure=False),
    "insert": _call("none", 2, 2, pure=False),
    "pop": _call("any", 0, 2, pure=False),
    "sort": _call("none", 0, 0, "key reverse", pure=False),
    **_each("reverse clear", _call("none", 0, 0, pure=False)),
    "copy": _call("same", 0, 0),
    "get": _call("any", 1, 2),
    **_each("keys values items", _call("view", 0, 0)),
    "setdefault": _call("any", 1, 2, pure=False),
    "update": _call("none", 1, 1, "*", _WHOLE, pure=False),
    **_each("union intersection difference symmetric_difference", _call("set", 1, 1, takes=_WHOLE)),
    **_each("issubset issuperset isdisjoint", _call("bool", 1, 1, takes=_WHOLE)),
    # of collections, times and matches
    "most_common": _call("list", 0, 1),
    "total": _call("int", 0, 0),
    **_each("appendleft", _call("none", 1, 1, pure=False)),
    "popleft": _call("any", 0, 0, pure=False),
    "isoformat": _call("str", 0, 2, "sep timespec"),
    "strftime": _call("str", 1, 1),
    **_each("weekday isoweekday", _call("int", 0, 0)),
    **_each("date time", _call("other", 0, 0)),
    **_each("timestamp total_seconds", _call("float", 0, 0)),
    "astimezone": _call("other", 1, 1),
    "group": _call("any", 0, 99),
    "groups": _call("tuple", 0, 0),
    "groupdict": _call("dict", 0, 0),
    **_each("start end", _call("int", 0, 1)),
    "span": _call("tuple", 0, 1),
    **_each("search match fullmatch", _call("thing", 1, 1)),
    "findall": _call("list", 1, 1),
    "finditer": _call("stream", 1, 1),
    "sub": _call("str", 2, 2, "count"),
    **_each("hexdigest", _call("str", 0, 0)),
    "digest": _call("bytes", 0, 0),
}
"""Methods that may be called, by name: each on every builtin type that has one of that name."""

SET_METHODS = frozenset(
    [
        "add",
        "remove",
        "discard",
        "clear",
        "copy",
        "update",
        "union",
        "intersection",
        "difference",
        "symmetric_difference",
        "issubset",
        "issuperset",
        "isdisjoint",
    ]
)
"""What does not show the order of a set it is called on."""

INT_ATTRIBUTES = frozenset(
    ["year", "month", "day", "hour", "minute", "second", "microsecond", "days", "seconds", "microseconds"]
)
ATTRIBUTES = INT_ATTRIBUTES | {"tzinfo", "args"}
"""Attributes of builtin values that may be read. Those that a script's own classes have are read freely."""

PYTHONS_ATTRIBUTES = frozenset(
    name
    for kind in (
        *(str, bytes, int, float, complex, list, tuple, dict, set, frozenset, range, type, object, slice),
        *(dt.datetime, dt.date, dt.time, dt.timedelta, dt.timezone, re.Match, re.Pattern, functools.partial),
        *(collections.Counter, collections.defaultdict, collections.deque, types.FunctionType),
        *(
            types.CoroutineType,
            types.MethodType,
            types.GeneratorType,
            json.JSONDecodeError,
            OSError,
            KeyError,
        ),
        *(ImportError, NameError, AttributeError, StopIteration, SystemExit, UnicodeDecodeError),
        *(type(hashlib.sha256()), type({}.keys()), type({}.items()), type({}.values())),
    )
    for name in dir(kind)
)
"""What a value of a script may have as an attribute in Python, so that Monty's lack of it would matter."""

CLASS_METHODS = frozenset({"__init__", "__repr__", "__str__", "__eq__", "__call__", "__post_init__"})
"""Methods with a meaning in Python that a class of the script may define."""

_DURATION = "days hours minutes seconds milliseconds microseconds weeks"

FUNCTIONS: Mapping[str, Function] = {
    "asyncio.gather": _call("any", 0, 99, takes=_ORDERED, pure=False),
    "asyncio.sleep": _call("other", 1, 1, pure=False),
    "asyncio.run": _call("any", 1, 1, pure=False),
    **_each("base64.b64encode base64.urlsafe_b64encode", _call("bytes", 1, 1)),
    **_each("base64.b64decode base64.urlsafe_b64decode", _call("bytes", 1, 1)),
    **_each("bisect.bisect bisect.bisect_left bisect.bisect_right", _call("int", 2, 2)),
    **_each("bisect.insort", _call("none", 2, 2, pure=False)),
    "collections.Counter": _call("dict", 0, 1, takes=_ORDERED),
    "collections.defaultdict": _call("dict", 0, 1),
    "collections.deque": _call("other", 0, 1, "maxlen", _ORDERED),
    **_each("copy.copy copy.deepcopy", _call("any", 1, 1)),
    "dataclasses.field": _call("any", 0, 0, "default default_factory"),
    "datetime.datetime": _call("other", 3, 7, "tzinfo"),
    "datetime.date": _call("other", 3, 3),
    "datetime.time": _call("other", 0, 4),
    "datetime.timedelta": _call("other", 0, 0, _DURATION),
    "datetime.timezone": _call("other", 1, 1),
    "datetime.datetime.now": _call("other", 0, 1, "tz", pure=False),
    "datetime.date.today": _call("other", 0, 0, pure=False),
    "datetime.datetime.combine": _call("other", 2, 2),
    "functools.reduce": _call("any", 2, 3, takes=_ORDERED, pure=False),
    "functools.partial": _call("thing", 1, 99, "*", pure=False),
    **_each("hashlib.sha256 hashlib.md5 hashlib.sha1 hashlib.sha512", _call("thing", 0, 1)),
    **_each("itertools.chain itertools.zip_longest", _call("stream", 0, 99, "fillvalue", _ORDERED)),
    **_each("itertools.chain.from_iterable itertools.pairwise", _call("stream", 1, 1, takes=_ORDERED)),
    **_each("itertools.islice", _call("stream", 2, 4, takes=_ORDERED)),
    **_each("itertools.accumulate", _call("stream", 1, 2, "initial", _ORDERED)),
    **_each("itertools.groupby", _call("stream", 1, 2, "key", _ORDERED)),
    **_each("itertools.permutations itertools.combinations", _call("stream", 1, 2, takes=_ORDERED)),
    **_each("itertools.combinations_with_replacement", _call("stream", 2, 2, takes=_ORDERED)),
    **_each("itertools.product", _call("stream", 0, 99, "repeat", _ORDERED)),
    **_each("itertools.count", _call("stream", 0, 2)),
    **_each("itertools.cycle", _call("stream", 1, 1, takes=_ORDERED)),
    **_each("itertools.takewhile itertools.dropwhile", _call("stream", 2, 2, takes=_ORDERED)),
    "json.loads": _call("any", 1, 1),
    "json.dumps": _call("str", 1, 1, "indent sort_keys ensure_ascii separators"),
    **{
        f"math.{name}": _call("float", 1, 2)
        for name in [
            "sqrt",
            "exp",
            "log",
            "log2",
            "log10",
            "pow",
            "sin",
            "cos",
            "tan",
            "atan2",
            "hypot",
            "degrees",
            "radians",
            "fabs",
            "fmod",
        ]
    },
    **{f"math.{name}": _call("int", 1, 1) for name in ["ceil", "floor", "trunc", "factorial", "isqrt"]},
    **{f"math.{name}": _call("int", 0, 99) for name in ["gcd", "lcm"]},
    **{f"math.{name}": _call("int", 2, 2) for name in ["comb", "perm"]},
    **{f"math.{name}": _call("bool", 1, 1) for name in ["isnan", "isinf", "isfinite"]},
    "math.isclose": _call("bool", 2, 2, "rel_tol abs_tol"),
    "math.fsum": _call("float", 1, 1, takes="view range lazy stream"),
    "math.prod": _call("any", 1, 1, "start", _ORDERED),
    **_each("random.random", _call("float", 0, 0, pure=False)),
    **_each("random.randint random.uniform", _call("number", 2, 2, pure=False)),
    **_each("random.randrange", _call("int", 1, 3, pure=False)),
    **_each("random.choice random.shuffle random.seed", _call("any", 1, 1, takes="range", pure=False)),
    "random.sample": _call("list", 2, 2, takes="range", pure=False),
    "random.choices": _call("list", 1, 1, "weights k", "range", pure=False),
    "random.gauss": _call("float", 2, 2, pure=False),
    "re.compile": _call("thing", 1, 2, "flags"),
    **_each("re.search re.match re.fullmatch", _call("thing", 2, 3, "flags")),
    "re.findall": _call("list", 2, 3, "flags"),
    "re.finditer": _call("stream", 2, 3, "flags"),
    "re.split": _call("list", 2, 2, "maxsplit flags"),
    "re.sub": _call("str", 3, 3, "count flags"),
    "time.sleep": _call("none", 1, 1, pure=False),
    **_each("time.time time.monotonic time.perf_counter", _call("float", 0, 0, pure=False)),
    "dict.fromkeys": _call("dict", 1, 2, takes=_ORDERED),
}
"""Functions and types of modules that may be called, by full name."""

CONSTANTS = frozenset(
    [
        *("datetime.timezone.utc", "math.pi", "math.e", "math.inf", "math.nan", "math.tau"),
        *("re.M", "re.MULTILINE", "re.S", "re.DOTALL"),
        *("json.JSONDecodeError",),
    ]
)
"""Attributes of modules that may be read as values."""

DECORATORS = frozenset({"functools.cache", "functools.lru_cache", "dataclasses.dataclass"})

MODULES = frozenset(
    [
        "asyncio",
        "base64",
        "bisect",
        "collections",
        "copy",
        "dataclasses",
        "datetime",
        "functools",
        "hashlib",
        "itertools",
        "json",
        "math",
        "random",
        "re",
        "time",
        "typing",
        "__future__",
        "tools",
        "runtime",
    ]
)
"""Modules that may be imported."""

TYPING = frozenset(
    [
        "Any",
        "Callable",
        "Dict",
        "FrozenSet",
        "Iterable",
        "Iterator",
        "List",
        "Literal",
        "Mapping",
        "Optional",
        "Sequence",
        "Set",
        "Tuple",
        "Type",
        "Union",
    ]
)
"""Names of `typing` that may stand in annotations."""

DIRECTIVES = frozenset("YmdHMSybBaAIpjf%")
"""What `strftime` may be asked for."""

SUMS_AS_MONTY = sys.version_info < (3, 12)
"""Python 3.12 and later add up floats more precisely than Monty and earlier Pythons do."""
