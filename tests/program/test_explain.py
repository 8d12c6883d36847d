"""Hints for run-time errors; every error here is provoked in the real Monty."""

import re
from collections.abc import Iterator

import pytest
from pydantic_monty import Monty, MontyError

from oneturn.program import Program, hint, parse
from oneturn.types import Position

TOOLS = {"github.create_issue", "github.list_issues", "slack.post_message", "time.get_current_time"}


@pytest.fixture(scope="module")
def monty() -> Iterator[Monty]:
    with Monty(min_processes=1) as pool:
        yield pool


def explain(pool: Monty, source: str) -> str:
    """Run a script that fails, and return the hint for its error, placed on its last line."""
    program = parse(source)
    assert isinstance(program, Program)
    limits = {"max_feed_duration_secs": 0.2, "max_memory": 20_000_000, "max_recursion_depth": 100}
    with pool.checkout(limits=limits) as session, pytest.raises(MontyError) as caught:
        session.feed_run(source, print_callback=lambda stream, text: None)
    match = re.match(r"([\w.]+)(?:: (.*))?\Z", str(caught.value), re.DOTALL)
    assert match
    lines = source.split("\n")
    return hint(match[1], match[2] or "", Position(len(lines), 1, lines[-1]), program, TOOLS)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("asyncio.gather()", "import asyncio"),
        ("json.dumps(1)", "import json"),
        ("Counter('a')", "from collections import Counter"),
        ("datetime.now()", "from datetime import datetime"),
        ("datetime.datetime.now()", "import datetime"),
        ("heapq.nsmallest(1, [])", "sorted(xs)[:n]"),
        ("x = true", "`True`"),
        ("input('x')", "nobody can answer"),
        ("try:\n  1/0\nexcept ConnectionError: pass", "`Exception`"),
        ("create_isue(title='x')", "tools.github.create_issue"),
        ("githb.create_issue()", "tools.github."),
        ("results = []\nprint(result)", "`results`"),
        ("import json\nx = json.loads({'a': 1})", "already parsed"),
        ("import json\nx = json.loads([1])", "already parsed"),
        ("import json\nx = json.loads('x')", "not JSON"),
        ("x = {'a': 1}['b']", "print(...) one item"),
        ("x = 'abc'['x']", "print(...) one item"),
        ("x = [1]['x']", "runtime.get_tool_info(name)"),
        ("x = 1['x']", "another shape"),
        ("a, b = [1]", "another shape"),
        ("for x in None: pass", "another shape"),
        ("x = [][0]", "shorter"),
        ("x = None + 1", "None"),
        ("x = None > 1", "None"),
        ("x = None.title", "None"),
        ("x = {'title': 1}.title", "x['title']"),
        ("x = [1].get('x')", "The value is a list"),
        ("def f(d): return max(d, key=d.get)\nf({'a': 1})", "wrap the call"),
        ("def f(x): return x.format_map({})\nf('a')", "format(**values)"),
        ("def f(x): return x.__class__\nf('a')", "type(x).__name__"),
        ("async def f(): return 1\nx = f()\nx['a']", "`await`"),
        ("async def f(): return 1\nx = f()\nx.a", "`await`"),
        ("async def f(): return 1\nfor i in f(): pass", "`await`"),
        ("async def f(): return 1\nx = f() + 1", "`await`"),
        ("async def f(): return 1\nx = len(f())", "`await`"),
        ("async def f(): return 1\nx = f()\nawait x\nawait x", "keep its result"),
        ("await [1]", "runtime.*"),
        ("import heapq", "sorted(xs)[:n]"),
        ("import sklearn", "plain Python"),
        ("from asyncio import create_task", "asyncio.gather(*coros)"),
        ("import asyncio\nasyncio.wait_for", "await the coroutine directly"),
        ("import math\nmath.squareroot", "plain Python"),
        ("from datetime import datetime\ndatetime.utcnow()", "timezone.utc"),
        ("while True: pass", "endless loop"),
        ("x = [0]\nwhile True: x = x + x", "memory"),
        ("def f(): return f()\nf()", "loop"),
        ("open('x')", "no files"),
        ("import os\nos.environ['HOME']", "no environment"),
        ("import os\nos.listdir('.')", "no files"),
        ("raise SystemExit(0)", "`return`"),
        ("raise SystemExit", "`return`"),
        ("raise ValueError('a', 1)", "one string"),
        ("def f(): yield 1", "build a list"),
        ("x = {}\ndel x", "`d.pop(key)`"),
        ("class A(dict): pass", "without bases"),
        ("class A:\n  @property\n  def x(self): pass", "plain method"),
        ("class A:\n  print(1)", "class body"),
        ("async def f():\n  async for x in y: pass", "plain for loop"),
        ("async def f():\n  async with y: pass", "context manager"),
        ("from math import *", "name what you import"),
        ("import asyncio\nasyncio.gather(return_exceptions=True)", "safe(c)"),
        ("x = pow(2, 3, mod=5)", "by position"),
        ("import json\njson.dumps({}, default=str)", "convert the values"),
        ("import json\njson.loads('{}', object_hook=dict)", "afterwards"),
        ("import json\njson.dumps({1})", "`list(x)`"),
        ("next(x for x in [1])", "next(iter("),
        ("import re\nre.sub('a', str, 'a')", "re.finditer"),
        ("sorted([{'a': 1}, {'a': 2}])", "key=lambda"),
        (
            "from datetime import datetime, timezone\ndatetime(2020, 1, 1) - datetime.now(timezone.utc)",
            "`.replace(tzinfo=timezone.utc)` to the naive one",
        ),
        (
            "from datetime import datetime, timezone\ndatetime(2020, 1, 1) < datetime.now(timezone.utc)",
            "`.replace(tzinfo=timezone.utc)` to the naive one",
        ),
        ("from datetime import date, datetime\ndatetime(2020, 1, 1) < date(2020, 1, 1)", "`.date()`"),
        ("from datetime import timedelta\ntimedelta(days=1.5)", "`timedelta(hours=36)`"),
        ("from datetime import timedelta\nx = timedelta(days=1)\nx * 1.5", "`timedelta(hours=36)`"),
        ("range(1.5)", "`int(x)`"),
        ("from datetime import date\nsorted([date(2020, 1, 1), 'a'])", "key=lambda"),
        ("import asyncio\nasync def f(): pass\nawait asyncio.gather([f(), f()])", "asyncio.gather(*calls)"),
        ("list = [1]\nx = 1\nlist(x)", "Line 1 gives `list` another value: rename that variable."),
        ("sum = 1\nsum([1])", "Line 1 gives `sum` another value"),
        ("def f():\n  x = max([1])\n  max = x\nf()", "Line 3 gives `max` another value"),
        ("def f():\n  total += 1\nf()", "`global total`"),
        (
            "def f(make):\n  @make(order=True)\n  class A:\n    x: int\n"
            "from dataclasses import dataclass\nf(dataclass)",
            "leave the option out",
        ),
        (
            "github = [1]\nx = 2\ngithub.list_issues()",
            "`github` is given another value on line 1: write `tools.github.list_issues(...)` or rename",
        ),
        ("github = None\ngithub.list_issues()", "`tools.github.list_issues(...)`"),
        (
            "def f():\n  github = github.list_issues()\nf()",
            "on line 2: write `tools.github.list_issues(...)`",
        ),
        ("import time\ntime.get_current_time()", "`time` alone means Python's module"),
    ],
)
def test_the_hint_helps(monty: Monty, source: str, wanted: str) -> None:
    assert wanted in explain(monty, source)


