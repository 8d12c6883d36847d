"""What Monty cannot run, held against the real Monty in both directions.

Everything in RUNS runs there and is never reported; everything in FAILS fails there and is. When
a new Monty learns one of FAILS, its entry has to leave the tables.
"""

from collections.abc import Iterator

import pytest
from pydantic_monty import Monty, MontyError

from oneturn.program import dialect, parse
from oneturn.program.features import Unsupported, unsupported
from oneturn.program.parse import Program

RUNS = [
    "sum(i for i in range(3))",
    "x = (i for i in [1])\nfor y in x: pass",
    "next(iter([x for x in [1]]), None)",
    "it = iter([1, 2])\nnext(it)",
    "import itertools\nnext(itertools.count())",
    "class A:\n  'doc'\n  n = 3\n  x: int = 1\n  y: str\n  def __init__(self, v): self.v = v\nA(1).v",
    "class A:\n  async def m(self): return 1\nawait A().m()",
    "class A:\n  def get(self, k): return k\na = A()\nlist(map(a.get, [1]))",
    "class A():\n  ...\nA()",
    "class A:\n  def __enter__(self): return 1\n  def __exit__(self, *a): pass\nwith A() as x: pass",
    "from dataclasses import dataclass, field\n@dataclass\nclass A:\n  x: list = field(default_factory=list)",
    "def deco(f):\n  def w(*a, **k): return f(*a, **k)\n  return w\n@deco\ndef g(): return 1\ng()",
    "import functools\n@functools.cache\ndef f(x): return x\nf(1)",
    "match {'a': 1, 'b': [1, 2]}:\n  case {'a': x, 'b': [y, *z], **rest} if x: pass",
    "try:\n  1/0\nexcept (ZeroDivisionError, ValueError) as e:\n  x = e\nelse:\n  pass\nfinally:\n  y = 1",
    "if (n := 3) > 2: x = n",
    "x = 1\ndef f():\n  global x\n  x = 2\n  y = 1\n  def g():\n    nonlocal y\n    y = 2\n  g()\nf()",
    "a, *b = [1, 2, 3]\n[*b, *[1]]\n{**{'a': 1}}\nprint(*b, sep='-')",
    "(lambda x, *a, y=1, **k: x)(1)",
    "x = {i: j for i, j in {'a': 1}.items()}\ny = {i for i in x}",
    "f'{1:>{5}} {1!r} {1=} {1000:,} {0.5:.1%}'",
    "'%s %05.1f' % ('a', 1.5)\n'{:>5} {a}'.format(1, a=2)",
    "async def g(x): return x\n[await g(i) for i in range(2)]\n{i: await g(i) for i in range(2)}",
    "import asyncio\nasync def g(x): return x\nawait asyncio.gather(*(g(i) for i in range(2)))",
    "import asyncio as aio\nasync def g(x): return x\na, b = await aio.gather(g(1), g(2))",
    "import asyncio\nasync def main(): return 1\nif __name__ == '__main__':\n  asyncio.run(main())",
    "from asyncio import gather, sleep\nawait sleep(0)",
    "def f(a: undefined_a, b: 'str' = 'x') -> list[undefined_b]: return a\nf(1)",
    "import typing\ndef f(x: typing.TypedDict) -> typing.Awaitable: pass\nf(1)",
    "from typing import Any, Optional, TYPE_CHECKING\nif TYPE_CHECKING:\n  import numpy\nx: Any = 1",
    "from __future__ import annotations\nx = 1",
    "try:\n  import numpy as np\nexcept ImportError:\n  np = None",
    "try:\n  from asyncio import timeout\nexcept Exception:\n  timeout = None",
    "import json\ntry:\n  x = json.dumps({}, default=str)\nexcept TypeError:\n  x = '{}'",
    "import json\ntry:\n  x = json.dumps({}, default=str)\nexcept Exception:\n  x = '{}'",
    "try:\n  x = 1\nexcept ConnectionError:\n  import traceback\n  traceback.print_exc()",
    "try:\n  x = input\nexcept NameError:\n  x = 1",
    "import json\njson.dumps({}, indent=2, sort_keys=True, ensure_ascii=False, separators=(',', ':'))",
    "import json\njson.loads('{}', parse_float=float)\nlist(map(json.loads, ['1']))",
    "import re\nre.sub('a', 'b', 'a', flags=re.I | re.M)\n[m.group(1) for m in re.finditer('(a)', 'aa')]",
    "import re\nnew = 'b'\nre.sub('a', new, 'a')\np = re.compile('a')\np.sub('b', 'a')",
    "d = {'a': 1}\nd['a'] = d.get('a', 0) + 1\nmax(d, key=lambda k: d[k])",
    "from collections import Counter, defaultdict, deque, namedtuple\nc = Counter('aab')\nc.most_common(1)",
    "from collections import defaultdict\nd = defaultdict(lambda: defaultdict(int))\nd['a']['b'] += 1",
    "dict.fromkeys([1])\nbytes.fromhex('00')\nstr.__name__\nsorted(['b'], key=str)\nlist(map(len, ['a']))",
    "str = [1]\nstr.index(1)",
    "import datetime\ndatetime.datetime.now(datetime.timezone.utc).isoformat()\ndatetime.date.today()",
    "from datetime import datetime, timedelta\ndatetime.fromisoformat('2020-01-01T00:00:00Z')",
    "from datetime import datetime\ndatetime.strptime('2020-01-02', '%Y-%m-%d').strftime('%d %b')",
    "import os.path, math, random\nos.path.join('a', 'b')\nmath.sqrt(4)\nrandom.choice([1])",
    "from os import path\npath.join('a', 'b')",
    "from pathlib import Path\nPath('a/b').name",
    "import sys\nprint('x', file=sys.stderr)\nsys.maxsize",
    "eval('1')\nlocals()\nid(1)\nhash('a')\nisinstance(1, int | str)",
    "input = 'x'\ndir = 1\nprint(input, dir)",
    "def vars(x): return x\nvars(1)",
    "def f(open): return open('x')\nf(lambda x: x)",
    "def f(json): return json.JSONEncoder\nclass A:\n  JSONEncoder = 1\nf(A())",
    "x = [1, 2]\nx[::2] = [3]\nx[0] += 1\nx.pop(0)",
    "max([], default=0)\nsum([[1]], [])\nround(1.5, ndigits=1)\nlist(zip([1], [2], strict=True))",
    "list({'a': 1}.items())[0]\n{'a': 1}.keys() & {'a': 2}.keys()",
    "import os\ndef f(): return os.name\nf()",
    "return 5",
    "class A:\n  def __len__(self): return 3\nA().__len__()",
    "class A:\n  def __add__(self, o): return 1\n  def __eq__(self, o): return True\nA() + 1",
    "class A:\n  def __iter__(self): return iter([1])\n  def __getitem__(self, k): return k\nlist(A())",
    "class A:\n  def __call__(self): return 1\n  def __contains__(self, k): return True\nA()()\n1 in A()",
    "class A:\n  def __repr__(self): return 'a'\n  def __hash__(self): return 1\nf'{A()}'\n{A(): 1}\nNone",
    "from dataclasses import dataclass\n@dataclass(frozen=True, order=False)\nclass A:\n  x: int\nA(1)",
]

