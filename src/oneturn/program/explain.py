"""One hint for an error a script ran into, from Monty's wording and what the script says.

The wordings are those of the installed Monty; the tests provoke each of them. A wrong hint is worse
than a dull one: when nothing useful is known, the hint says how to find out. To catch an error is
advised for a failed tool only; for the script's own mistakes it would hide them.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import re
import sys
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..types import Position
from . import dialect
from .parse import Program, chain

_CLOSE = 0.6
_JSON_WORDS = {"true": "True", "false": "False", "null": "None", "undefined": "None"}
_TYPES: dict[str, type] = {"str": str, "list": list, "dict": dict, "set": set, "tuple": tuple, "bytes": bytes}
_TYPES |= {"Counter": Counter, "defaultdict": dict, "deque": deque, "Pattern": re.Pattern}
_FORGOTTEN = "A coroutine is not its result: write `await` before the call."
_NO_FILES = "There are no files and no environment here: keep data in variables, or call a tool."


@dataclass(frozen=True, slots=True)
class _Error:
    kind: str
    message: str
    position: Position | None
    line: str
    program: Program
    tool_names: Collection[str]
    full_python: bool


def hint(
    error_kind: str,
    message: str,
    position: Position | None,
    program: Program,
    tool_names: Collection[str],
    full_python: bool = False,
) -> str:
    """One sentence or two on what to do about an error; never empty.

    Args:
        error_kind: The exception's name, such as `KeyError` or `json.JSONDecodeError`.
        message: Its text.
        position: Where it was raised, if known.
        program: The script.
        tool_names: Full names of the tools the caller may reach; no other name is ever suggested.
        full_python: Whether the script had all of Python, or what Monty offers.
    """
    line = ""
    if position is not None:
        lines = program.lines
        line = lines[position.line - 1] if 0 < position.line <= len(lines) else position.source
    error = _Error(error_kind.rpartition(".")[2], message, position, line, program, tool_names, full_python)
    if found := _refused_value(error) or _tool_failed(error):
        return found
    for kinds, rule in _RULES:
        if error.kind in kinds:
            found = rule(error)
            if found:
                return found
    return _otherwise(error)


def _otherwise(error: _Error) -> str:
    """What is left to say when no rule knows better."""
    if error.kind == "NameError":
        return "Use a name the script defines, or find the tool with runtime.search_tools('...')."
    if error.position is None:
        return "Look at the calls that were made before running it again."
    return f"Print the values used on line {error.position.line} to see what they are."


def _refused_value(error: _Error) -> str:
    """A value that may not leave the script, or not enter it."""
    message = error.message
    if "the call was made, but" in message:
        large = re.search(r"nodes;|bytes;|bytes together;", message)
        return "Ask the tool for less: a smaller page, or fewer fields." if large else ""
    if "holds a coroutine" in message:
        return "Write `await` before the call that made it."
    if re.search(r"holds a (built-in )?function|holds a bound method", message):
        return "Call it, or send its name as text."
    if re.search(r"use text keys|use None or text|pass it as text", message):
        return "Convert that value where the script makes it."
    if re.search(
        r"only plain data may cross|is nested deeper than|contains itself|has more than [\d,]+ nodes"
        r"|is larger than [\d,]+ bytes",
        message,
    ):
        return "Return or send less, and only plain data: dict, list, str, int, float, bool, None."
    return ""


def _tool_failed(error: _Error) -> str:
    """An error that a tool call raised, or the gate in its place; nothing is wrong with the script."""
    if error.kind == "PermissionError" and "is not allowed here" in error.message:
        return "Use a tool that runtime.list_tools() shows, or leave this step to the person you work for."
    match = re.match(r"['\"]?([\w.]+)(\(\))?(: | |$)", error.message)  # KeyError quotes its text
    named = match is not None and match[1] in error.tool_names
    if not named and not error.message.startswith("this run may make"):
        return ""
    if "Signature:" in error.message:
        return "Pass the arguments that the signature names, each of its type."
    return f"If the script can go on without this, catch it: `except {error.kind} as error`."


def _coroutine(error: _Error) -> str:
    if "'coroutine'" in error.message or "coroutine object" in error.message:
        return _FORGOTTEN
    if "can't be awaited" in error.message or "can't be used in 'await' expression" in error.message:
        return (
            "Only tool calls and your own async functions are awaited; runtime.* and plain functions are not."
        )
    if "already awaited coroutine" in error.message:
        return "Await a call once and keep its result in a variable."
    return ""


def _name_error(error: _Error) -> str:
    match = re.search(r"(name|local variable) '([^']+)'", error.message)
    name = match[2] if match else ""
    if not name:
        return ""
    rebound = _rebound(error, name)
    if rebound:
        return rebound
    if error.kind == "UnboundLocalError" and hasattr(builtins, name):
        return _another_value(error, name)
    if error.kind == "UnboundLocalError":
        return (
            f"Give `{name}` a value earlier in the function, or write `global {name}` for the script's own."
        )
    if not error.full_python and (name in dialect.MISSING_BUILTINS or name in dialect.MISSING_EXCEPTIONS):
        rewrite = dialect.MISSING_BUILTINS.get(name, dialect.ANY_ERROR)
        return f"`{name}` is not available here: {rewrite}."
    if name in _JSON_WORDS:
        return f"Python spells it `{_JSON_WORDS[name]}`."
    if name == "datetime" and any(
        path[:1] == ("datetime",) and path[1:2] != ("datetime",) for path in error.program.paths
    ):
        return "Add `from datetime import datetime` at the top."
    if any(tool.startswith(f"{name}.") for tool in error.tool_names):
        if name not in sys.stdlib_module_names:
            return f"Write `tools.{name}` for the tools."
        # A namespace called like a module, such as `time`: bare, the name means the module.
        return f"Write `tools.{name}` for the tools: `{name}` alone means Python's module."
    if name in dialect.MODULES or (error.full_python and name in sys.stdlib_module_names):
        return f"Add `import {name}` at the top."
    if name in dialect.IMPORT_FROM:
        return f"Add `from {dialect.IMPORT_FROM[name]} import {name}` at the top."
    if name in dialect.MISSING_MODULES:
        return f"`{name}` is not available here: {dialect.MISSING_MODULES[name]}."
    if "did you mean" in error.message:
        return ""  # the gate has said so already
    return _near_tools(name, error.tool_names) or _near_names(name, error.program)


def _rebound(error: _Error, root: str, name: str = "") -> str:
    """For a namespace's name that the script gives another value, and uses as the namespace too."""
    if root not in error.program.bindings:
        return ""
    for path in sorted(error.program.paths):
        tool = ".".join(path)
        if path[0] == root and name in ("", *path[1:2]) and tool in error.tool_names:
            line = _bound_line(error, root)
            return (
                f"`{root}` is given another value on line {line}: "
                f"write `tools.{tool}(...)` or rename the variable."
            )
    return ""


