"""The Python that Monty offers, as tables: what is missing, and what to write instead.

Every entry is a fact about the installed Monty and is tried against it by the tests, so a Monty
that learns something new fails a test here instead of refusing a script that would run.
"""

from __future__ import annotations

MODULES = frozenset(
    [
        "asyncio",
        "base64",
        "binascii",
        "bisect",
        "collections",
        "copy",
        "csv",
        "dataclasses",
        "datetime",
        "decimal",
        "functools",
        "hashlib",
        "itertools",
        "json",
        "math",
        "os",
        "os.path",
        "pathlib",
        "posixpath",
        "random",
        "re",
        "sys",
        "time",
        "tomllib",
        "typing",
        "unicodedata",
    ]
)
"""Modules a script can import, besides `tools` and `runtime`."""

MISSING_MODULES = {
    "abc": "leave abstract base classes out and write a plain class",
    "aiohttp": "call a tool; scripts have no network",
    "argparse": "assign the values at the top of the script",
    "array": "use a list",
    "bs4": "use `re` on the text, or a tool that returns data",
    "calendar": "use `datetime`: `date(y, m + 1, 1) - timedelta(days=1)` is the last day of a month",
    "collections.abc": "leave the annotation out, or import the name from `typing`",
    "concurrent": "`await asyncio.gather(*coros)` runs calls in parallel",
    "contextlib": "write try/finally, or a class with `__enter__` and `__exit__`",
    "contextvars": "pass the value as an argument",
    "difflib": "compare lists or strings directly with `==` and `in`",
    "email": "use `str` methods or `re` on the text",
    "enum": "use plain constants: `OPEN = 'open'`",
    "fractions": "use `from decimal import Decimal`",
    "glob": "call a tool; scripts see no files",
    "gzip": "call a tool that returns plain text",
    "heapq": "`sorted(xs)[:n]` for the smallest, `sorted(xs, reverse=True)[:n]` for the largest",
    "html": "use `str.replace` for the few entities you need",
    "http": "call a tool; scripts have no network",
    "httpx": "call a tool; scripts have no network",
    "inspect": "`runtime.get_tool_info(name)` shows a tool's signature",
    "io": "use a list of strings and `'\\n'.join(lines)`; `csv.reader` takes `text.splitlines()`",
    "logging": "use `print(...)`",
    "multiprocessing": "`await asyncio.gather(*coros)` runs calls in parallel",
    "numbers": "`isinstance(x, (int, float))`",
    "numpy": "use lists, `sum`, `math` and comprehensions",
    "operator": "use a lambda: `key=lambda r: r['name']`",
    "pandas": "use lists of dicts with `sorted`, `collections.Counter` and comprehensions",
    "pickle": "use `json.dumps` and `json.loads`",
    "pprint": "`print(json.dumps(value, indent=2))`",
    "pydantic": "use plain dicts, or `@dataclass`",
    "queue": "use a list, or `collections.deque`",
    "requests": "call a tool; scripts have no network",
    "secrets": "use `random`",
    "shutil": "call a tool; scripts see no files",
    "socket": "call a tool; scripts have no network",
    "sqlite3": "use dicts and lists, or call a tool",
    "statistics": "mean: `sum(xs) / len(xs)`; median: `s = sorted(xs)`, "
    "then `(s[(len(s) - 1) // 2] + s[len(s) // 2]) / 2`",
    "string": "write the characters out: `'abcdefghijklmnopqrstuvwxyz'`, `'0123456789'`",
    "struct": "index and slice the bytes yourself",
    "subprocess": "call a tool; scripts start no processes",
    "tempfile": "keep the data in a variable; scripts see no files",
    "textwrap": "slice the text: `text[:80]`; leave `dedent` out",
    "threading": "`await asyncio.gather(*coros)` runs calls in parallel",
    "traceback": "`print(type(e).__name__, e)`",
    "types": "use a dict, or `@dataclass`",
    "typing_extensions": "leave the annotation out, or use a plain builtin type",
    "urllib": "split URLs with `str.split('/')` or `re`; to fetch one, call a tool",
    "uuid": "take ids from tool results, or `f'{random.getrandbits(128):032x}'`",
    "warnings": "use `print(...)`",
    "xml": "use `re` on the text, or a tool that returns data",
    "yaml": "use `json`, or a tool that returns data",
    "zoneinfo": "use `timezone.utc`, or `timezone(timedelta(hours=h))`",
}
"""Top-level modules (and a few dotted ones) that are asked for and not there."""

