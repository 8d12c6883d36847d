"""Parsing: positions, what one walk finds, and every kind of text a model may send."""

import ast
import sys

import pytest

from oneturn.program import Program, parse
from oneturn.types import ScriptError


def program(source: str) -> Program:
    parsed = parse(source)
    assert isinstance(parsed, Program), parsed
    return parsed


def error(source: str) -> ScriptError:
    parsed = parse(source)
    assert isinstance(parsed, ScriptError)
    return parsed


def awaited(source: str) -> set[str]:
    parsed = program(source)
    return {parsed.source.encode()[start:end].decode() for start, end in parsed.awaited}


def test_names_and_paths() -> None:
    parsed = program(
        "import tools.github as gh, json\n"
        "from datetime import datetime as dt\n"
        "x = await tools.github.create_issue(title='hello')\n"
        "async def f(a, *b, c=1, **d):\n"
        "    return a, b, c, d, missing, getattr(tools, 'slack').post(y.z())\n"
        "for i, (j, *k) in x: print(i, j, k)\n"
    )
    assert parsed.paths == {("tools", "github", "create_issue"), ("y", "z")}
    assert parsed.imports == {"tools.github", "json", "datetime"}
    assert parsed.free == {"tools", "missing", "getattr", "y", "print"}
    assert {"gh", "github", "tools", "dt", "datetime", "hello", "slack", "create_issue"} <= parsed.identifiers


@pytest.mark.parametrize(
    "source",
    [
        "n = 1\nn",
        "def n(): pass\nn",
        "class n: pass\nn",
        "lambda n: n",
        "import a.b as n\nn",
        "import n.b\nn",
        "[n for n in x]",
        "for n in x: n",
        "try: pass\nexcept E as n: n",
        "with x as n: n",
        "(n := 1)\nn",
        "def f():\n    global n\n    n",
        "match x:\n    case [n, *_]: n",
        "match x:\n    case [*n]: n",
        "match x:\n    case {'a': 1, **n}: n",
        "match x:\n    case (1 | 2) as n: n",
    ],
)
def test_bound_names_are_not_free(source: str) -> None:
    assert "n" not in program(source).free


def test_top_level_await_and_return_parse() -> None:
    assert len(program("x = await f()\nreturn x").tree.body) == 2


def test_awaited_ranges_are_bytes_of_the_call() -> None:
    assert awaited(
        "é = 'ü'; await tools.a.b('ü', await c(1))\nx = await d\ny = [await e(\n  2) for _ in x]"
    ) == {
        "tools.a.b('ü', await c(1))",
        "c(1)",
        "e(\n  2)",
    }
    assert awaited("f'ü {await a(1)} {await b(2)!r:>{await c(3)}}'") == {"a(1)", "b(2)", "c(3)"}
    assert awaited("f()\n(await g)()\nawait h()['x']") == set()


def test_fences_leave_lines_where_they_are() -> None:
    parsed = program("\n```python\nx = 1\r\ny = 2\n```\n")
    assert parsed.source == "\n\nx = 1\ny = 2\n\n"
    assert [node.lineno for node in parsed.tree.body] == [3, 4]
    assert program("```\nx = 1").source == "\nx = 1"
    assert program("x = '''\n```\n'''\n").source == "x = '''\n```\n'''\n"


def test_common_indentation_goes() -> None:
    parsed = program("\n    x = 1\n    if x:\n        y = 2\n")
    assert parsed.source == "\nx = 1\nif x:\n    y = 2\n"
    assert error("    x = 1\ny = 2").kind == "IndentationError"


def test_syntax_error_is_a_value_with_a_position() -> None:
    found = error("x = 1\ny = = 2")
    assert found.kind == "SyntaxError"
    assert found.position is not None
    assert (found.position.line, found.position.column, found.position.source) == (2, 5, "y = = 2")
    assert found.hint


def test_syntax_hints_say_what_to_do() -> None:
    assert "Close the bracket" in error("x = (1,\ny = 2").hint
    assert "Indent" in error("if x:\npass").hint
    assert "fence" in error("Here is the script:\n```python\nx = 1\n```").hint


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python has the type statement since 3.12")
@pytest.mark.parametrize("statement", ["type X = int", "type Pair[T] = tuple[T, T]"])
def test_a_newer_type_statement_is_named(statement: str) -> None:
    assert error(f"x = 1\n{statement}").hint == "Leave the type statement out; it is not needed."


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\0",
        "\ud800",
        "a" + ".b" * 60_000,
        "-" * 100_000 + "1",
        "1" + "+1" * 45_000,
        "a" + "()" * 45_000,
        "(" * 5_000 + ")" * 5_000,
        "lambda:" * 20_000 + "1",
        "x = '" + "a" * 200_000 + "'",
        "#" + "é" * 150_000,
    ],
)
def test_hostile_text_is_an_error_value(source: str) -> None:
    found = error(source)
    assert found.message
    assert found.hint


def test_deep_and_large_trees_are_walked() -> None:
    deep = program("x = " + "[" * 180 + "]" * 180)
    assert deep.bindings.keys() == {"x"}
    chained = program("a" + ".b" * 900)
    assert {len(path) for path in chained.paths} == {901}
    assert len(program("x = 1\n" * 10_000).nodes) > 30_000


def test_invalid_escapes_do_not_warn(recwarn: pytest.WarningsRecorder) -> None:
    program("x = '\\d'")
    assert not recwarn.list


def test_text_and_position_count_characters() -> None:
    parsed = program("é = 'ü'; x = f(\n 'ü')")
    call = next(node for node in parsed.nodes if isinstance(node, ast.Call))
    assert parsed.text(call) == "f(\n 'ü')"
    assert parsed.position(call).column == 14