def _bound_line(error: _Error, name: str) -> int:
    """The last line before the error, or else the first, that gives a name a value."""
    lines: list[int] = [getattr(place, "lineno", 1) for place in error.program.bindings[name]]
    before = [line for line in lines if error.position is None or line <= error.position.line]
    return max(before) if before else min(lines)


def _another_value(error: _Error, builtin: str) -> str:
    if builtin not in error.program.bindings:
        return ""
    return f"Line {_bound_line(error, builtin)} gives `{builtin}` another value: rename that variable."


def _near_tools(name: str, tool_names: Collection[str]) -> str:
    """The tools whose full name, short name or namespace looks like `name`."""
    wanted = name.removeprefix("tools.").lower()
    spellings: dict[str, list[str]] = {}
    for tool in tool_names:
        namespace, _, short = tool.rpartition(".")
        for spelling in (tool, short, namespace):
            if spelling:
                spellings.setdefault(spelling.lower(), []).append(tool)
    found: list[str] = []
    for spelling in difflib.get_close_matches(wanted, spellings, n=3, cutoff=_CLOSE):
        found += [tool for tool in spellings[spelling] if tool not in found]
    if not found:
        return ""
    return f"Did you mean {' or '.join(f'tools.{tool}' for tool in found[:3])}?"


def _near_names(name: str, program: Program) -> str:
    near = difflib.get_close_matches(name, program.bindings, n=1, cutoff=0.8)
    return f"Did you mean `{near[0]}`?" if near and near[0] != name else ""


def _json_loads(error: _Error) -> str:
    if "the JSON object must be str" in error.message:
        if error.message.endswith(("not dict", "not list")) or "json.loads" in error.line:
            return "Tool results are already parsed: use the value as it is, without json.loads."
    elif error.kind == "JSONDecodeError":
        return "The text is not JSON: print(text[:200]) to see what it is, or use it as text."
    return ""


def _shape(error: _Error) -> str:
    message = error.message
    guessed = (
        error.kind == "KeyError"
        or "indices must be" in message
        or "not subscriptable" in message
        or "cannot unpack" in message
        or "is not iterable" in message
        or "values to unpack" in message
    )
    if "'NoneType'" in message and not guessed:
        return "A value is None: check for it first, as in `x or 0`, or look at the result with print(...)."
    if not guessed:
        return ""
    return f"The value has another shape than the script expects: print(...) one item, or see {_info(error)}."