OTHER_MODULE = "it is not available; use the tools or plain Python"

_GATHER = "collect the coroutines in a list and `await asyncio.gather(*coros)`"
_PLAIN_AWAIT = "await the coroutine directly; the run has a time limit of its own"
_CHUNKS = "await `asyncio.gather` on slices of the list; calls in flight are limited for you"
_NO_FILES = "scripts see no files; call a tool, or keep the data in a variable"
_NO_ENVIRONMENT = "scripts see no environment; write the value out, or call a tool"
_EPOCH = "`datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=ts)`"
_NO_TYPING = "leave the annotation out, or use a plain builtin type"

MISSING_ATTRIBUTES = {
    "asyncio.CancelledError": "catch `Exception`",
    "asyncio.Event": "await the calls in the order you need them",
    "asyncio.Future": _GATHER,
    "asyncio.Lock": "leave it out; a script is only interrupted at an `await`",
    "asyncio.Queue": "use a list",
    "asyncio.Semaphore": _CHUNKS,
    "asyncio.BoundedSemaphore": _CHUNKS,
    "asyncio.Task": _GATHER,
    "asyncio.TaskGroup": _GATHER,
    "asyncio.TimeoutError": "catch `TimeoutError`",
    "asyncio.as_completed": "use the results of `await asyncio.gather(*coros)`, which keep their order",
    "asyncio.create_task": _GATHER,
    "asyncio.ensure_future": _GATHER,
    "asyncio.get_event_loop": "use `await` at the top level",
    "asyncio.get_running_loop": "use `await` at the top level",
    "asyncio.iscoroutine": "await tool calls where you make them, so you know",
    "asyncio.iscoroutinefunction": "await tool calls where you make them, so you know",
    "asyncio.new_event_loop": "use `await` at the top level",
    "asyncio.shield": _PLAIN_AWAIT,
    "asyncio.timeout": _PLAIN_AWAIT,
    "asyncio.to_thread": "call the function directly",
    "asyncio.wait": _GATHER,
    "asyncio.wait_for": _PLAIN_AWAIT,
    "collections.ChainMap": "merge the dicts: `{**defaults, **values}`",
    "collections.OrderedDict": "use a dict; it keeps its order",
    "collections.UserDict": "use a dict",
    "collections.abc": "leave the annotation out, or import the name from `typing`",
    "csv.Sniffer": "name the delimiter: `csv.reader(lines, delimiter=';')`",
    "dataclasses.asdict": "build the dict yourself: `{'name': x.name}`",
    "dataclasses.astuple": "build the tuple yourself: `(x.name, x.size)`",
    "dataclasses.fields": "name the fields yourself",
    "dataclasses.replace": "construct the object anew with the changed value",
    "datetime.UTC": "use `timezone.utc`",
    "datetime.utcnow": "`datetime.datetime.now(datetime.timezone.utc)`",
    "datetime.date.fromtimestamp": f"{_EPOCH}, then `.date()`",
    "datetime.datetime.fromtimestamp": _EPOCH,
    "datetime.datetime.today": "use `datetime.now()`",
    "datetime.datetime.utcfromtimestamp": _EPOCH,
    "datetime.datetime.utcnow": "use `datetime.now(timezone.utc)`",
    "datetime.fromisoformat": "`datetime.datetime.fromisoformat(...)`, or `from datetime import datetime`",
    "datetime.now": "`datetime.datetime.now()`, or `from datetime import datetime`",
    "datetime.strptime": "`datetime.datetime.strptime(...)`, or `from datetime import datetime`",
    "datetime.today": "`datetime.date.today()`, or `from datetime import date`",
    "datetime.tzinfo": "use `timezone.utc`, or `timezone(timedelta(hours=h))`",
    "functools.cached_property": "use a method, and keep the value in `self`",
    "functools.cmp_to_key": "sort by a key: `sorted(xs, key=lambda x: (x['a'], x['b']))`",
    "functools.partialmethod": "use a lambda",
    "functools.singledispatch": "use `isinstance` and if/elif",
    "functools.total_ordering": "sort with `key=lambda x: x.value`",
    "functools.wraps": "leave it out; decorators work without it",
    "json.JSONDecoder": "use `json.loads`",
    "json.JSONEncoder": "convert the values first: `str(x)`, `list(x)`",
    "os.access": _NO_FILES,
    "os.chmod": _NO_FILES,
    "os.cpu_count": "leave it out; `asyncio.gather` needs no worker count",
    "os.environ": _NO_ENVIRONMENT,
    "os.getenv": _NO_ENVIRONMENT,
    "os.popen": "scripts start no processes; call a tool",
    "os.putenv": _NO_ENVIRONMENT,
    "os.system": "scripts start no processes; call a tool",
    "pathlib.PurePath": "use `pathlib.Path`",
    "pathlib.PurePosixPath": "use `pathlib.Path`",
    "random.SystemRandom": "use `random.random()` and its neighbours",
    "re.DEBUG": "leave it out",
    "re.RegexFlag": "use `re.I`, `re.M` and `re.S`",
    "re.VERBOSE": "write the pattern on one line, without comments",
    "re.X": "write the pattern on one line, without comments",
    "re.purge": "leave it out",
    "re.subn": "`re.sub(...)`, and `len(re.findall(...))` for the count",
    "sys.exc_info": "`except Exception as e`, then `type(e)` and `e`",
    "sys.exit": "`return` ends the script, also at the top level",
    "sys.getrecursionlimit": "leave it out",
    "sys.getsizeof": "`len(json.dumps(value))`",
    "sys.modules": "leave it out",
    "sys.path": "leave it out; there is nothing more to import",
    "sys.setrecursionlimit": "use a loop",
    "sys.stdin": "assign the text to a variable",
    "typing.Awaitable": _NO_TYPING,
    "typing.Coroutine": _NO_TYPING,
    "typing.AsyncIterator": _NO_TYPING,
    "typing.AsyncGenerator": _NO_TYPING,
    "typing.DefaultDict": "use `dict`",
    "typing.Hashable": _NO_TYPING,
    "typing.MutableMapping": "use `dict`",
    "typing.MutableSequence": "use `list`",
    "typing.NamedTuple": "use `collections.namedtuple`, or `@dataclass`",
    "typing.NewType": "use the plain type",
    "typing.NotRequired": _NO_TYPING,
    "typing.OrderedDict": "use `dict`",
    "typing.ParamSpec": _NO_TYPING,
    "typing.Required": _NO_TYPING,
    "typing.Sized": _NO_TYPING,
    "typing.TypeAlias": _NO_TYPING,
    "typing.TypedDict": "use plain dicts",
    "typing.cast": "use the value as it is",
    "typing.final": "leave it out",
    "typing.get_type_hints": "leave it out",
    "typing.overload": "leave it out",
    "typing.override": "leave it out",
    "typing.runtime_checkable": "leave it out",
}
"""Attributes of modules and of their classes, by full name. A longer chain fails with its prefix."""

