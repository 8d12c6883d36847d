# ruff: noqa: E501  scripts are easier to read whole
"""Scripts that mean harm, through the whole of CodeMode with the real sandbox.

Each attack has an oracle of its own, and all of them share these: no canary of the host shows, no
tool outside the scope runs, the deadline is met, nothing of the run is left, and a well-meant
script works right after it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from oneturn import CodeMode, Limits, Outcome, ToolError

TIMEOUT = 1.5
MARGIN = 3.0  # a safety bound: the deadline is met within a second, on a machine that is not busy
CANARY = "canary-91b7c3"
HOST_SECRET = f"{CANARY}-global"
LIMITS = Limits(
    timeout=TIMEOUT,
    cpu_seconds=0.6,
    memory=32 * 1024 * 1024,
    recursion=200,
    calls=200,
    printed_chars=10_000,
    value_bytes=1_000_000,
    run_bytes=5_000_000,
)


class Target:
    """An app worth attacking: what it hides, and what was called."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "secret.txt"
        self.file.write_text(f"{CANARY}-file")
        self.made = folder / "made.txt"
        # One tier, whose answers these tests spell out; `test_every_tier` plays attacks on all of them.
        self.app = CodeMode(allow=["lab.*", "echo"], limits=LIMITS, sandbox="monty")
        self.calls: list[tuple[str, Any]] = []
        self.hidden_calls = 0
        self.secret = f"{CANARY}-attribute"
        self.shared = {"items": [1, 2, 3]}
        self._offer()

    def _offer(self) -> None:
        app = self.app

        @app.tool(effect="read")
        def echo(value: Any = None) -> Any:
            """Give the value back."""
            self.calls.append(("echo", value))
            return value

        @app.tool(effect="read", namespace="lab")
        def shared() -> dict[str, Any]:
            """The host's own data."""
            return self.shared

        @app.tool(effect="read", namespace="lab")
        def fail(text: str = "") -> None:
            """Fail, with the host's frames behind it."""
            raise ToolError(text or "it failed")

        @app.tool(effect="read", namespace="lab")
        def crash() -> None:
            """Break, with a secret close by."""
            local_secret = f"{CANARY}-local"
            raise KeyError(len(local_secret))

        @app.tool(effect="read", namespace="lab")
        def big(size: int) -> str:
            """A text of this size."""
            return "x" * size

        @app.tool(effect="read", namespace="lab")
        async def forever() -> None:
            """Never answer."""
            await asyncio.Event().wait()

        @app.tool(effect="write", namespace="lab")
        def save(name: str, admin: bool = False) -> list[Any]:
            """Save something."""
            self.calls.append(("save", (name, admin)))
            return [name, admin]

        @app.tool(effect="destructive", namespace="vault")
        def open_vault(launch_code: str = "") -> str:
            """Outside the scope."""
            self.hidden_calls += 1
            return CANARY

    async def attack(self, code: str) -> Outcome:
        """Run a hostile script and check what holds for every one of them."""
        began = time.monotonic()
        outcome = await asyncio.wait_for(self.app.execute(code), 30)
        assert time.monotonic() - began < TIMEOUT + MARGIN
        assert CANARY not in repr(outcome)
        assert "launch_code" not in repr(outcome).replace(code, "")
        assert self.hidden_calls == 0
        assert self.file.read_text() == f"{CANARY}-file"
        assert not self.made.exists()
        assert self.shared == {"items": [1, 2, 3]}
        assert len(outcome.prints) <= LIMITS.printed_chars
        assert asyncio.all_tasks() == {asyncio.current_task()}
        after = await asyncio.wait_for(self.app.execute("await echo([1 + 1])"), 5)
        assert after.value == [2]
        return outcome


@pytest.fixture
async def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Target]:
    monkeypatch.setenv("ONETURN_CANARY", f"{CANARY}-env")
    target = Target(tmp_path)
    yield target
    await target.app.close()