FAILS = [
    "def f():\n  yield 1\nf()",
    "def f():\n  yield from [1]\nf()",
    "x = {1: 2}\ndel x[1]",
    "class A: pass\nclass B(A): pass",
    "class E(Exception): pass",
    "class A(object): pass",
    "class A(metaclass=type): pass",
    "class A:\n  @property\n  def x(self): return 1",
    "class A:\n  @staticmethod\n  def x(): return 1",
    "class A:\n  a, b = 1, 2",
    "class A:\n  a = b = 1",
    "class A:\n  class B: pass",
    "class A:\n  print(1)",
    "class A:\n  None",
    "async def f():\n  async for x in y: pass",
    "async def f():\n  async with y: pass",
    "[x async for x in y]",
    "try:\n  pass\nexcept* ValueError: pass",
    "from math import *",
    "x = [1]\nx @= 1",
    "from . import x",
    "next(x for x in [1])",
    "next((x for x in [1]), None)",
    "x = (i for i in [1])\nnext(x)",
    "next(map(str, [1]))",
    "d = {'a': 1}\nmax(d, key=d.get)",
    "from collections import Counter\nc = Counter('aab')\nmax(c, key=c.get)",
    "from collections import defaultdict\nc = defaultdict(int)\nc['a'] += 1\nmax(c, key=c.get)",
    "from collections import deque\nc = deque()\nlist(map(c.append, [1]))",
    "x = []\nlist(map(x.append, [1]))",
    "list(map('a{}'.format, [1]))",
    "sorted(['b'], key=str.lower)",
    "str.lower('A')",
    "str.maketrans('a', 'b')",
    "x = 'a'\nx.translate({})",
    "s = {1}\ns.difference_update([1])",
    "list(map(dict.fromkeys, [[1]]))",
    "from datetime import datetime\nlist(map(datetime.fromisoformat, ['2020-01-01']))",
    "import re\nre.sub('a', lambda m: 'x', 'a')",
    "import re\ndef f(m): return 'x'\nre.sub('a', f, 'a')",
    "import re\np = re.compile('a')\np.sub(lambda m: 'x', 'a')",
    "import asyncio\nawait asyncio.gather(return_exceptions=True)",
    "from asyncio import gather\nawait gather(return_exceptions=True)",
    "import json\njson.dumps({}, default=str)",
    "import json as j\nj.loads('{}', object_hook=dict)",
    "import asyncio\nx = 1\nasyncio.create_task(x)",
    "from asyncio import create_task",
    "from datetime import datetime as dt\ndt.utcnow()",
    "import datetime\ndatetime.now()",
    "import os\nos.environ.get('HOME')",
    "from os import environ",
    "from os import getenv\ngetenv('HOME')",
    "open('x')",
    "with open('x', 'w') as f: pass",
    "input('name')",
    "import collections.abc",
    "from collections.abc import Mapping",
    "import asyncio.tasks",
    "import numpy as np",
    "from sklearn.cluster import KMeans",
    "import math\nif True:\n  import pandas",
    "import dataclasses\n@dataclasses.dataclass(order=True)\nclass A:\n  x: int",
    "from dataclasses import dataclass\n@dataclass(frozen=True, slots=True)\nclass A:\n  x: int",
    "from dataclasses import dataclass, field\n@dataclass\nclass A:\n  x: int = field(repr=False)",
]