CALL_ONLY = frozenset(
    f"datetime.{kind}.{name}"
    for kind, names in {
        "datetime": ("fromisoformat", "strptime", "now", "combine"),
        "date": ("fromisoformat", "today"),
    }.items()
    for name in names
)
"""Class methods that can be called, and cannot be passed on as values."""

_EXIT = "`return` ends the script, also at the top level"
_DIR = "results are plain data: `print(value)`, or `list(value)` for the keys of a dict"

MISSING_BUILTINS = {
    "__import__": "use an import statement",
    "aiter": "use a plain for loop",
    "anext": "use a plain for loop",
    "ascii": "use `repr(x)`",
    "breakpoint": "use `print(...)`",
    "bytearray": "use `bytes`, or a list of ints",
    "callable": "leave the check out; a script knows which of its names are functions",
    "compile": "write the code out in the script",
    "delattr": "assign None instead",
    "dir": _DIR,
    "exit": _EXIT,
    "globals": "keep values in a dict of your own",
    "help": "`print(runtime.get_tool_info(name))`",
    "input": "nobody can answer while a script runs; assign the value to a variable",
    "issubclass": "use `isinstance`",
    "memoryview": "slice the bytes",
    "quit": _EXIT,
    "super": "classes have no base here; write the attributes out",
    "vars": _DIR,
}
"""Builtin functions that are not there."""

