"""The forgotten `await`: what is stopped, and the many correct scripts that must not be."""

import pytest

from oneturn.program import Program, check, parse
from oneturn.types import ScriptError

TOOLS = {
    "github.list_issues",
    "github.create_issue",
    "github.issues.list",
    "slack.post",
    "list_issues",
    "print",
    "sum",
    "add",
    "dict.get",
    "time.get_weather",
    "time.time",
    "email.send",
    "filter.list",
}


def run(source: str) -> ScriptError | None:
    program = parse(source)
    assert isinstance(program, Program), program
    return check(program, TOOLS.__contains__)


FORGOTTEN = [
    "tools.github.list_issues()",
    "github.list_issues(repo='x')",
    "list_issues()",
    "tools.add(1, 2)",
    "x = tools.github.list_issues()\nprint(x['a'])",
    "x = tools.github.list_issues()\nx.items()",
    "x = tools.github.list_issues()\nfor i in x: pass",
    "x = tools.github.list_issues()\n[i for i in x]",
    "x = tools.github.list_issues()\ny = x + 1",
    "x = tools.github.list_issues()\ny = 0\ny += x",
    "x = tools.github.list_issues()\nf'{x}'",
    "x = tools.github.list_issues()\nreturn x",
    "x = tools.github.list_issues()\nx",
    "x = tools.github.list_issues()\nprint(x)",
    "x = tools.github.list_issues()\nprint(len(x))",
    "x = tools.github.list_issues()\nhelper(x)\nx[0]",
    "x: dict = tools.github.list_issues()\nx[0]",
    "x, y = tools.github.list_issues(), tools.add(1)\ny.z",
    "x, y = tools.github.list_issues()",
    "x = tools.github.list_issues()\nx[0]\nx = tools.add(1)\nx[0]",
    "if (x := tools.github.list_issues()):\n  print(x[0])",
    "return tools.github.list_issues()",
    "print(tools.github.list_issues())",
    "print(len(tools.github.list_issues()))",
    "final_answer(tools.github.list_issues())",
    "y = tools.github.list_issues()['items']",
    "y = [tools.github.list_issues(i).title for i in range(3)]",
    "for i in tools.github.list_issues(): pass",
    "y = [i for i in tools.github.list_issues()]",
    "if tools.github.list_issues(): pass",
    "if tools.add(1) > 2: pass",
    "y = 1 if tools.add(1) else 2",
    "y = not tools.add(1)",
    "f'{tools.add(1)}'",
    "import json\njson.dumps(tools.add(1))",
    "async def f():\n  tools.slack.post('x')\nawait f()",
    "async def f():\n  x = tools.add(1)\n  return x['a']\nawait f()",
    "from tools import github\ngithub.list_issues()",
    "from tools import github as gh\ngh.list_issues()",
    "from tools.github import list_issues as li\nli()",
    "import tools\ntools.github.list_issues()",
    "import tools as t\nt.github.list_issues()",
    "import tools.github as gh\ngh.list_issues()",
    "gh = tools.github\nli = gh.list_issues\nli()",
    "post = slack.post\npost('x')",
    "x = await tools.add(1)['a']",
    "import asyncio\nasyncio.gather(tools.add(1), tools.add(2))",
    "import asyncio\na, b = asyncio.gather(tools.add(1), tools.add(2))",
    "from asyncio import sleep\nsleep(1)",
    "async def main(): return 1\nresult = main()\nprint(result)",
    "async def main(): return 1\nmain()",
    "async def main(): return 1\nreturn main()",
    "async def one(): return 1\nasync def main():\n  one()\nawait main()",
    "async def main(): return [1]\nfor x in main(): pass",
    "if __name__ == '__main__':\n  main()\nasync def main(): return 1",
    "c = tools.add(1)\nprint(c['a'])\nc.close()",
]