Oracle = Callable[[Outcome], bool]


def fails(*kinds: str) -> Oracle:
    """The script ends in one of these errors."""
    return lambda outcome: outcome.error is not None and (not kinds or outcome.error.kind in kinds)


def gives(value: Any) -> Oracle:
    """The script ends with this value."""
    return lambda outcome: outcome.error is None and outcome.value == value


def either(*oracles: Oracle) -> Oracle:
    return lambda outcome: any(oracle(outcome) for oracle in oracles)


async def run(target: Target, code: str, oracle: Oracle) -> None:
    outcome = await target.attack(
        code.format(file=str(target.file), made=str(target.made), folder=str(target.file.parent))
    )
    assert oracle(outcome), outcome


# --- the oracle itself


async def test_the_oracles_can_fail(target: Target) -> None:
    target.app.tool(lambda: HOST_SECRET, name="leak", namespace="lab", description="x", effect="read")
    with pytest.raises(AssertionError):
        await target.attack("await lab.leak()")
    target.hidden_calls = 1
    with pytest.raises(AssertionError):
        await target.attack("1")


# --- reaching for what is not theirs

# Each walk is tried as an expression; what it yields goes through str() so that nothing stops it at
# the border. Reaching host Python would show a host module, path, class or canary.
WALKS = [
    "().__class__.__bases__[0].__subclasses__()",
    "''.__class__.__mro__[1].__subclasses__()",
    "type.__subclasses__(type)",
    "object.__subclasses__()",
    "(lambda: 0).__globals__",
    "(lambda: 0).__code__.co_consts",
    "(lambda: 0).__builtins__",
    "print.__self__",
    "print.__globals__",
    "[].append.__self__.__class__.__base__",
    "tools.__class__",
    "tools.__class__.__module__",
    "tools.__class__.__init__.__globals__",
    "tools.__dict__",
    "tools.__init__.__globals__",
    "tools.__reduce_ex__(2)",
    "tools.__getattribute__('__class__')",
    "type(tools).__mro__",
    "type(tools)()",
    "vars(tools)",
    "dir(tools)",
    "runtime.__class__.__init__.__globals__",
    "runtime._view.scope",
    "runtime.call.__globals__",
    "lab.__class__.__subclasses__()",
    "lab.shared.__globals__['HOST_SECRET']",
    "lab.shared.__closure__",
    "lab.shared.__wrapped__",
    "lab.shared.__self__",
    "lab.shared.__code__",
    "echo.__globals__",
    "echo.__defaults__",
    "getattr(lab, '__class__')",
    "getattr(tools, '_' + '_class_' + '_')",
    "getattr(tools, 'vault').__dict__",
    "getattr(lab.shared, '__globals__')['HOST_SECRET']",
    "'{{0.__class__.__init__.__globals__}}'.format(tools)",
    "'{{0.__class__}}'.format(lab.shared)",
    "'{{a.__class__.__mro__}}'.format(a=tools)",
    "f'{{tools.__class__.__init__.__globals__}}'",
    "'%s' % (tools.__init__,)",
    "__builtins__",
    "__builtins__['open']",
    "__loader__",
    "__spec__",
    "__file__",
    "globals()",
    "locals()",
    "globals()['__builtins__']",
    "__import__('os').environ",
    "eval('tools.__class__')",
    "exec('import os')",
    "compile('1', 'x', 'eval')",
    "breakpoint()",
    "help()",
    "memoryview(b'x').obj.__class__",
]
HOST_WORDS = (
    "oneturn.",
    "pydantic_monty",
    "/home/",
    "/root/",
    "/usr/",
    "site-packages",
    "HOST_SECRET",
    "0x7f",
)


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("form", ["str", "tool"])
async def test_attribute_walks_find_nothing_of_the_host(target: Target, walk: str, form: str) -> None:
    walk = walk.replace("{{", "{").replace("}}", "}")
    shown = "str(x)" if form == "str" else "await echo(x)"
    outcome = await target.attack(f"x = {walk}\n{shown}")
    said = repr((outcome.value, outcome.prints, outcome.error and outcome.error.message, target.calls))
    for word in HOST_WORDS:
        assert word not in said
    if outcome.error is None and form == "tool":
        assert not isinstance(outcome.value, str) or "<" not in outcome.value