IGNORED = {
    "__await__": ("self", "assert [await A()]"),
    "__bool__": ("self", "assert not A()"),
    "__bytes__": ("self", "bytes(A())"),
    "__format__": ("self, spec", "assert f'{A()}' == '0'"),
    "__ge__": ("self, other", "A() >= A()"),
    "__get__": ("self, thing, kind=None", "class B:\n  x = A()\nassert B().x == 0"),
    "__getattr__": ("self, name", "A().x"),
    "__getattribute__": ("self, name", "A().x"),
    "__gt__": ("self, other", "A() > A()"),
    "__le__": ("self, other", "A() <= A()"),
    "__len__": ("self", "len(A())"),
    "__lt__": ("self, other", "sorted([A(), A()])"),
    "__new__": ("cls", "assert A() == 0"),
    "__reversed__": ("self", "reversed(A())"),
    "__set__": ("self, thing, value", "class B:\n  x = A()\nb = B()\nb.x = 1\nassert b.x != 1"),
    "__setattr__": ("self, name, value", "a = A()\na.x = 1\nassert not hasattr(a, 'x')"),
}


@pytest.fixture(scope="module")
def monty() -> Iterator[Monty]:
    with Monty(min_processes=1) as pool:
        yield pool


def runs(pool: Monty, source: str) -> bool:
    try:
        with pool.checkout(limits={"max_feed_duration_secs": 5}) as session:
            session.feed_run(source, print_callback=lambda stream, text: None)
    except MontyError:
        return False
    return True


def found(source: str) -> tuple[Unsupported, ...]:
    program = parse(source)
    assert isinstance(program, Program), program
    return unsupported(program)


@pytest.mark.parametrize("source", RUNS)
def test_what_runs_is_not_reported(monty: Monty, source: str) -> None:
    assert runs(monty, source)
    assert found(source) == ()


@pytest.mark.parametrize("source", FAILS)
def test_what_is_reported_fails(monty: Monty, source: str) -> None:
    assert not runs(monty, source)
    reported = found(source)
    assert reported
    for item in reported:
        assert item.construct
        assert item.rewrite
        assert "\n" not in item.rewrite


def test_every_module_in_the_tables(monty: Monty) -> None:
    for module in dialect.MODULES:
        assert runs(monty, f"import {module}"), module
        assert found(f"import {module}") == ()
    for module in dialect.MISSING_MODULES:
        assert not runs(monty, f"import {module}"), module
        assert found(f"import {module}")[0].rewrite == dialect.MISSING_MODULES[module]