def _info(error: _Error) -> str:
    """The call that describes the script's tool; a placeholder when there are several."""
    used = set()
    for path in error.program.paths:
        name = ".".join(path[1:] if path[0] == "tools" else path)
        if name in error.tool_names:
            used.add(name)
    return f"runtime.get_tool_info('{used.pop()}')" if len(used) == 1 else "runtime.get_tool_info(name)"


def _index(error: _Error) -> str:
    return "The sequence is shorter than the script expects: check it first, as in `xs[0] if xs else None`."


def _attribute(error: _Error) -> str:
    if match := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", error.message):
        module, name = match.groups()
        if f"{module}.{name}" in error.tool_names:
            return f"Write `tools.{module}.{name}(...)`: `{module}` alone means Python's module."
        if error.full_python:
            return f"`{module}` has no `{name}`: check the spelling."
        rewrite = dialect.attribute_rewrite(f"{module}.{name}")
        return f"`{module}.{name}` is not available here: {rewrite or 'write it in plain Python'}."
    in_monty = not error.full_python
    if in_monty and (match := re.search(r"type object '([\w.]+)' has no attribute '(\w+)'", error.message)):
        kind, name = match.groups()
        rewrite = dialect.attribute_rewrite(f"{kind}.{name}") or dialect.MISSING_METHODS.get(name)
        if rewrite:
            return f"`{kind}.{name}` is not available here: {rewrite}."
        return f"Call the method on a value: `lambda x: x.{name}()`." if kind in _TYPES else ""
    match = re.search(r"'([\w.]+)' object has no attribute '(\w+)'", error.message)
    if not match:
        return ""
    kind, name = match.groups()
    for root in sorted({path[0] for path in error.program.paths if path[1:2] == (name,)}):
        if rebound := _rebound(error, root, name):
            return rebound
    if kind == "NoneType":
        return f"The value is None: check for it before using `.{name}`."
    if in_monty and name in dialect.MISSING_METHODS:
        return f"`.{name}` is not available here: {dialect.MISSING_METHODS[name]}."
    if in_monty and hasattr(_TYPES.get(kind.rpartition(".")[2]), name):
        return f"Methods cannot be passed on as values: wrap the call, as in `lambda x: value.{name}(x)`."
    if kind == "dict":
        return f"Results are plain dicts: write x['{name}'] instead of x.{name}."
    if kind in _TYPES:
        return f"The value is a {kind}, not what the script expects: print(...) it, or see {_info(error)}."
    return ""


def _imports(error: _Error) -> str:
    if match := re.search(r"cannot import name '(\w+)' from '([\w.]+)'", error.message):
        name, module = match.groups()
        if module.partition(".")[0] == "tools":
            return _no_tool(f"{module}.{name}", error)
        if module == "runtime":
            return "Use runtime.list_tools(), runtime.search_tools('...') or runtime.get_tool_info(name)."
        if error.full_python:
            return f"`{module}` has no `{name}`: check the spelling."
        missing = dialect.attribute_rewrite(f"{module}.{name}") or "write it in plain Python"
        return f"`{module}.{name}` is not available here: {missing}."
    if match := re.search(r"No module named 'tools\.((\w+)[\w.]*)", error.message):
        path, name = match.groups()
        if any(tool.startswith(f"{path}.") for tool in error.tool_names):
            return f"Write `from tools import {name}` and call `{path}.name(...)`."
        return _no_tool(path, error)
    if error.full_python:
        return "Import what the safe part of the standard library has, or call a tool."
    if match := re.search(r"No module named '([\w.]+)'", error.message):
        rewrite = dialect.module_rewrite(match[1])
        return f"`{match[1]}` cannot be imported: {rewrite}." if rewrite else ""
    return ""


def _no_tool(name: str, error: _Error) -> str:
    """For a tool or a namespace that was imported and is not there."""
    return _near_tools(name, error.tool_names) or "Find the tool with runtime.search_tools('...')."


def _time(error: _Error) -> str:
    if not error.message:
        return "Give `asyncio.timeout` or `wait_for` more seconds, or catch TimeoutError."
    if "time limit" not in error.message:
        return ""  # a tool's own timeout explains itself
    return "The script computes too long: look for an endless loop, or filter the data with a tool first."


def _memory(error: _Error) -> str:
    return "Keep less in memory: fetch smaller pages, and keep only the fields you need of each item."


def _recursion(error: _Error) -> str:
    return "Use a loop and a list of things to do instead of recursion."


def _denied(error: _Error) -> str:
    system = (
        error.message.startswith("Permission denied:")
        or "not supported in this environment" in error.message
        or "a script has no files" in error.message
    )
    return _NO_FILES if system else ""