EXCEPTION_WALKS = [
    "e.__traceback__",
    "e.__traceback__.tb_frame.f_back.f_globals",
    "e.__traceback__.tb_next.tb_frame.f_locals",
    "e.__context__",
    "e.__cause__",
    "e.__class__.__mro__",
    "e.__class__.__subclasses__()",
    "e.__init__.__globals__",
    "e.obj",
    "e.name",
    "e.with_traceback",
    "e.__reduce__()",
    "e.__dict__",
    "e.__notes__",
    "e.args",
]


@pytest.mark.parametrize("walk", EXCEPTION_WALKS)
@pytest.mark.parametrize("call", ["await lab.crash()", "await lab.fail()", "await lab.nope()", "tools.x.y"])
async def test_exceptions_carry_nothing_of_the_host(target: Target, walk: str, call: str) -> None:
    code = f"""
try:
    {call}
except Exception as e:
    try:
        x = str({walk})
    except Exception as inner:
        x = 'no: ' + str(inner)
x
"""
    outcome = await target.attack(code)
    said = repr((outcome.value, outcome.error))
    for word in ("Traceback", "site-packages", "/home/", "/usr/", "test_hostile", "pydantic_monty", "frame"):
        assert word not in said.replace(f"'{walk}'", "").replace(walk.rpartition(".")[2], "")


OUTSIDE = {
    "read a file": "open({file!r}).read()",
    "write a file": "open({made!r}, 'w').write('x')",
    "pathlib": "from pathlib import Path\nPath({file!r}).read_text()",
    "pathlib write": "from pathlib import Path\nPath({made!r}).write_text('x')",
    "list a folder": "import os\nos.listdir({folder!r})",
    "walk": "import os\nlist(os.walk({folder!r}))[0]",
    "environment": "import os\nos.environ['ONETURN_CANARY']",
    "getenv": "import os\nos.getenv('ONETURN_CANARY') + ''",
    "environment of the process": "open('/proc/self/environ').read()",
    "system": "import os\nos.system('touch {made}')",
    "popen": "import os\nos.popen('cat {file}').read()",
    "subprocess": "import subprocess\nsubprocess.run(['cat', {file!r}])",
    "spawn": "import os\nos.execv('/bin/sh', ['sh'])",
    "fork": "import os\nos.fork()",
    "kill": "import os\nos.kill(os.getppid(), 9)",
    "socket": "import socket\nsocket.create_connection(('127.0.0.1', 1))",
    "http": "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:1')",
    "ctypes": "import ctypes\nctypes.CDLL(None)",
    "threads": "import threading\nthreading.Thread(target=print).start()",
    "multiprocessing": "import multiprocessing",
    "signal": "import signal\nsignal.alarm(1)",
    "importlib": "import importlib\nimportlib.import_module('os')",
    "sys.modules": "import sys\nsys.modules['os']",
    "frames": "import sys\nsys._getframe(0).f_back",
    "gc": "import gc\ngc.get_objects()",
    "inspect": "import inspect\ninspect.stack()",
    "pickle": "import pickle\npickle.loads(b'cos\\nsystem\\n(S\"true\"\\ntR.')",
    "host package": "import oneturn.app",
    "interpreter package": "import pydantic_monty",
    "private import": "from tools import __loader__",
    "import of a hidden tool": "from tools.vault import open_vault\nawait open_vault()",
    "input": "input('password: ') + ''",
}


@pytest.mark.parametrize("name", OUTSIDE)
async def test_nothing_outside_can_be_reached(target: Target, name: str) -> None:
    await run(target, OUTSIDE[name], fails())


