# ruff: noqa: E501 - a script on one line reads better than in pieces
"""Which scripts are left to Monty, held against the installed Monty and this Python.

Everything in SAME is left to Monty and comes out the same. Everything in DIFFERS needs full Python,
and really comes out otherwise in Monty: when a new Monty learns one of them, it fails here, and the tables
have to follow.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import contextlib
import inspect
import io
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic_monty import (
    FunctionSnapshot,
    FutureSnapshot,
    Monty,
    MontyComplete,
    MontyError,
    NameLookupSnapshot,
)
from tests.corpus.right import RIGHT

from oneturn.program import Program, monty_facts, needs_full_python, parse
from oneturn.program.parse import MAX_SOURCE_BYTES

SAME = [
    "d = {}\nfor w in 'a b a'.split():\n    d[w] = d.get(w, 0) + 1\nsorted(d.items(), key=lambda p: (-p[1], p[0]))",
    "rows = [{'n': 1, 's': 'x'}, {'n': 3, 's': 'y'}]\n[r['s'].upper() for r in rows if r['n'] > 1]",
    "rows = [{'n': 1, 't': 2.5}, {'n': 3, 't': 0.5}]\ntotal = 0\nfor r in rows:\n    total += r['n'] * r['t']\nf'{total:,.2f}'",
    "sum(x * 2 for x in [1, 2]), ', '.join(str(x) for x in [1, 2]), max((len(w) for w in ['a']), default=0)",
    "for i, (a, b) in enumerate(zip([1, 2], 'ab')):\n    print(i, a, b)",
    "for i, x in enumerate(['a', 'b'], 1):\n    print(i, x)\nfor a, b in zip([1, 2], 'ab'):\n    print(a, b)",
    "seen = set()\nfor x in [3, 1, 3]:\n    if x not in seen:\n        seen.add(x)\nsorted(seen), len(seen)",
    "sorted(set([3, 1]) | {2}), len({1} & {2}), {1} <= {1, 2}, max({3, 1})",
    "import json\njson.dumps({'b': [1, None, 1.5], 'é': True}, indent=2, sort_keys=True), json.loads('[1, 2.0]')",
    "import re\nre.findall(r'\\d+', 'a1b22'), re.sub('[aeiou]', '*', 'hello'), re.split(',', 'a,b')",
    "import re\nm = re.search(r'([a-z]+)=([0-9]+)', 'x k=12')\nm.group(1) if m else None, m and m.span()",
    "from datetime import date, datetime, timedelta\n(date(2024, 1, 31) + timedelta(days=30)).isoformat(), "
    "datetime(2024, 2, 29, 13, 5).strftime('%Y-%m-%d %H:%M %A'), (date(2024, 3, 1) - date(2024, 2, 1)).days",
    "from collections import Counter, defaultdict\nc = Counter('abca')\ng = defaultdict(list)\n"
    "for w in ['a', 'bb']:\n    g[len(w)].append(w)\nc.most_common(1), dict(g), c['z']",
    "import itertools\nlist(itertools.chain([1], [2])), [(k, len(list(g))) for k, g in itertools.groupby('aab')]",
    "class A:\n    n = 0\n    def __init__(self, x):\n        self.x = x\n        self.items = []\n    def add(self, y):\n"
    "        self.items.append(y)\n        return self\na = A(1).add(2)\na.x, a.items, a.n",
    "from dataclasses import dataclass, field\n@dataclass\nclass P:\n    x: int\n    tags: list = field(default_factory=list)\n"
    "p = P(1)\np.tags.append('a')\nprint(p, p == P(1, ['a']))",
    "try:\n    {}['k']\nexcept KeyError as e:\n    print('missing', e)\nfinally:\n    print('done')",
    "def f(n):\n    if n < 0:\n        raise ValueError(f'bad {n}')\n    return n\ntry:\n    f(-1)\nexcept Exception as e:\n    print(e)",
    "def f(x: int, y: list[str] | None = None, *a, z=1, **k) -> dict[str, int]:\n    return {'x': x, 'z': z}\nf(1, z=3, q=4)",
    "fs = [lambda x, i=i: x + i for i in range(3)]\n[f(1) for f in fs]",
    "x = [1, 2, 3, 4]\nx[::2], x[-1], x[1:3], x[::-1], 'abc'[::-1]",
    "match {'t': 'a', 'v': [1, 2]}:\n    case {'t': 'a', 'v': [x, *y]}:\n        print(x, y)\n    case _:\n        print('no')",
    "any(x == 2 for x in [1, 2]), all(c in 'abc' for c in 'ab'), any([1, 0])",
    "a, *b = [1, 2, 3]\na, b = b, a\n(a, b, [*b, 1] if isinstance(b, list) else 0, {**{'k': 1}})",
    "f'{3:>5}|{\"x\":*^7}|{2.5:.1%}|{1234567:,}|{255:#x}', '%05.1f|%-4s|' % (2.25, 'a'), '{:>4}'.format('x')",
    "keys = {'a': 1}.keys()\nfor k in keys:\n    print(k)\n'a' in keys, list(keys)",
    "if (n := len('abc')) > 2:\n    print(n)\nn is None, type(n).__name__, type(n) == int",
    "int(2.7), float(3), round(2.5), abs(-3), divmod(7, 2), 7 // 2, -7 % 3, 2 ** 100",
    # keys of dicts that the script makes of text and whole numbers, or reads beside other numbers
    "rows = [{'id': 1, 'v': 1.5, 'ok': True}, {'id': 2, 'v': 2, 'ok': False}]\n{r['id']: r for r in rows}",
    "rows = [{'id': 1, 'v': 1.5}, {'id': 2, 'v': 2}]\nfor r in rows:\n    r['half'] = r['v'] / 2\n    r['big'] = r['v'] > 1\n"
    "by = {}\nfor r in rows:\n    by.setdefault(r['id'], []).append(r['half'])\nby",
    "totals = {}\nfor name, x in [('a', 1.5), ('b', True), ('a', 2)]:\n    totals[name] = totals.get(name, 0.0) + x * 1.5\n"
    "{k: v for k, v in sorted(totals.items(), key=lambda p: -p[1])}, {k: i for i, k in enumerate(totals)}",
    "from collections import Counter, defaultdict\nt = defaultdict(float)\npairs = []\nfor i, w in enumerate('a b a'.split()):\n"
    "    t[w] += i / 2\n    pairs.append((w, t[w]))\ndict(pairs), dict(t), {n: w for w, n in Counter(w for w, _ in pairs).items()}",
    "def key(r):\n    return r['n'] % 3\ng = {}\nfor r in [{'n': 4, 'w': 0.5}, {'n': 1, 'w': True}]:\n    g.setdefault(key(r), []).append(r['w'])\ng",
    "c = {}\nfor x in [3, 1, 3]:\n    c[x] = c.get(x, 0) + 1\n{n: x for x, n in c.items()}, {(x, n): x > n for x, n in c.items()}",
    "d = {}\nd['sum'] = d.get('sum', 0) + 1.5\nd['all'] = [d['sum'], True]\ndict(zip(d, d.values()))",
    'import json\n{r[\'n\']: r for r in json.loads(\'[{"n": 1, "v": 1.5}, {"n": 2, "v": true}]\')}',
    "len({1, True, 1.0}), [1, 2.0].index(True), max([1, True, 1.0]), 1.0 in [True], sorted([1, True, 1.0])",
]

DIFFERS = [
    # values, prints and calls that would be silently others
    "round(2.675, 2)",
    "list({3, 1, 2})",
    "print({3, 1, 2})",
    "def f():\n    return {3, 1, 2}\n[x for x in f()]",
    "s = {3, 1, 2}\n','.join(str(x) for x in s)",
    "d = {'k': {3, 1, 2}}\nlist(d['k'])",
    "any(print(x) or x for x in [1, 2])",
    "g = (print(i) for i in [1])\nprint('first')\nlist(g)",
    "for x in map(print, [1, 2]):\n    print('body')",
    "xs = [1, 2, 3]\nfor i, x in enumerate(xs):\n    if i + 1 < len(xs):\n        xs[i + 1] += x\nxs",
    "xs = [1]\nfor i, x in enumerate(xs):\n    if len(xs) < 3:\n        xs.append(x)\nxs",
    "pairs = zip([1], [2])\n(list(pairs), list(pairs))",
    "len(str(map(str, [1])))",
    "f'{None:>8}'",
    "x = [None]\nf'{x[0]:<6}|'",
    "f'{...:+}'",
    "x = [None]\nf'{x[0]:+}'",
    "x = [[1]]\n'{:+}'.format(x[0])",
    "format(len, '-')",
    "f'{...:d}'",
    "from datetime import date\nf'{date(2024, 1, 2):d}'",
    "from datetime import date\nx = [date(2024, 1, 2)]\nf'{x[0]:+}'",
    "import re\nre.findall('b$', 'b\\n')",
    "import re\nre.findall('a*', 'a')",
    "import re\nre.findall(r'\\w+', 'कि')",
    "import re\nre.findall(r'\\s', '\\x1c')",
    "import re\nre.findall('[a-z]', 'İ', re.I)",
    "import re\nre.sub('a', '\\\\n', 'a')",
    "import re\nre.sub('(a)', r'\\1_', 'a')",
    "class A:\n    def __len__(self):\n        return 0\nbool(A())",
    "class A:\n    def __bool__(self):\n        return False\nbool(A())",
    "x = y = [1]\nx *= 2\ny",
    "x = y = {1, 2}\nx -= {1}\nlen(y)",
    "hasattr('a', 'upper')",
    "hash(1.5)",
    "float('inf') is float('inf')",
    "''.find('', 1)",
    "def f(x: undefined_name):\n    return 1\nf(1)",
    "try:\n    [] % 0 if [] else 1 // 0\nexcept ZeroDivisionError as e:\n    print(e)",
    "d = {}\ntry:\n    d[0]\nexcept KeyError as e:\n    print(e)",
    "d = {'a': 1}\nx = [d][0]\ntry:\n    x[1:]\nexcept KeyError:\n    print('key')\nexcept TypeError:\n    print('type')",
    "import math\nmath.gamma(0.1)",
    "locals() != {}",
    "print({1: 'a', True: 'b'})",
    "d = {1: 'a'}\nd[1.0] = 'b'\nprint(d)",
    "print({k: 0 for k in [1, 1.0]})",
    "print({k: 0 for k in [0.0, -0.0]})",
    "print({(1, 'a'): 0, (True, 'a'): 1})",
    "print(dict.fromkeys([1, True]))",
    "print(dict([(1, 'a'), (True, 'b')]))",
    "print(dict(zip([1, True], 'ab')))",
    "from collections import Counter\nprint(Counter([1, True]))",
    "from collections import Counter\nc = Counter([1])\nc.update([True])\nprint(c)",
    "from collections import Counter\nprint(Counter([1]) + Counter([1.0]))",
    "from collections import defaultdict\ng = defaultdict(int)\nfor k in [1, True]:\n    g[k] += 1\nprint(dict(g))",
    "from collections import defaultdict\ng = defaultdict(list)\nk = [True][0]\ng[k].append(0)\ng[1] = []\nprint(dict(g))",
    "a = {1: 2}\nb = {k: 3 for k in [True]}\nprint({**a, **b}, a | b)",
    "a = {1: 2}\na.update([(True, 3)])\nprint(a)",
    "d = {}\nfor k in [1, True]:\n    d[k] = d.get(k, 0) + 1\nprint(d)",
    "d = {}\nk = [True][0]\nd.setdefault(k, 0)\nd[1] = 1\nprint(d)",
    "def tally(xs):\n    return {x: 0 for x in xs}\nprint(tally([1, 2 > 1]))",
    "def mixed(x=True):\n    return [1, x]\nprint({x: 0 for x in mixed()})",
    "rows = [{'n': 1}, {'n': 2}]\nfor r in rows:\n    r['n'] = 1 if r['n'] == 1 else r['n'] / 2\nprint({r['n']: r for r in rows})",
    "import itertools\nprint(list(dict.fromkeys(list(itertools.chain([1.5, 1, True])))))",
    "import json\nprint({v: k for k, v in json.loads(json.dumps({'a': 1, 'b': True})).items()})",
    "import json\nprint({json.loads(x): 0 for x in ['1', '1.0']})",
    "import json\nprint({r['n']: r['n'] for r in json.loads('[{\"n\": 1}, {\"n\": true}]')})",
    "from collections import Counter\ndef f(x):\n    return Counter(x)\nprint(f({'a': [1], 'b': 2}))",
    "xs = [1]\nys = [xs]\nys[0].append(True)\nprint(dict.fromkeys(xs))",
    "class A:\n    def __init__(self):\n        self.items = [1]\n    def add(self, x):\n        self.items.append(x)\na = A()\na.add(1.0)\nprint({x: 0 for x in a.items})",
    "d = {}\nd['n'] = d\nprint(d)",
    "d = {}\ne = d\nd.setdefault('n', []).append(e)\nprint(d)",
    "it = iter([1, 2, 3])\nprint(any(x == 1 for x in it), list(it))",
    "xs = [1, 2]\nys = [xs]\nfor i, x in enumerate(xs):\n    if len(xs) < 5:\n        ys[0].append(1)\nprint(xs)",
    "a = b = [1]\nc = a\nc.append(a)\nprint(a)",
    "try:\n    b'a' + ''\nexcept TypeError as e:\n    print(e)",
    # what fails in one of them
    "x = [1]\nx += (2,)\nx",
    "x = [1]\nx += 'ab'\nx",
    "def f():\n    yield 1\nlist(f())",
    "class A: pass\nclass B(A): pass\nB.__name__",
    "x = {1: 2}\ndel x[1]\nx",
    "class A:\n    @property\n    def x(self):\n        return 1\nA().x",
    "d = {'a': 1}\nmax(d, key=d.get)",
    "sorted(['b', 'A'], key=str.lower)",
    "class A:\n    def __init__(self, x):\n        self.x = x\n    def __lt__(self, other):\n        return self.x < other.x\n"
    "min([A(2), A(1)]).x",
    "import heapq\nheapq.nsmallest(1, [2, 1])",
    "next(x for x in [1])",
    "int('٣')",
    "float('٣')",
    "raise ValueError(5)",
    "raise ValueError('a', 'b')",
    "try:\n    raise ValueError(5)\nexcept ValueError as e:\n    print(e.args)",
    "{1} in [{1}] and {1} in {frozenset({1})}",
    "{'a': 1}.keys() <= {'a': 1, 'b': 2}.keys()",
    "{1}.union([2], [3]) == {1, 2, 3}",
    "from datetime import timedelta\nstr(timedelta(days=1.5))",
    "from datetime import timedelta\nstr(timedelta(days=1) * 1.5)",
    "from datetime import datetime\nstr(datetime.fromisoformat('20240102'))",
    "from datetime import datetime\nstr(datetime.strptime('3:04 PM', '%I:%M %p'))",
    "import json\njson.dumps({'a': 1}, default=str)",
    "import json\nlen(json.loads('\"\\\\ud800\"'))",
    "import re\nre.sub('a', lambda m: 'x', 'a')",
    "(5).bit_length()",
    "'a'.translate({97: 'z'})",
    "def f(): pass\nf.count = 1\nf.count",
    "def f(): pass\nf.__name__",
    "callable(1)",
    "def f():\n    return [await x for x in []]\nprint('ran')",
    "print('ran')\n[x for x in range(3) if (x := 1)]",
    "x = 1; match = 2\nmatch",
    "isinstance(1, memoryview)",
    "isinstance(1, (int, ConnectionError)), isinstance('a', (int, ConnectionError))",
    "import collections\nisinstance({}, collections.OrderedDict)",
]

# Each gets a ConnectionError from the tool, which Monty does not have.
TOLD_AS_TEXT = [
    "try:\n    await find()\nexcept Exception as e:\n    print(e, str(e), f'{e}', f'{e!s}', e.args)",
    "try:\n    await find()\nexcept OSError as e:\n    print(isinstance(e, OSError), isinstance(e, (TimeoutError, str)))",
    "try:\n    await find()\nexcept (ValueError, OSError):\n    print('caught')",
    "try:\n    await find()\nexcept Exception as e:\n    try:\n        raise\n    except OSError as f:\n        print('again', f)",
    "try:\n    await find()\nexcept KeyError as e:\n    print(repr(e))\nexcept Exception:\n    print('other')",
    "for e in [1, 2]:\n    print([e], type(e).__name__, [x + e for x in [1]])\ntry:\n    await find()\nexcept Exception as e:\n    print(e)",
    "def f(rows):\n    return [type(e).__name__ for e in rows]\ntry:\n    await find()\nexcept Exception as e:\n    print(e, f([1]))",
    "try:\n    int('x')\nexcept ValueError as e:\n    print(type(e).__name__)\ntry:\n    await find()\nexcept OSError:\n    print(1)",
]
SHOWN = [
    "try:\n    await find()\nexcept OSError as e:\n    print(type(e).__name__)",
    "try:\n    await find()\nexcept Exception as e:\n    print(repr(e))",
    "try:\n    await find()\nexcept (KeyError, Exception) as e:\n    print(f'{e!r}')",
    "try:\n    await find()\nexcept Exception as e:\n    print([e])",
    "try:\n    await find()\nexcept Exception as e:\n    print(isinstance(e, ConnectionError))",
    "try:\n    await find()\nexcept ConnectionError:\n    print('no connection')",
    "def show(error):\n    return type(error).__name__\ntry:\n    await find()\nexcept Exception as e:\n    print(show(e))",
    "def show():\n    return type(e).__name__\ntry:\n    await find()\nexcept Exception as e:\n    print(show())",
    "try:\n    await find()\nexcept Exception as e:\n    try:\n        raise\n    except Exception as f:\n        print(type(f).__name__)",
    "async def f():\n    return await find()\ntry:\n    await f()\nexcept Exception as e:\n    print({'error': e})",
    "def show():\n    print(repr(e))\ndef f():\n    global e\n    try:\n        raise\n    except Exception as e:\n        show()\n"
    "try:\n    await find()\nexcept Exception:\n    f()",
    "seen = []\ntry:\n    await find()\nexcept Exception as e:\n    seen.append(e)\nprint(seen)",
]

ALWAYS = [
    "xs = (1, 2)\nxs.append(await crm.find(3))",
    "d = {}\nd.append(len(x))",
    "import asyncio\nasync def f(x):\n    return await crm.find(x)\ntry:\n    await asyncio.gather(f(1), f(2))\nexcept Exception:\n    print('failed')",
    "def f(a, b):\n    for i, x in enumerate(a):\n        b.append(x)\nf([1], [])",
    "import numpy",
    "from os import environ",
    "with x as y: pass",
    "async for x in y: pass",
    "class A:\n    def __getattr__(self, name): return 1",
    "eval('1')",
    "exec('x = 1')",
    "globals()",
    "open('x')",
    "x = set\nx([1])",
    "print(*{1, 2})",
    "return {1, 'a'}",
    "await crm.save({1, 2})",
    "import re\nreturn re.search('a', 'a')",
    "import re\nawait crm.save([re.search('a', 'a')])",
    "import hashlib\nreturn hashlib.md5(b'a')",
    "from collections import namedtuple\nP = namedtuple('P', 'x')\nreturn P(1)",
    "import random\nrandom.seed()",
    "x = await crm.find(1)\nint(x)",
    "x = await crm.find(1)\n{k: 0 for k in [x, True]}",
    "x = await crm.find([1, True])\n{k: 0 for k in x}",
    "x = await crm.find(1)\nx += x\nx",
    "a = b = await crm.find(1)\na is b",
]

CAUGHT = (
    *(
        "PermissionError",
        "FileNotFoundError",
        "TimeoutError",
        "OSError",
        "ZeroDivisionError",
        "ArithmeticError",
    ),
    *(
        "KeyError",
        "IndexError",
        "LookupError",
        "NotImplementedError",
        "RuntimeError",
        "TypeError",
        "ValueError",
    ),
    "Exception",
)


def python(source: str) -> tuple[str, ...]:
    """What a script of this file comes to here: its value or the kind of its error, and what it prints."""
    printed = io.StringIO()
    names: dict[str, Any] = {"__name__": "__main__"}
    value = None
    try:
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, "script.py", "exec", dont_inherit=True), names)
            if isinstance(last, ast.Expr):
                value = eval(
                    compile(ast.Expression(last.value), "script.py", "eval", dont_inherit=True), names
                )
    except Exception as error:
        return "error", type(error).__name__, printed.getvalue()
    return "value", repr(value), printed.getvalue()


@pytest.fixture(scope="module")
def pool() -> Iterator[Monty]:
    with Monty() as pool:
        yield pool


def monty(pool: Monty, source: str) -> tuple[str, ...]:
    """The same of Monty."""
    printed: list[str] = []
    with pool.checkout() as session:
        try:
            value = session.feed_run(source, print_callback=lambda _stream, text: printed.append(text))
        except MontyError as error:
            inner = error.exception() if hasattr(error, "exception") else error
            return "error", type(inner).__name__, "".join(printed)
    return "value", repr(value), "".join(printed)


async def python_with(error: Exception, source: str) -> str:
    """What a script prints here when the tool `find` raises an error."""

    async def find() -> None:
        raise error

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = compile(source, "script.py", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        running = eval(code, {"find": find})
        assert inspect.isawaitable(running)
        await running
    return printed.getvalue()


def monty_with(pool: Monty, error: Exception, source: str) -> str:
    """The same of Monty."""
    printed: list[str] = []
    with pool.checkout() as session:
        step = session.feed_start(source, print_callback=lambda _stream, text: printed.append(text))
        while not isinstance(step, MontyComplete):
            if isinstance(step, NameLookupSnapshot):
                step = step.resume()
            elif isinstance(step, FunctionSnapshot):
                step = step.resume({"future": ...})
            else:
                assert isinstance(step, FutureSnapshot)
                step = step.resume({call: {"exception": error} for call in step.pending_call_ids})
    return "".join(printed)


def kinds_a_tool_may_raise() -> Iterator[Exception]:
    """Every kind of Python's own that is made of a text, and that a coroutine can raise."""
    for kind in vars(builtins).values():
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            continue
        if not issubclass(kind, StopIteration | StopAsyncIteration):
            with contextlib.suppress(TypeError):
                yield kind("find: refused")