@pytest.mark.parametrize(
    "source", ["1 / 0", "int('x')", "assert False", "xyzzy_plugh", "raise ValueError('x')"]
)
def test_what_no_rule_knows_gets_a_hint_that_is_never_wrong(monty: Monty, source: str) -> None:
    found = explain(monty, source)
    assert found.startswith(("Print the values used on line 1 to", "Use a name the script defines"))


@pytest.mark.parametrize(
    ("kind", "message", "wanted"),
    [
        ("TimeoutError", "slack.post_message gave no answer within 5 s", "catch it: `except TimeoutError"),
        ("RuntimeError", "slack.post_message: no such channel", "catch it: `except RuntimeError"),
        ("KeyError", "'slack.post_message: a'", "catch it: `except KeyError"),
        ("PermissionError", "this run may make 3 tool calls and has made them", "catch it"),
        (
            "TypeError",
            "slack.post_message() got a wrong 'x': 1. Signature: post(x: str)",
            "Pass the arguments",
        ),
        ("ValueError", "slack.post_message(): argument 'x' holds a coroutine, and ...", "Write `await`"),
        ("ValueError", "the script's value holds a function, and only plain data may cross", "Call it"),
        ("ValueError", "the script's value is larger than 1,000 bytes; send less", "Return or send less"),
        ("ValueError", "the script's value is nested deeper than 32 levels", "Return or send less"),
        ("ValueError", "the script's value holds an object of type A, and only plain data may cross", "dict"),
        (
            "ValueError",
            "the script's value has a dict key of type tuple; use text keys",
            "Convert that value",
        ),
        (
            "ValueError",
            "slack.post_message: the call was made, but the result is larger than 9 bytes; send less",
            "Ask the tool for less",
        ),
        ("ValueError", "price: not a number", "Print the values used on line 1 to see what they are."),
        ("SandboxCrashed", "the worker ended", "Look at the calls that were made"),
    ],
)
def test_only_a_failed_tool_is_worth_catching(kind: str, message: str, wanted: str) -> None:
    program = parse("x = await tools.slack.post_message()")
    assert isinstance(program, Program)
    position = None if kind == "SandboxCrashed" else Position(1, 1)
    found = hint(kind, message, position, program, TOOLS)
    assert wanted in found
    assert ("catch it" in wanted) == ("catch it" in found)