# --- tools outside the scope, forged names, confused arguments

HIDDEN = [
    "await vault.open_vault()",
    "await tools.vault.open_vault()",
    "await open_vault()",
    "await getattr(tools, 'vault').open_vault()",
    "await getattr(getattr(tools, 'va' + 'ult'), 'open_' + 'vault')()",
    "f = getattr(tools.vault, 'open_vault')\nawait f('x')",
    "await getattr(tools, 'vault.open_vault')()",
    "await getattr(lab, '..vault.open_vault')()",
    "await getattr(tools.lab, 'shared/../../vault.open_vault')()",
    "import tools\nawait tools.vault.open_vault()",
    "await tools.tools.vault.open_vault()",
    "await tools.open_vault()",
    "await tools.vault.OPEN_VAULT()",
    "await tools.vault.open_vault\u200b()",
    "await tools.ｖａｕｌｔ.open_vault()",
    "await tools.vault.open_vault(launch_code='1')",
    "open_vault = 1\nawait tools.vault.open_vault()",
    "await runtime.call('vault.open_vault')",
    "await runtime.open_vault()",
    "import asyncio\nawait asyncio.gather(*[tools.vault.open_vault() for _ in range(20)])",
]


@pytest.mark.parametrize("code", HIDDEN)
async def test_a_tool_outside_the_scope_is_never_called(target: Target, code: str) -> None:
    outcome = await target.attack(code)
    assert outcome.error is not None
    assert outcome.error.kind in (
        "PermissionError",
        "NameError",
        "AttributeError",
        "SyntaxError",
        "TypeError",
    )
    assert "(" not in outcome.error.message.replace("()", "").replace("search_tools('…')", "")


async def test_discovery_does_not_show_tools_outside_the_scope(target: Target) -> None:
    code = """
seen = [runtime.list_tools(), runtime.list_tools('vault'), runtime.search_tools('open vault launch code', limit=1000)]
for name in ('vault.open_vault', 'open_vault', 'tools.vault.open_vault', 'vault', 'vault.open_vaul'):
    try:
        seen.append(runtime.get_tool_info(name))
    except NameError as e:
        seen.append(str(e).replace(name, '?'))
str(seen)
"""
    outcome = await target.attack(code)
    assert outcome.error is None
    assert "vault" not in outcome.value


FORGED = {
    "final_answer of its own": ("def final_answer(x):\n    return x\nfinal_answer(1)\n2", gives(2)),
    "final_answer as a tool": ("await tools.final_answer(1)", fails("NameError")),
    "final_answer twice": ("final_answer(1)\nfinal_answer(2)", gives(1)),
    "final_answer of an object": ("final_answer(tools)", fails("ValueError")),
    "final_answer inside a gather": (
        "import asyncio\nasync def f():\n    final_answer(1)\nawait asyncio.gather(f(), echo(2))\n3",
        gives(1),
    ),
    "ToolError of its own": ("class ToolError(Exception):\n    pass\nraise ToolError('x')", fails()),
    "ToolError rebound": ("ToolError = int\nToolError('3')", gives(3)),
    "a tool shadowed": ("async def echo(x):\n    return 'mine'\nawait echo(1)", gives("mine")),
    "tools rebound": ("tools = {'a': 1}\ntools['a']", gives(1)),
    "runtime rebound": ("runtime = 5\nruntime + 1", gives(6)),
    "setting an attribute of tools": ("tools.echo = print\nawait tools.echo(1)", either(fails(), gives(1))),
    "setting an attribute of a namespace": ("lab.shared = lambda: 1\nawait lab.shared()", fails()),
    "deleting from tools": ("del tools.lab\n1", either(fails(), gives(1))),
    "builtins shadowed": ("PermissionError = ValueError\nlen = str\nlen(3)", gives("3")),
    "running a script in a script": ("await tools.execute_code('1')", fails("NameError")),
    "raising what ends interpreters": ("raise SystemExit(0)", fails()),
    "raising KeyboardInterrupt": ("raise KeyboardInterrupt", fails()),
    "exit": ("exit()", fails()),
    "a namespace as a value": ("return lab", fails("ValueError")),
    "tools as a value": ("return {'t': [tools]}", fails("ValueError")),
    "a class as a value": ("class A:\n    pass\nreturn A", fails("ValueError")),
    "an instance as a value": ("class A:\n    pass\nreturn A()", fails("ValueError")),
    "a function as a value": ("def f():\n    pass\nreturn [f]", fails("ValueError")),
    "a lambda as a value": ("return lambda: 1", fails("ValueError")),
    "a coroutine as a value": ("async def f():\n    pass\nreturn [f()]", fails()),
    "a module as a value": ("import math\nreturn math", fails("ValueError")),
    "an exception as a value": (
        "try:\n    1/0\nexcept Exception as e:\n    x = e\nreturn x",
        fails("ValueError"),
    ),
    "a cycle as a value": ("x = []\nx.append(x)\nreturn x", fails("ValueError")),
    "not a number as a value": ("return float('nan')", fails("ValueError")),
}