ANY_ERROR = "catch `Exception` (or `ToolError` for a failed tool)"

MISSING_EXCEPTIONS = frozenset(
    [
        "BaseExceptionGroup",
        "BrokenPipeError",
        "BufferError",
        "ConnectionError",
        "ConnectionRefusedError",
        "ConnectionResetError",
        "EOFError",
        "EnvironmentError",
        "ExceptionGroup",
        "FloatingPointError",
        "IOError",
        "StopAsyncIteration",
        "SystemError",
        "UnicodeError",
        "UserWarning",
        "Warning",
    ]
)
"""Builtin exceptions that are not there. A script that names one in an `except` runs until it fails."""

TYPE_METHODS_THAT_WORK = frozenset({"dict.fromkeys", "bytes.fromhex"})
"""The only attributes of a builtin type a script can call; `str.lower` and the like are not there."""

MISSING_KEYWORDS = {
    "asyncio.gather": (
        None,
        "catch inside each coroutine: `async def safe(c):` with `try: return await c`, "
        "`except Exception as e: return e`, and gather those",
    ),
    "json.dumps": (
        frozenset({"default", "cls", "check_circular"}),
        "convert the values first, such as `str(x)` for dates and `list(x)` for sets",
    ),
    "json.loads": (
        frozenset({"object_hook", "object_pairs_hook", "cls", "strict", "parse_constant"}),
        "convert the loaded values afterwards",
    ),
}
"""Keyword arguments a function does not take; None means it takes none at all."""

MISSING_OPTIONS = {
    "dataclasses.dataclass": (
        {
            "init": False,
            "kw_only": True,
            "match_args": False,
            "order": True,
            "repr": False,
            "slots": True,
            "unsafe_hash": True,
            "weakref_slot": True,
        },
        "leave the option out; to sort, `sorted(xs, key=lambda x: x.name)`",
    ),
    "dataclasses.field": (
        {"compare": False, "hash": False, "init": False, "kw_only": True, "repr": False},
        "leave the option out",
    ),
}
"""Keyword arguments that fail with one value, and work with the other."""

_OWN_METHOD = "it is never called here; give the class an ordinary method and call that"
_COMPARISON = "it is never called here; sort with `key=lambda x: x.name`, and compare such values"

IGNORED_METHODS = {
    "__await__": _OWN_METHOD,
    "__bool__": _OWN_METHOD,
    "__bytes__": _OWN_METHOD,
    "__format__": "it is never called here; write `__str__`, or an ordinary method and call that",
    "__ge__": _COMPARISON,
    "__get__": _OWN_METHOD,
    "__getattr__": _OWN_METHOD,
    "__getattribute__": _OWN_METHOD,
    "__gt__": _COMPARISON,
    "__le__": _COMPARISON,
    "__len__": _OWN_METHOD,
    "__lt__": _COMPARISON,
    "__new__": "it is never called here; use `__init__`, or a plain function that returns the object",
    "__reversed__": _OWN_METHOD,
    "__set__": _OWN_METHOD,
    "__setattr__": _OWN_METHOD,
}
"""Methods with a meaning in Python that a class of the script can define and Monty never calls."""