def _exception_arguments(error: _Error) -> str:
    if "exceptions can only be called with" not in error.message:
        return ""
    if re.search(r"\bSystemExit\b", error.line):
        return "Write `return` to end the script, also at the top level."
    return f"Exceptions take one string here: {dialect.EXCEPTION_ARGUMENTS}."


def _not_implemented(error: _Error) -> str:
    if "gather()" in error.message:
        return f"Write: {dialect.MISSING_KEYWORDS['asyncio.gather'][1]}."
    if "cannot suspend in this synchronous context" in error.message:
        return (
            "Tools cannot be called by map, filter or sorted: use a comprehension, `[tool(x) for x in xs]`."
        )
    if match := re.search(r"\b(dataclass|field)\(\) does not yet support", error.message):
        return f"Write it without: {dialect.MISSING_OPTIONS[f'dataclasses.{match[1]}'][1]}."
    for phrase, rewrite in dialect.PARSER_PHRASES.items():
        if phrase in error.message:
            return f"Write it without: {rewrite}."
    if "does not yet support keyword arguments" in error.message:
        return "Pass the arguments by position."
    return "Write this line in plainer Python." if "monty syntax parser" in error.message else ""


def _type_error(error: _Error) -> str:
    message = error.message
    if match := re.search(r"JSON(En|De)coder\.__init__\(\) got an unexpected keyword", message):
        function = "json.dumps" if match[1] == "En" else "json.loads"
        return f"{function} takes no such argument here: {dialect.MISSING_KEYWORDS[function][1]}."
    if "is not JSON serializable" in message:
        return "Convert it first: `str(x)` for dates, `list(x)` for sets."
    if "is not an iterator" in message:
        return f"Generator expressions are lists here: {dialect.NEXT}."
    if "callable replacement" in message:
        return f"re.sub takes no function here: {dialect.RE_SUB}."
    if "An asyncio.Future, a coroutine or an awaitable is required" in message:
        return "Unpack the list: `await asyncio.gather(*calls)`."
    if "object is not callable" in message:
        return _shadowed_builtin(error)
    if found := _dates(error):
        return found
    if "not supported between instances of" in message:
        return "Sort or compare by one field that is never None: `key=lambda x: x['name'] or ''`."
    return ""


def _dates(error: _Error) -> str:
    message = error.message
    stamps = message.count("'datetime.datetime'")
    if stamps == 2 and (" for -: " in message or "not supported between" in message):
        return "One has a time zone and the other none: add `.replace(tzinfo=timezone.utc)` to the naive one."
    if stamps == 1 and "'datetime.date'" in message:
        return "One is a date and the other a datetime: use `.date()` of the datetime."
    inexact = "'float' object cannot be interpreted as an integer" in message
    if ("'datetime.timedelta'" in message and "'float'" in message) or (
        inexact and "timedelta" in error.line
    ):
        return "Use whole units, as in `timedelta(hours=36)`."
    return "Make it a whole number: `int(x)`." if inexact else ""


def _shadowed_builtin(error: _Error) -> str:
    """A call on the error's line of a builtin's name that the script has given another value."""
    line = error.position.line if error.position else 0
    for node in error.program.nodes:
        if isinstance(node, ast.Call) and node.lineno <= line <= (node.end_lineno or node.lineno):
            (name, *rest) = chain(node.func) or ("",)
            if not rest and name in error.program.bindings and hasattr(builtins, name):
                return _another_value(error, name)
    return ""


def _system_exit(error: _Error) -> str:
    return "Write `return` to end the script, also at the top level."


_RULES: tuple[tuple[frozenset[str], Callable[[_Error], str]], ...] = (
    (frozenset({"TypeError", "AttributeError", "RuntimeError"}), _coroutine),
    (frozenset({"NameError", "UnboundLocalError"}), _name_error),
    (frozenset({"TypeError", "JSONDecodeError"}), _json_loads),
    (frozenset({"TypeError"}), _type_error),
    (frozenset({"AttributeError"}), _attribute),
    (frozenset({"KeyError", "TypeError", "ValueError"}), _shape),
    (frozenset({"IndexError"}), _index),
    (frozenset({"ModuleNotFoundError", "ImportError"}), _imports),
    (frozenset({"TimeoutError"}), _time),
    (frozenset({"MemoryError"}), _memory),
    (frozenset({"RecursionError"}), _recursion),
    (frozenset({"PermissionError", "RuntimeError"}), _denied),
    (frozenset({"RuntimeError"}), _exception_arguments),
    (frozenset({"NotImplementedError", "SyntaxError"}), _not_implemented),
    (frozenset({"SystemExit"}), _system_exit),
)