@pytest.mark.parametrize("name", FORGED)
async def test_forged_names_and_values(target: Target, name: str) -> None:
    code, oracle = FORGED[name]
    await run(target, code.replace("{", "{{").replace("}", "}}"), oracle)


ARGUMENTS = [
    "await lab.save('n', **{'__class__': 1})",
    "await lab.save('n', **{'self': 1})",
    "await lab.save('n', **{'_tool': 1})",
    "await lab.save('n', **{'limits': 1, 'caller': 'root'})",
    "await lab.save('n', True, 'more')",
    "await lab.save('n', name='other')",
    "await lab.save('n', **{'admin ': True})",
    "await lab.save('n', **{'ａｄｍｉｎ': True, 'admin': False})",
    "await lab.save(name={'$ref': '#/x'})",
    "await lab.save(['n'])",
    "await lab.save('n', 'true')",
    "await lab.save('n', 1)",
    "await lab.save(tools)",
    "await lab.save(print)",
    "await lab.save(lambda: 1)",
    "await lab.save(echo(1))",
    "class S:\n    def __str__(self):\n        return 'n'\nawait lab.save(S())",
    "class E:\n    def __eq__(self, other):\n        return True\n    def __hash__(self):\n        return 1\nawait lab.save({E(): 1})",
    "await lab.save(b'n')",
    "await lab.save()",
    "await lab.save(*range(1000))",
    "await lab.save(**{'a' + str(i): i for i in range(1000)})",
]  # fmt: skip


@pytest.mark.parametrize("code", ARGUMENTS)
async def test_confused_arguments_never_reach_the_tool(target: Target, code: str) -> None:
    outcome = await target.attack(code)
    assert outcome.error is not None
    assert outcome.error.kind in ("TypeError", "ValueError")
    assert not [call for call in target.calls if call[0] == "save"]


async def test_arguments_changed_after_the_call_do_not_change_the_call(target: Target) -> None:
    code = """
import asyncio
x = {'a': [1]}
pending = echo(x)
x['a'].append(2)
x['b'] = 3
first = await pending
first['a'].append(9)
s = await lab.shared()
s['items'].clear()
again = await lab.shared()
[first, x, again]
"""
    outcome = await target.attack(code)
    assert outcome.value == [{"a": [1, 9]}, {"a": [1, 2], "b": 3}, {"items": [1, 2, 3]}]
    assert target.calls[0] == ("echo", {"a": [1]})


# --- bombs and floods