def parsed(source: str) -> Program:
    program = parse(source)
    assert isinstance(program, Program)
    return program


@pytest.mark.parametrize("source", SAME)
def test_what_is_the_same_is_left_to_monty(pool: Monty, source: str) -> None:
    assert needs_full_python(parsed(source)) is None
    assert monty(pool, source) == python(source)


@pytest.mark.parametrize("source", DIFFERS)
def test_what_comes_out_otherwise_needs_full_python(pool: Monty, source: str) -> None:
    assert needs_full_python(parsed(source)) is not None
    assert monty(pool, source) != python(source)


@pytest.mark.parametrize("source", ALWAYS)
def test_a_doubt_needs_full_python(source: str) -> None:
    assert needs_full_python(parsed(source)) is not None


@pytest.mark.parametrize("source", TOLD_AS_TEXT)
def test_an_error_of_a_tool_that_is_told_as_text_is_left_to_monty(pool: Monty, source: str) -> None:
    error = ConnectionError("find: refused")
    assert needs_full_python(parsed(source)) is None
    assert monty_with(pool, error, source) == asyncio.run(python_with(error, source))


@pytest.mark.parametrize("source", SHOWN)
def test_an_error_of_a_tool_that_is_shown_needs_full_python(pool: Monty, source: str) -> None:
    error = ConnectionError("find: refused")
    assert needs_full_python(parsed(source)) is not None
    here = asyncio.run(python_with(error, source))
    with contextlib.suppress(MontyError):
        assert monty_with(pool, error, source) != here