MISSING_METHODS = {
    "__cause__": "keep the first error in a variable",
    "__class__": "`type(x).__name__`",
    "__dict__": "name the attributes yourself",
    "__doc__": "leave it out",
    "__traceback__": "`print(type(e).__name__, e)`",
    "add_note": "put the note into the message of a new exception",
    "bit_length": "`len(bin(n)) - 2`",
    "difference_update": "`s -= other`",
    "format_map": "`text.format(**values)`",
    "from_bytes": "`int(data.hex(), 16)`",
    "intersection_update": "`s &= other`",
    "is_integer": "`x == int(x)`",
    "isocalendar": "count from a known Monday: `(d - date(2024, 1, 1)).days // 7`",
    "maketrans": "chain `text.replace(old, new)`",
    "message": "`str(e)`",
    "symmetric_difference_update": "`s ^= other`",
    "timetuple": "use `.year`, `.month`, `.day`, `.hour`, `.minute`",
    "to_bytes": "`bytes.fromhex(f'{n:0{2 * size}x}')`",
    "translate": "chain `text.replace(old, new)`",
}
"""Methods of builtin values that are not there, by name."""

IMPORT_FROM = {
    "Any": "typing",
    "Counter": "collections",
    "Decimal": "decimal",
    "Path": "pathlib",
    "dataclass": "dataclasses",
    "date": "datetime",
    "defaultdict": "collections",
    "deepcopy": "copy",
    "deque": "collections",
    "gather": "asyncio",
    "groupby": "itertools",
    "namedtuple": "collections",
    "partial": "functools",
    "reduce": "functools",
    "timedelta": "datetime",
    "timezone": "datetime",
}
"""Names that are often used without the import they need."""

YIELD = "build a list and return it"
NEXT = "`next(iter([...]), None)` with a list comprehension"
RE_SUB = "loop over `re.finditer(...)` and join the pieces"
ASYNC_LOOP = "use a plain for loop with `await` inside"
ASYNC_WITH = "await the calls without a context manager"
EXCEPT_STAR = "use plain `except`"
TYPE_ALIAS = "leave the alias out"
WILDCARD = "name what you import"
DELETE = "`d.pop(key)` or `xs.pop(i)`; a name needs no `del`"
INHERITANCE = "write a class without bases (`class A:`), or functions and dicts"
EXCEPTION_CLASS = "raise a builtin exception: `raise ValueError('what went wrong')`"
METHOD_DECORATOR = "use a plain method; move static and class methods out of the class"
CLASS_BODY = "keep only methods and `name = value` in a class body"
MATMUL = "multiply with loops: `sum(a * b for a, b in zip(xs, ys))`"
RELATIVE_IMPORT = "there are no packages here; write it in this script"
EXCEPTION_ARGUMENTS = "give the exception one string: `raise ValueError(f'...')`"
METHOD_VALUE = "methods cannot be passed on as values; wrap the call in a lambda"

PARSER_PHRASES = {
    "yield": YIELD,
    "'del'": DELETE,
    "inheritance": INHERITANCE,
    "method decorators": METHOD_DECORATOR,
    "class bod": CLASS_BODY,
    "class variable": CLASS_BODY,
    "async for": ASYNC_LOOP,
    "async comprehensions": ASYNC_LOOP,
    "async context": ASYNC_WITH,
    "exception groups": EXCEPT_STAR,
    "type aliases": TYPE_ALIAS,
    "Wildcard": WILDCARD,
    "@=": MATMUL,
}
"""What Monty's own complaints about syntax have in them, for a rewrite when one slips through."""


def module_rewrite(module: str) -> str | None:
    """What to write instead of importing `module`; None when it can be imported."""
    root = module.partition(".")[0]
    if module in MODULES or root in ("tools", "runtime"):
        return None
    if root in MODULES:
        return MISSING_MODULES.get(module, f"import {root} itself; it has no submodules here")
    return MISSING_MODULES.get(module) or MISSING_MODULES.get(root, OTHER_MODULE)


def attribute_rewrite(path: str) -> str | None:
    """What to write instead of a dotted module attribute, or of the first part of it that is missing."""
    parts = path.split(".")
    for end in range(2, len(parts) + 1):
        found = MISSING_ATTRIBUTES.get(".".join(parts[:end]))
        if found:
            return found
    return None