BOMBS = {
    "big integer": "10**10**8",
    "big integer, squared": "x = 7\nwhile True:\n    x = x * x",
    "big shift": "1 << 10**12",
    "big factorial": "import math\nmath.factorial(10**7)",
    "integer to text": "str(10**5_000_000)",
    "integer from text": "int('9' * 5_000_000)",
    "text": "'x' * 10**12",
    "text, doubled": "x = 'ab'\nwhile True:\n    x += x",
    "list": "[0] * 10**12",
    "list, grown": "x = []\nwhile True:\n    x.append([0] * 1000)",
    "dict, grown": "x = {{}}\ni = 0\nwhile True:\n    x[i] = str(i)\n    i += 1",
    "bytes": "bytes(10**12)",
    "format width": "'{{:>999999999999}}'.format(1)",
    "format precision": "'%.*f' % (10**9, 1.5)",
    "padding": "'x'.ljust(10**12)",
    "join": "','.join(['x' * 10**6] * 10**6)",
    "replace": "('a' * 10**6).replace('a', 'b' * 10**6)",
    "range list": "list(range(10**12))",
    "sum of a huge range": "sum(range(10**12))",
    "in a huge range": "float('nan') in range(10**12)",
    "sorting": "sorted(range(10**9))",
    "endless": "while True:\n    pass",
    "endless generator": "def g():\n    while True:\n        yield 1\nsum(g())",
    "endless for": "x = [1]\nfor i in x:\n    x.append(i)",
    "recursion": "def f(n):\n    return f(n + 1)\nf(0)",
    "mutual recursion": "def f():\n    return g()\ndef g():\n    return f()\nf()",
    "recursive repr": "x = []\nfor i in range(100_000):\n    x = [x]\nstr(x)",
    "recursive comparison": "a = []\nb = []\nfor i in range(100_000):\n    a = [a]\n    b = [b]\na == b",
    "recursive hash": "x = ()\nfor i in range(100_000):\n    x = (x,)\nhash(x)",
    "special methods": "class A:\n    def __eq__(self, other):\n        return self == other\nA() == A()",
    "sort keys that sort": "x = list(range(50))\ndef k(v):\n    x.sort(key=k)\n    return v\nx.sort(key=k)",
    "regex backtracking": "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')",
    "regex nested": "import re\nre.search(r'(x+x+)+y', 'x' * 5000)",
    "regex size": "import re\nre.compile('(' * 5000 + ')' * 5000)",
    "regex repeat": "import re\nre.compile('(((a{{1,1000}}){{1,1000}}){{1,1000}})')",
    "json nested": "import json\njson.loads('[' * 1_000_000)",
    "json huge": "import json\njson.dumps(['x' * 1_000_000] * 1000)",
    "nested source": "x = " + "(" * 3_000 + "1" + ")" * 3_000,
    "nested lists in source": "x = " + "[" * 2_000 + "]" * 2_000,
    "long expression": "x = " + "+".join(["1"] * 30_000),
    "unary chain": "x = " + "-" * 20_000 + "1",
    "attribute chain": "x = tools" + ".a" * 20_000,
    "nested blocks": "\n".join(" " * depth + "if 1:" for depth in range(300)) + "\n" + " " * 300 + "x = 1",
    "many names": "\n".join(f"v{number} = {number}" for number in range(15_000)),
    "large source": "x = '" + "y" * 5_000_000 + "'",
    "null bytes": "x = 1\x00\nprint(x)",
    "lone surrogate": "x = '\udcff'\nx",
    "only closing": ")" * 10_000,
    "shared result": "x = [0]\nfor i in range(28):\n    x = [x, x]\nx",
    "deep result": "x = []\nfor i in range(100_000):\n    x = [x]\nx",
    "shared argument": "x = [0]\nfor i in range(28):\n    x = [x, x]\nawait echo(x)",
    "deep argument": "x = []\nfor i in range(100_000):\n    x = [x]\nawait echo(x)",
    "huge argument": "await echo('x' * 10_000_000)",
    "huge result": "'x' * 20_000_000",
    "huge number result": "1 << 1_000_000",
    "huge exception": "raise ValueError('x' * 10_000_000)",
    "huge exception chain": "def f(n):\n    try:\n        raise ValueError('x' * 1000)\n    except ValueError as e:\n        if n:\n            f(n - 1)\n        raise\nf(150)",
    "huge name": "x" * 50_000,
    "huge tool name": "await tools." + "a" * 50_000 + "()",
    "huge namespace": "await tools." + ".".join(["a"] * 500) + "()",
    "clock": "import time\nwhile True:\n    time.time()",
    "waiting for a clock": "import time\nend = time.monotonic() + 1000\nwhile time.monotonic() < end:\n    pass",
    "sleep": "import time\ntime.sleep(1e9)",
    "async sleep": "import asyncio\nawait asyncio.sleep(1e9)",
    "sleep of no number": "import time\ntime.sleep(float('nan'))",
    "negative sleep": "import time\nwhile True:\n    time.sleep(-1) if False else time.sleep(0)",
    "sleeps nobody awaits": "import asyncio\nfor i in range(10**6):\n    p = asyncio.sleep(1000)",
    "sleeps": "import asyncio\nawait asyncio.gather(*[asyncio.sleep(1000) for i in range(2_000)])",
    "lookups": "while True:\n    runtime.list_tools()",
    "searches": "while True:\n    runtime.search_tools('x y z ' * 1000, limit=10**9)",
    "attribute lookups": "while True:\n    tools.lab.shared",
    "unknown names": "i = 0\nwhile True:\n    i += 1\n    try:\n        getattr(tools, 'n' + str(i))\n    except AttributeError:\n        pass",
    "unknown tools": "while True:\n    try:\n        await lab.nope()\n    except NameError:\n        pass",
    "unknown tools with huge names": "while True:\n    try:\n        await lab." + "n" * 100_000 + "()\n    except NameError:\n        pass",
    "calls on a huge line": "'" + "x" * 50_000 + "'; i = 0\nwhile True: await echo('" + "y" * 100_000 + "')",
    "calls all over a huge line": "import time;" + "time.time();" * 10_000 + "1/0",
    "refused calls all over a huge line": "await lab.nope();" * 10_000,
    "many namespaces": "\n".join(f"tools.n{number}.x" for number in range(9_000)),
    "deep namespaces": "\n".join("tools" + ".a" * 90 for _ in range(500)),
    "calls in a row": "while True:\n    await echo(1)",
    "calls at once": "import asyncio\nawait asyncio.gather(*[echo(i) for i in range(5_000)])",
    "calls that never answer": "import asyncio\nawait asyncio.gather(*[lab.forever() for i in range(150)])",
    "calls nobody awaits": "for i in range(5_000):\n    p = lab.forever()\nwhile True:\n    pass",
    "refused calls": "while True:\n    try:\n        await vault.open_vault()\n    except PermissionError:\n        pass",
    "results": "x = []\nwhile True:\n    x.append(await lab.big(900_000))",
    "outliving the deadline": "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
    "outliving the deadline while waiting": "while True:\n    try:\n        await lab.forever()\n    except BaseException:\n        pass",
    "outliving by finally": "try:\n    while True:\n        pass\nfinally:\n    while True:\n        pass",
    "outliving memory": "x = []\nwhile True:\n    try:\n        while True:\n            x.append('y' * 100_000)\n    except BaseException:\n        pass",
}  # fmt: skip