FINE = [
    "x = await tools.github.list_issues()\nprint(x['a'])",
    "print((await tools.github.list_issues())['a'])",
    "x = tools.github.list_issues()\ny = await x\nprint(y['a'])",
    "x = tools.github.list_issues()\nx = await x\nprint(x['a'])",
    "import asyncio\nx = tools.add(1)\ny = tools.add(2)\na, b = await asyncio.gather(x, y)",
    "import asyncio\nx = [tools.add(i) for i in range(3)]\nprint(await asyncio.gather(*x))",
    "import asyncio\nx = []\nfor i in range(3): x.append(tools.add(i))\nr = await asyncio.gather(*x)",
    "import asyncio\nd = {k: tools.add(k) for k in 'ab'}\nr = zip(d, await asyncio.gather(*d.values()))",
    "import asyncio\nr = await asyncio.gather(*(tools.add(i) for i in range(3)))",
    "import asyncio\nr = await asyncio.gather(*map(tools.add, [1, 2]))",
    "from asyncio import gather\na, b = await gather(tools.add(1), add(2))",
    "import asyncio\nasyncio.run(tools.add(1))",
    "async def first(c): return (await c)[0]\nx = await first(tools.github.list_issues())",
    "async def first(c): return (await c)[0]\nx = tools.github.list_issues()\ny = await first(x)",
    "def start(i): return tools.add(i)\nx = await start(1)",
    "async def start(i): return tools.add(i)\nx = await (await start(1))",
    "start = lambda i: tools.add(i)\nx = await start(1)",
    "x = tools.add(1)\nasync def later(): return await x\ny = await later()",
    "x = None\nif ready: x = tools.add(1)\nif x is not None: print(await x)",
    "x = {}\nif ready: x = tools.add(1)\nprint(x['a'])",
    "r = await (tools.add(1) if ready else tools.add(2))",
    "r = await (tools.add(1) or tools.add(2))",
    "x = tools.add(1), tools.add(2)\nfor c in x: print(await c)",
    "jobs = {'a': tools.add(1)}\nprint(await jobs['a'])",
    "class Job:\n  def __init__(self): self.c = tools.add(1)\nj = Job()\nprint(await j.c)",
    "x = tools.add(1)",
    "x = tools.add",
    "runtime.list_tools()\nfor t in runtime.search_tools('x'): print(t['name'])",
    "print('x')\nsum([1])\nx = sum([1])\nprint(x + 1)",
    "def add(a, b): return a + b\nprint(add(1, 2))\nadd(1, 2)",
    "class github:\n  def list_issues(self): return []\nfor i in github().list_issues(): pass",
    "github = {'a': 1}\ngithub.list_issues()",
    "def f(github): github.list_issues()\nf(1)",
    "for tools in []: tools.add(1)",
    "unknown.thing()\ntools.unknown.thing()",
    "li = tools.github.list_issues\nprint(await li())",
    "a = b\nb = a\na.add()",
    "from collections import Counter as add\nadd()",
    "async def main(): return 1\nprint(await main())",
    "async def main(): return 1\nx = main()\nprint(await x)",
    "import asyncio\nasync def main(): return 1\nasyncio.run(main())",
    "import asyncio\nasync def main(): return 1\nx = asyncio.run(main())\nprint(x)",
    "import asyncio\nasync def f(i): return i\nprint(await asyncio.gather(*[f(i) for i in range(3)]))",
    "import asyncio\nasync def f(i): return i\njobs = [f(1)]\njobs.append(f(2))\nawait asyncio.gather(*jobs)",
    "async def f(): return 1\ndef g(): return f()\nawait g()",
    "async def f(): return 1\ndef g():\n  async def f(): return 2\n  return f\nf()",
    "async def f(): return 1\ndef f(): return 2\nf()",
    "def deco(f): return lambda: 1\n@deco\nasync def f(): return 1\nf()",
    "class A:\n  async def f(self): return 1\ndef g(f): f()\ng(print)",
    "def g():\n  async def f(): return 1\n  return f\nf()",
    "import time\nprint(time.time())",
    "await tools.time.get_weather()\nawait tools.email.send()",
    "from tools import time\nprint(await time.get_weather())",
    "def f(time): return time.get_weather()\nf(1)",
    "email = {}\nemail.send()",
    "c = tools.add(1)\nc.close()",
    "async def f(): return 1\nc = f()\nif ready: print(await c)\nelse: c.close()",
    "async def f(): return 1\nf().close()",
]


