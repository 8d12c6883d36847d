"""Driving a sandbox by hand, step by step, as the runtime does: for tests of sandboxes."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..sandbox.base import SandboxRun, Script
from ..types import Answer, Call, Failure, Finished, Step, Waiting

TOOLS = ("crm.find", "crm.save", "crm.notes.add", "solo")
"""The tools a contract script may mean."""

FEATURES: Mapping[str, tuple[str, Any]] = {
    "create_task": ("import asyncio\nt = asyncio.create_task(solo(1))\nawait t", 1),
    "wait_for": ("import asyncio\nr = await asyncio.wait_for(solo(1), 5)\nr", 1),
    "calls inside map": ("import asyncio\nr = await asyncio.gather(*map(solo, [1, 2]))\nr", [1, 2]),
    "gather returning exceptions": (
        "import asyncio\nr = await asyncio.gather(solo(1), solo('bad'), return_exceptions=True)\nstr(r[1])",
        "it is bad",
    ),
    "task groups": (
        "import asyncio\nasync with asyncio.TaskGroup() as g:\n    t = g.create_task(solo(1))\nt.result()",
        1,
    ),
    "asyncio.timeout": ("import asyncio\nasync with asyncio.timeout(9):\n    r = await solo(1)\nr", 1),
    "as_completed": ("import asyncio\n[await f for f in asyncio.as_completed([solo(1)])]", [1]),
    "generators": ("def g():\n    yield 1\n    yield 2\nlist(g())", [1, 2]),
    "async generators": (
        "async def g():\n    yield await solo(1)\n[x async for x in g()]",
        [1],
    ),
    "inheritance": ("class A:\n    def f(self):\n        return 1\nclass B(A):\n    pass\nB().f()", 1),
    "properties": ("class A:\n    @property\n    def p(self):\n        return 1\nA().p", 1),
    "del": ("d = {'a': 1}\ndel d['a']\nd", {}),
    "methods as values": ("d = {'a': 1, 'b': 3}\nmax(d, key=d.get)", "b"),
}
"""Parts of Python that not every sandbox has: a script that uses one, and its value."""

Responder = Callable[[Call], Answer]


def script(source: str) -> Script:
    """`source` with the names of `TOOLS`, as the runtime would prepare it."""
    namespaces = frozenset({"crm", "crm.notes"})
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return Script(source)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return Script(
        source,
        tools=frozenset(TOOLS),
        namespaces=namespaces,
        globals=frozenset(used & {"tools", "runtime", "crm"}),
        awaited=frozenset(_awaited(source, tree)),
        uses_tool_error="ToolError" in used,
        called=_only_called(tree),
    )


def _only_called(tree: ast.AST) -> frozenset[str]:
    """Bare names nothing in the script binds that it calls, and does not read in any other way."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    bound = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(each.asname or each.name).partition(".")[0] for each in node.names}
    bound |= {node.id for node in names if id(node) not in called}
    return frozenset(node.id for node in names) - bound - frozenset(dir(builtins))


def _awaited(source: str, tree: ast.AST) -> Iterator[tuple[int, int]]:
    starts = [0]
    for line in source.encode().split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    for node in ast.walk(tree):
        if isinstance(node, ast.Await) and isinstance(node.value, ast.Call):
            call = node.value
            assert call.end_lineno is not None
            assert call.end_col_offset is not None
            yield (
                starts[call.lineno - 1] + call.col_offset,
                starts[call.end_lineno - 1] + call.end_col_offset,
            )


def echo(call: Call) -> Answer:
    """Answers a call with its first argument; a clock with 0; None without arguments."""
    if call.kind == "clock":
        return Answer(call.id, 0.0)
    return Answer(call.id, call.args[0] if call.args else None)


def refuse(failure: Failure, call: Call) -> Answer:
    """Answers a call with a failure."""
    return Answer(call.id, failure=failure)


def finish(run: SandboxRun, step: Step, respond: Responder = echo) -> tuple[Finished, list[Call], str]:
    """Answer every call until the script ends: its end, the calls it made, and what it printed."""
    calls: dict[int, Call] = {}
    prints = ""
    while isinstance(step, Waiting):
        prints += step.prints
        calls.update((call.id, call) for call in step.calls)
        step = run.resume([respond(calls[call_id]) for call_id in step.pending])
    return step, list(calls.values()), prints + step.prints


def until_blocked(run: SandboxRun, step: Step) -> tuple[Waiting, list[Call]]:
    """Go on without answers until the script needs one: that step, and the calls made so far."""
    calls: list[Call] = []
    while isinstance(step, Waiting):
        calls += step.calls
        if step.pending:
            return step, calls
        step = run.resume([])
    raise AssertionError(f"the script ended before it waited: {step}")