MAY_SUCCEED = {
    "sum of a huge range", "in a huge range", "regex backtracking", "regex nested", "long expression", "unary chain",
    "regex repeat", "regex size", "many names", "sleep of no number", "special methods", "recursive hash", "recursive comparison",
    "sort keys that sort", "nested lists in source", "nested source", "recursive repr", "nested blocks",
}  # fmt: skip
"""Bombs that a sandbox may also survive: meeting the deadline is what counts."""


@pytest.mark.parametrize("name", BOMBS)
async def test_bombs_end_in_time_and_cost_one_run(target: Target, name: str) -> None:
    code = BOMBS[name].replace("{{", "{").replace("}}", "}")
    outcome = await target.attack(code)
    assert outcome.status == "failed" or (name in MAY_SUCCEED and outcome.ok)
    if outcome.error is not None:
        assert len(outcome.error.message) < 5_000
        assert len(outcome.error.hint) < 5_000
    assert len(outcome.calls) <= 3 * LIMITS.calls
    assert all(len(repr(call)) < 5_000 for call in outcome.calls)


async def test_a_print_flood_is_cut_and_counted(target: Target) -> None:
    outcome = await target.attack("for i in range(20_000):\n    print('x' * 50)\n'end'")
    assert outcome.value == "end"
    assert len(outcome.prints) == LIMITS.printed_chars
    assert outcome.cut_prints == 20_000 * 51 - LIMITS.printed_chars