@pytest.mark.parametrize("source", FORGOTTEN)
def test_a_forgotten_await_is_reported(source: str) -> None:
    found = run(source)
    assert found is not None
    assert found.kind == "ForgottenAwait"
    assert found.position is not None
    assert "await" in found.hint


@pytest.mark.parametrize("source", FINE)
def test_a_correct_script_is_let_through(source: str) -> None:
    assert run(source) is None


def test_message_position_and_hint() -> None:
    found = run("x = 1\nissues = tools.github.list_issues(repo='a')\nprint(issues[0])")
    assert found is not None
    assert found.position is not None
    assert found.message == "tools.github.list_issues(...) is not awaited"
    assert found.hint == "write: await tools.github.list_issues(repo='a')"
    assert (found.position.line, found.position.column) == (2, 10)


@pytest.mark.parametrize(
    ("source", "tool", "what"),
    [
        ("x = await time.get_weather('x')", "time.get_weather", "module, and it has no get_weather"),
        ("import time\nawait time.get_weather('x')", "time.get_weather", "module, and it has no get_weather"),
        ("import time as t\nt.get_weather()", "time.get_weather", "module, and it has no get_weather"),
        ("x = (await email.send())['id']", "email.send", "module, which is not available here"),
        ("email.send()", "email.send", "module, which is not available here"),
        ("await filter.list()", "filter.list", "builtin, and it has no list"),
    ],
)
def test_a_tool_behind_a_name_of_python_is_found(source: str, tool: str, what: str) -> None:
    found = run(source)
    assert found is not None
    assert found.kind == "NameError"
    assert found.message == f"`{tool.partition('.')[0]}` alone means Python's {what}"
    assert found.hint == f"write: await tools.{tool}(...)"
    assert found.position is not None
    assert found.position.line == source.count("\n") + 1


def test_hint_is_one_capped_line() -> None:
    found = run(f"tools.slack.post(\n  '{'x' * 200}'\n)")
    assert found is not None
    assert "\n" not in found.hint
    assert len(found.hint) <= len("write: await ") + 80


def test_hint_for_a_used_result_has_parentheses() -> None:
    found = run("print(tools.add(1)['a'])")
    assert found is not None
    assert found.hint == "write: (await tools.add(1))"


def test_all_forgotten_calls_are_named() -> None:
    found = run("tools.add(1)\ntools.slack.post('x')")
    assert found is not None
    assert "tools.add(...) (line 1), tools.slack.post(...) (line 2)" in found.message


def test_everything_wrong_is_one_error() -> None:
    found = run(
        "import heapq\nimport numpy\ncounts = {}\ntop = max(counts, key=counts.get)\n"
        "del counts['a']\ndel counts['b']\ntools.slack.post(top)"
    )
    assert found is not None
    assert found.position is not None
    assert found.kind == "UnsupportedPython"
    assert found.position.line == 1
    for part in ("import heapq (line 1)", "import numpy (line 2)", "del (lines 5, 6)"):
        assert part in found.message
    assert "tools.slack.post(...) is not awaited" in found.message
    assert "sorted(xs)[:n]" in found.hint
    assert "write: await tools.slack.post(top)" in found.hint


def test_a_long_list_is_cut() -> None:
    found = run("\n".join(f"import lib{i}" for i in range(30)))
    assert found is not None
    assert "and 20 more" in found.message
    assert len(found.message) + len(found.hint) < 1_000
    found = run(f"import {'x' * 10_000}\ntools.{'x' * 10_000}()")
    assert found is not None
    assert len(found.message) + len(found.hint) < 1_000


def test_a_hostile_script_is_checked_in_reasonable_steps() -> None:
    assert run("\n".join(f"a{i} = a{i + 1}" for i in range(3_000)) + "\na0()") is None
    assert run("x = tools.add(1)\n" * 3_000 + "print(x)") is not None