def test_every_attribute_in_the_tables(monty: Monty) -> None:
    for path, rewrite in dialect.MISSING_ATTRIBUTES.items():
        call = "('x')" if path == "os.getenv" else ""
        source = f"import {path.partition('.')[0]}\n{path}{call}"
        assert not runs(monty, source), path
        assert [item.rewrite for item in found(source)] == [rewrite], path
    for path in dialect.CALL_ONLY:
        assert not runs(monty, f"import datetime\nx = {path}"), path
        assert found(f"import datetime\nx = {path}"), path


def test_every_builtin_in_the_tables(monty: Monty) -> None:
    for name, rewrite in dialect.MISSING_BUILTINS.items():
        assert not runs(monty, f"x = {name}"), name
        assert [item.rewrite for item in found(f"x = {name}")] == [rewrite]
    for name in dialect.MISSING_EXCEPTIONS:
        assert not runs(monty, f"x = {name}"), name


def test_every_keyword_in_the_tables(monty: Monty) -> None:
    values = {"json.dumps": "{}", "json.loads": "'{}'", "asyncio.gather": "*[]"}
    for path, (keywords, rewrite) in dialect.MISSING_KEYWORDS.items():
        for keyword in keywords or {"return_exceptions"}:
            source = f"import {path.partition('.')[0]}\n{path}({values[path]}, {keyword}=None)"
            assert not runs(monty, source), source
            assert [item.rewrite for item in found(source)] == [rewrite]


def test_every_method_and_option_in_the_tables(monty: Monty) -> None:
    assert IGNORED.keys() == dialect.IGNORED_METHODS.keys()
    for name, (parameters, use) in IGNORED.items():
        source = f"class A:\n  def {name}({parameters}): return 0\n{use}"
        assert not runs(monty, source), name
        assert [item.construct for item in found(source)] == [f"{name} in class A"]
    silent = "class A:\n  def __setattr__(self, k, v): object.__setattr__(self, k, v)"
    assert [item.construct for item in found(silent)] == ["__setattr__ in class A"]
    for path, (options, rewrite) in dialect.MISSING_OPTIONS.items():
        for option, value in options.items():
            call = f"import dataclasses\n{path}({option}={{}})"
            source = call.format(value)
            assert not runs(monty, source), source
            assert [item.rewrite for item in found(source)] == [rewrite]
            assert found(call.format(not value)) == ()


def test_the_median_of_the_hint_is_the_median() -> None:
    (mean, median, result) = (part.split("`")[0] for part in _codes(dialect.MISSING_MODULES["statistics"]))
    assert mean == "sum(xs) / len(xs)"
    for xs, wanted in (([3, 1, 2], 2), ([4, 1, 2, 3], 2.5)):
        names = {"xs": xs, "s": sorted(xs), "len": len}
        assert median == "s = sorted(xs)"
        assert eval(result, names) == wanted


def _codes(text: str) -> list[str]:
    return text.split("`")[1::2]


@pytest.mark.parametrize(
    "source",
    [
        "import tools\nimport runtime\nfrom tools.github import issues\nimport tools.github as gh",
        "await input('x')\nawait help(1)\nawait open('x')\nawait compile(code='x')",
        "await help.articles.search('x')\ndir.list()",
        "x = await tools.dict.get(1)\nlist(map(tools.kv.get, [1]))",
        "def best(d): return max(d, key=d.get)",
        "d = {}\nd = await tools.kv.client()\nlist(map(d.get, [1]))",
        "for d in await tools.x():\n  max(d, key=d.get)",
    ],
)
def test_what_may_be_a_tool_is_not_reported(source: str) -> None:
    assert found(source) == ()


def test_position_and_rewrite() -> None:
    (item,) = found("counts = {}\nprint(1)\nbest = max(counts, key=counts.get)\n")
    assert (item.position.line, item.position.column) == (3, 24)
    assert item.position.source == "best = max(counts, key=counts.get)"
    assert "lambda k: d[k]" in item.rewrite
    assert "sorted(xs)[:n]" in found("import heapq")[0].rewrite
    assert "raise ValueError(" in found("class MyError(Exception): pass")[0].rewrite
    assert "asyncio.gather(*coros)" in found("import asyncio\nasyncio.create_task(f())")[0].rewrite
