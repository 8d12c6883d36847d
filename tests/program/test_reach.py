"""Which calls are of tools, which are never made, and which failures a script is prepared for."""

from __future__ import annotations

import ast

import pytest

from oneturn.program import Program, Reach, meaning, parse


def reach(source: str) -> Reach:
    program = parse(source)
    assert isinstance(program, Program), program
    return Reach(program)


def names(source: str) -> list[str]:
    return [call.name for call in reach(source).calls]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("await tools.a.b()", ["a.b"]),
        ("await a.b(c())", ["a.b", "c"]),
        ("x = tools.a\nawait x.b()", ["a.b"]),
        ("f = tools.a.b\ng = f\nawait g()", ["a.b"]),
        ("from tools import a as x\nawait x.b()", ["a.b"]),
        ("from tools.a import b\nawait b()", ["a.b"]),
        ("import tools\nawait tools.a.b()", ["a.b"]),
        ("import tools as t\nawait t.a.b()", ["a.b"]),
        # what may be something else
        ("def a(): pass\na()", []),
        ("for a in x: a.b()", []),
        ("x = tools.a\nx = 1\nx.b()", []),
        ("print(1)\nlen(x)\ntime.sleep(1)\nasyncio.gather()", []),
        ("runtime.list_tools()\nfinal_answer(1)", []),
        ("tools.a.mine = 1\nawait tools.a.mine()", []),
        ("tools.__class__()", []),
        ("setattr(x, 'y', 1)\nfoo()", []),
        ("[a.b() for a in x]", []),
        ("(await x()).b()", ["x"]),
        ("getattr(tools, 'a')()", []),
        # what is never reached
        ("return 1\nawait tools.a.b()", []),
        ("if False:\n    await a.b()\nelse:\n    await a.c()", ["a.c"]),
        ("ON = True\nif not ON:\n    await a.b()", []),
        ("while True:\n    await a.b()\nawait a.c()", ["a.b"]),
        ("while True:\n    break\nawait a.c()", ["a.c"]),
        ("if x:\n    return 1\nelse:\n    raise y\nawait a.b()", []),
        ("def f():\n    a.b()\n", []),
        ("def f():\n    a.b()\ndef g():\n    f()", []),
        ("def f():\n    a.b()\nf()", ["a.b"]),
        ("def f():\n    return f()\n    a.b()", []),
        ("final_answer(1)\nawait a.b()", []),
        ("x = a.b() if False else a.c()", ["a.c"]),
    ],
)
def test_calls(source: str, expected: list[str]) -> None:
    assert names(source) == expected


@pytest.mark.parametrize(
    ("source", "awaited"),
    [
        ("await a.b()", True),
        ("a.b()", False),
        ("asyncio.gather(a.b(), 1)", True),
        ("asyncio.gather(*[a.b() for n in x])", True),
        ("print(a.b())", False),
    ],
)
def test_awaited(source: str, awaited: bool) -> None:
    assert reach(source).calls[0].awaited is awaited


@pytest.mark.parametrize(
    ("source", "handled"),
    [
        ("try:\n    x()\nexcept NameError:\n    pass", True),
        ("try:\n    x()\nexcept (KeyError, NameError):\n    pass", True),
        ("try:\n    x()\nexcept errors:\n    pass", True),
        ("try:\n    x()\nexcept Exception:\n    pass", False),
        ("try:\n    x()\nexcept ToolError:\n    pass", False),
        ("try:\n    x()\nexcept:\n    pass", False),
        ("try:\n    pass\nexcept NameError:\n    x()", False),
        ("try:\n    pass\nexcept NameError:\n    pass\nelse:\n    x()", False),
        ("def f():\n    x()\ntry:\n    f()\nexcept NameError:\n    pass", True),
        ("def f():\n    x()\ndef g():\n    f()\ntry:\n    g()\nexcept NameError:\n    pass", True),
        ("def f(n):\n    x()\n    f(n - 1)\nf(3)", False),
        ("class C:\n    def f(self):\n        x()\ntry:\n    C().f()\nexcept NameError:\n    pass", True),
        ("c = x()\ntry:\n    await c\nexcept NameError:\n    pass", True),
        ("c = await x()\ntry:\n    print(c)\nexcept NameError:\n    pass", False),
        ("c = x()\ntry:\n    await c\nexcept Exception:\n    pass", False),
        ("f = lambda: x()\ntry:\n    await f()\nexcept NameError:\n    pass", True),
        ("def f():\n    x()\ntry:\n    each(f)\nexcept NameError:\n    pass", True),
        ("async def f():\n    await x()\nc = f()\ntry:\n    await c\nexcept NameError:\n    pass", True),
        ("async def f():\n    await x()\nawait f()\ntry:\n    pass\nexcept NameError:\n    pass", False),
    ],
)
def test_handled(source: str, handled: bool) -> None:
    made = reach(source)
    node = next(
        call for call in made.program.nodes if isinstance(call, ast.Call) and ast.unparse(call) == "x()"
    )
    assert made.handled(node, frozenset({"NameError"})) is handled
    assert made.handled(node, frozenset({"NameError"})) is handled  # also when it is known


def test_an_alias_of_itself_means_nothing() -> None:
    program = parse("a = b\nb = a\na.c()")
    assert isinstance(program, Program)
    assert meaning(program, ("a", "c")) == ()


def test_a_deep_expression_is_walked_once() -> None:
    source = " + ".join(["tools.a.b(1)"] * 500)
    made = reach(source)
    assert len(made.calls) == 500
    assert not any(made.handled(call.node, frozenset({"NameError"})) for call in made.calls)