def test_every_kind_that_monty_lacks_is_caught_and_told_the_same(pool: Monty) -> None:
    handlers = "".join(f"except {name} as e:\n    print('{name}', e, e.args)\n" for name in CAUGHT)
    for error in kinds_a_tool_may_raise():
        for source in (f"try:\n    await find()\n{handlers}", TOLD_AS_TEXT[0]):
            assert needs_full_python(parsed(source)) is None
            assert monty_with(pool, error, source) == asyncio.run(python_with(error, source))


def test_a_kind_that_monty_lacks_needs_full_python_where_it_is_shown(pool: Monty) -> None:
    shows = "try:\n    await find()\nexcept {} as e:\n    print(type(e).__name__)"
    for error in kinds_a_tool_may_raise():
        for name in (
            kind.__name__ for kind in type(error).__mro__ if kind.__name__ in monty_facts.EXCEPTIONS
        ):
            source = shows.format(name)
            if monty_with(pool, error, source) != asyncio.run(python_with(error, source)):
                assert needs_full_python(parsed(source)) is not None


def test_a_shown_error_is_the_reason() -> None:
    reason = needs_full_python(parsed(SHOWN[0]))
    assert reason is not None
    assert reason.sentence == (
        "line 4 uses the caught error e beyond its text, which may be of a kind that Monty does not have"
    )