def test_only_names_of_python_are_called_a_module_of_python() -> None:
    program = parse("shop")
    assert isinstance(program, Program)
    found = hint("NameError", "name 'shop' is not defined", None, program, {"shop.list_orders"})
    assert found == "Write `tools.shop` for the tools."
    program = parse("time")
    assert isinstance(program, Program)
    assert "Python's module" in hint("NameError", "name 'time' is not defined", None, program, TOOLS)


def test_shape_hint_names_the_one_tool_the_script_uses() -> None:
    program = parse("x = await tools.github.list_issues()\nx['a']")
    assert isinstance(program, Program)
    assert "runtime.get_tool_info('github.list_issues')" in hint("KeyError", "a", None, program, TOOLS)


def test_failures_of_tools_get_no_hint_about_the_sandbox() -> None:
    program = parse("x = await tools.github.list_issues()")
    assert isinstance(program, Program)
    position = Position(1, 1)
    refused = hint("PermissionError", "github.list_issues is not allowed here", position, program, TOOLS)
    late = hint("TimeoutError", "github.list_issues took longer than 5 s", position, program, TOOLS)
    assert "runtime.list_tools()" in refused
    assert "except TimeoutError" in late
    assert not any("sandbox" in text or "file" in text for text in (refused, late))


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("cannot import name 'nope' from 'tools'", "Find the tool with runtime.search_tools('...')."),
        ("cannot import name 'create_issue' from 'tools'", "Did you mean tools.github.create_issue"),
        ("cannot import name 'list_isues' from 'tools.github' (x)", "Did you mean tools.github.list_issues"),
        ("No module named 'tools.nope'", "Find the tool with runtime.search_tools('...')."),
        ("No module named 'tools.slak'", "Did you mean tools.slack.post_message?"),
        ("No module named 'tools.github'", "Write `from tools import github` and call `github.name(...)`."),
        ("cannot import name 'find' from 'runtime'", "runtime.search_tools('...')"),
    ],
)
@pytest.mark.parametrize("full_python", [False, True])
def test_an_import_of_what_is_not_there_gets_what_is(message: str, wanted: str, full_python: bool) -> None:
    program = parse("1")
    assert isinstance(program, Program)
    assert wanted in hint("ImportError", message, None, program, TOOLS, full_python)


def test_only_given_names_are_suggested() -> None:
    program = parse("create_issue()")
    assert isinstance(program, Program)
    message = "name 'create_issue' is not defined"
    assert "slack" not in hint("NameError", message, None, program, {"slack.post_message"})


def test_a_position_outside_the_script_is_no_problem() -> None:
    program = parse("1 / 0")
    assert isinstance(program, Program)
    assert "line 99" in hint("ZeroDivisionError", "division by zero", Position(99, 1), program, TOOLS)