async def test_one_huge_print_is_cut(target: Target) -> None:
    outcome = await target.attack("print('x' * 5_000_000)\n'end'")
    assert len(outcome.prints) == LIMITS.printed_chars


async def test_calls_beyond_the_number_do_not_reach_the_tool(target: Target) -> None:
    code = "n = 0\nfor i in range(300):\n    try:\n        await echo(i)\n        n += 1\n    except PermissionError:\n        pass\nn"
    outcome = await target.attack(code)
    assert outcome.value == LIMITS.calls
    assert len([call for call in target.calls if call[0] == "echo"]) == LIMITS.calls + 1  # and the one after


async def test_results_beyond_the_run_s_bytes_do_not_reach_the_script(target: Target) -> None:
    code = "n = 0\nfor i in range(20):\n    try:\n        n += len(await lab.big(900_000))\n    except ValueError:\n        pass\nn"
    outcome = await target.attack(code)
    assert outcome.value is not None
    assert outcome.value <= LIMITS.run_bytes


async def test_huge_text_in_a_tool_s_failure_is_capped(target: Target) -> None:
    outcome = await target.attack(
        "try:\n    await lab.fail('y' * 900_000)\nexcept Exception as e:\n    x = len(str(e))\nx"
    )
    assert outcome.value < 5_000


async def test_control_and_direction_characters_in_names_are_not_python(target: Target) -> None:
    for char in ("\u202e", "\u2066", "\u200b", "\x1b", "\u00ad", "\U000e0041"):
        outcome = await target.attack(f"x{char} = 1\nx{char}")
        assert outcome.error is not None
        assert outcome.error.kind == "SyntaxError"


async def test_look_alike_names_are_not_the_tool(target: Target) -> None:
    outcome = await target.attack("await tools.l\u0430b.shared()")
    assert outcome.error is not None
    assert outcome.error.kind == "NameError"


async def test_one_run_cannot_see_another(target: Target) -> None:
    first, second = await asyncio.gather(
        target.app.execute(
            "import asyncio, json\nmark = 'left'\njson.mark = 1\nawait asyncio.sleep(0.05)\nmark"
        ),
        target.app.execute("import asyncio, json\nawait asyncio.sleep(0.02)\n[json.mark, mark]"),
    )
    assert "left" not in repr(second)
    assert second.error is not None
    assert first.error is None or first.error.kind == "AttributeError"


async def test_many_attacks_at_once_leave_the_app_well(target: Target) -> None:
    codes = [
        "while True:\n    pass",
        "x = []\nwhile True:\n    x.append('y' * 1000)",
        "import asyncio\nawait asyncio.gather(*[lab.forever() for i in range(50)])",
        "raise SystemExit",
    ]
    outcomes = await asyncio.gather(*(target.app.execute(codes[n % 4]) for n in range(12)))
    assert {outcome.status for outcome in outcomes} == {"failed"}
    assert (await target.attack("1")).value == 1