def test_most_right_scripts_are_left_to_monty() -> None:
    left = [source for source in RIGHT.values() if needs_full_python(parsed(source)) is None]
    assert len(left) >= 0.9 * len(RIGHT)


def test_the_reason_is_one_sentence_with_the_line() -> None:
    reason = needs_full_python(parsed("x = 1\n\ndef f():\n    yield x"))
    assert reason is not None
    assert (reason.construct, reason.position.line) == ("a generator", 4)
    assert reason.sentence == "line 4 uses a generator, which Monty does not have"


def test_the_first_reason_is_told() -> None:
    reason = needs_full_python(parsed("import heapq\ndef f():\n    yield 1"))
    assert reason is not None
    assert reason.sentence == "line 1 uses the module heapq, which is not known to be the same in Monty"


@pytest.mark.parametrize(
    "piece",
    [
        *("x=x\n", "a=[b]\n", "x+1;", "for i in enumerate(x):x[0]=f()\n", "{x}|", "[x for x in "),
        *("x=y;y=z;z=x\n", "x=f(lambda a:a(x))(x);d[x]=1\n", "for x in y:y[x]=x.get(y,x);x=d[y]\n"),
    ],
)
def test_long_scripts_are_looked_at_within_bounds(piece: str) -> None:
    source = piece * (MAX_SOURCE_BYTES // len(piece) - 1) + "0"
    program = parse(source)
    if isinstance(program, Program):
        needs_full_python(program)


@pytest.mark.parametrize(
    "script",
    [
        "x = 1\n" + " + ".join("x" * 199),
        "x = 1\n" + " and ".join("x" * 199),
        "x = 5\nif x == 0:\n    y = 0\n" + "".join(f"elif x == {n}:\n    y = {n}\n" for n in range(1, 199)),
        "s = 'a'\ns" + ".strip()" * 199,
        "f(" + "1," * 256 + ")",
        "f(" + "".join(f"a{n}=1," for n in range(256)) + ")",
        "def f(" + "".join(f"a{n}=1," for n in range(256)) + "): pass",
        "".join(f"a{n}, " for n in range(256)) + "= range(256)",
        "[1 " + "for a in [1] " * 130 + "]",
        "".join(" " * n + f"def f{n}():\n" for n in range(14)) + " " * 14 + "return 1\n",
    ],
)
def test_what_monty_may_not_compile_needs_full_python(script: str) -> None:
    reason = needs_full_python(parsed(script))
    assert reason is not None
    assert reason.sentence.endswith("Monty may not compile")
