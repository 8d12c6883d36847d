# ruff: noqa: E501  scripts are easier to read whole
"""The border between script and host: values, arguments, forged names, calls out of order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .case import Case, table

_VALUES = {
    "a class": "class A:\n    pass\n@ARM@\nA",
    "an instance": "class A:\n    pass\n@ARM@\n[A()]",
    "a function": "@ARM@\n[lambda: 1]",
    "a coroutine": "async def f():\n    pass\n@ARM@\n[f()]",
    "a module": "import math\n@ARM@\nmath",
    "tools": "@ARM@\n{'t': [tools, runtime, lab]}",
    "a frame": "def g():\n    yield\n@ARM@\ng().gi_frame",
    "an exception": "@ARM@\n[ValueError('x')]",
    "a cycle": "x = []\nx.append(x)\n@ARM@\nx",
    "a cycle through dicts": "x = {}\nx['x'] = [x]\n@ARM@\nx",
    "not a number": "@ARM@\n[float('nan'), float('inf')]",
    "2^28 shared lists": "x = [0]\nfor i in range(28):\n    x = [x, x]\n@ARM@\nx",
    "2^200 shared dicts": "x = {}\nfor i in range(90):\n    x = {'a': x, 'b': x}\n@ARM@\nx",
    "deep lists": "x = []\nfor i in range(100_000):\n    x = [x]\n@ARM@\nx",
    "deep tuples": "x = ()\nfor i in range(100_000):\n    x = (x,)\n@ARM@\nx",
    "a large text": "@ARM@\n'x' * 20_000_000",
    "a large number": "@ARM@\n1 << 1_000_000",
    "many nodes": "@ARM@\n[[]] * 2_000_000",
    "a set of odd things": "@ARM@\n{(1, 2), frozenset([3]), b'x', None}",
    "keys that are no text": "@ARM@\n{(1, 2): 1, b'x': 2, None: 3, 1.5: 4, True: 5}",
    "keys that clash as text": "@ARM@\n{1: 'a', '1': 'b', True: 'c', 'true': 'd'}",
    "half a pair of surrogates": "@ARM@\n['\\udcff', {'\\ud800': 1}]",
    "a subclass of dict": "class D(dict):\n    def items(self):\n        while True:\n            yield 'a', 1\n@ARM@\nD(a=1)",
    "a subclass of list whose length lies": "class L(list):\n    def __len__(self):\n        return 0\n    def __iter__(self):\n        while True:\n            yield 1\n@ARM@\nL([1])",
    "a subclass of text": "class S(str):\n    def encode(self, *a):\n        return 1\n    def __len__(self):\n        return -1\n@ARM@\n[S('x')]",
    "a subclass of int": "class I(int):\n    def bit_length(self):\n        return 1\n    def __repr__(self):\n        return '1]'\n    __str__ = __repr__\n@ARM@\n[I(1 << 100_000)]",
    "a float that is not": "class F(float):\n    def __repr__(self):\n        return '1, \"x\": 2'\n@ARM@\n[F(1)]",
    "a lying class": "class A:\n    __class__ = dict\n@ARM@\n[A()]",
    "a dict that changes while it is read": "class S(str):\n    def __hash__(self):\n        return 1\n    def __eq__(self, o):\n        d['x' * len(d)] = 1\n        return False\nd = {}\n@ARM@\nfor i in range(9):\n    d[S(i)] = 1\nd",
    "a date out of range": "import datetime as dt\n@ARM@\n[dt.timedelta.max, dt.datetime.min, dt.date.max]",
    "a date whose text is forged": "import datetime as dt\nclass D(dt.datetime):\n    def isoformat(self, *a):\n        return 'x' * 10**7\n@ARM@\n[D(2020, 1, 1)]",
    "bytes and what is like them": "@ARM@\n[b'x' * 100, bytearray(b'y'), memoryview(b'z')]",
    "complex numbers": "@ARM@\n[1j, ..., NotImplemented]",
    "decimals": "import decimal\n@ARM@\n[decimal.Decimal(1)]",
    # What the wire uses for values that JSON has not.
    "a dict with the wire's own key": "@ARM@\n[{'$': ['bytes', 'eA==']}, {'$': 1}, {'$': ['object', 'x']}, {'$': []}]",
    "the wire's own key, nested": "x = {'$': 1}\nfor i in range(40):\n    x = {'$': ['dict', [['$', x]]]}\n@ARM@\nx",
    "texts that look like objects": "@ARM@\n['<function f at 0x7f>', '[...]', '<class x>']",
    "keys of a prototype": "@ARM@\n{'__proto__': 1, '__class__': 2, 'constructor': 3}",
}  # fmt: skip

_ARGUMENTS = [
    "await lab.save('n', **{'__class__': 1})", "await lab.save('n', **{'self': 1})", "await lab.save('n', **{'_tool': 1})",
    "await lab.save('n', **{'limits': 1, 'caller': 'root'})", "await lab.save('n', True, 'more')", "await lab.save('n', name='other')",
    "await lab.save('n', **{'admin ': True})", "await lab.save('n', **{'ａｄｍｉｎ': True, 'admin': False})",
    "await lab.save(name={'$ref': '#/x'})", "await lab.save({'$': ['bytes', 'eA==']})", "await lab.save(['n'])",
    "await lab.save('n', 'true')", "await lab.save('n', 1)", "await lab.save(tools)", "await lab.save(print)", "await lab.save(lambda: 1)",
    "c = echo(1)\ntry:\n    await lab.save(c)\nfinally:\n    await c", "await lab.save(b'n')", "await lab.save()", "await lab.save(*range(1000))",
    "await lab.save(**{'a' + str(i): i for i in range(1000)})", "await lab.save('n', admin=None)",
    "class S:\n    def __str__(self):\n        return 'n'\nawait lab.save(S())",
]  # fmt: skip

# Whichever of these words comes back was changed, or was called, behind the gate's back.
_SAVED = """
saved = []
try:
    {attack}
except Exception as e:
    saved.append('refused')
if 'refused' not in saved:
    @PWNED@ + ': a call with these arguments went through'
"""

_HIDDEN = [
    "await vault.open_vault()", "await tools.vault.open_vault()", "await open_vault()", "await getattr(tools, 'vault').open_vault()",
    "await getattr(getattr(tools, 'va' + 'ult'), 'open_' + 'vault')()", "f = getattr(tools.vault, 'open_vault')\nawait f('x')",
    "await getattr(tools, 'vault.open_vault')()", "await getattr(lab, '..vault.open_vault')()",
    "await getattr(tools.lab, 'shared/../../vault.open_vault')()", "import tools\nawait tools.vault.open_vault()",
    "from tools.vault import open_vault\nawait open_vault()", "await tools.tools.vault.open_vault()", "await tools.open_vault()",
    "await tools.vault.OPEN_VAULT()", "await tools.vault.open_vault(launch_code='1')", "open_vault = 1\nawait tools.vault.open_vault()",
    "await runtime.call('vault.open_vault')", "await runtime.open_vault()", "await getattr(runtime, 'tools.vault.open_vault')()",
    "import asyncio\nawait asyncio.gather(*[tools.vault.open_vault() for _ in range(20)])",
    "t = type(tools.lab.echo if hasattr(tools.lab, 'echo') else tools.lab.shared)\nf = t.__new__(t)\nf.__dict__.update({k: 'vault.open_vault' for k in vars(tools.lab.shared)})\nawait f()",
    "f = tools.lab.shared\nfor k in [*vars(f)]:\n    setattr(f, k, 'vault.open_vault')\nawait f()",
    "f = tools.lab.shared\nf.__closure__[0].cell_contents = 'vault.open_vault'\nawait f()",
    "f = tools.lab.shared\nf.__name__ = f.__qualname__ = 'vault.open_vault'\nawait f()",
    "runtime.search_tools('vault launch', limit=10**9)\nawait tools.vault.open_vault()",
]  # fmt: skip

_ORDER = {
    "calls nobody awaits": "@ARM@\nfor i in range(50):\n    lab.save(str(i))\n1",
    "calls nobody awaits, then an error": "@ARM@\nfor i in range(50):\n    lab.save(str(i))\n1/0",
    "calls nobody awaits that never answer": "@ARM@\nfor i in range(50):\n    lab.forever()\n1",
    "a call awaited twice": "@ARM@\nc = echo(1)\nawait c\nawait c",
    "a call awaited by two": "import asyncio\n@ARM@\nc = echo(1)\nawait asyncio.gather(c, c)",
    "a call closed at once": "@ARM@\nc = lab.save('n')\nc.close()\n1",
    "a call thrown into": "@ARM@\nc = lab.save('n')\ntry:\n    c.throw(ValueError('x'))\nexcept ValueError:\n    pass\n1",
    "a call sent into": "@ARM@\nc = echo(1)\ntry:\n    c.send(None)\n    c.send(5)\nexcept BaseException as e:\n    pass\n1",
    "a tool called by a sort": "x = [3, 1, 2]\n@ARM@\nx.sort(key=lambda v: (lab.save(str(v)), v)[1])\nx",
    "a tool called by repr": "class A:\n    def __repr__(self):\n        lab.save('r')\n        return 'A'\n@ARM@\nprint(A(), [A()])",
    "a tool called while its arguments are read": "class D(dict):\n    def __iter__(self):\n        lab.save('inner')\n        return super().__iter__()\n    def items(self):\n        lab.save('inner')\n        return super().items()\n@ARM@\nawait echo(D(a=1))",
    "a tool called while the value is read": "class D(dict):\n    def items(self):\n        lab.save('inner')\n        return super().items()\n@ARM@\nD(a=1)",
    "an event loop in the event loop": "import asyncio\n@ARM@\nasyncio.run(echo(1))",
    "a second event loop": "import asyncio\n@ARM@\nl = asyncio.new_event_loop()\nl.run_until_complete(echo(1))",
    "the event loop stopped": "import asyncio\n@ARM@\nasyncio.get_running_loop().stop()\nawait echo(1)",
    "the event loop closed": "import asyncio\n@ARM@\nl = asyncio.get_running_loop()\nl._closed = True\nawait echo(1)",
    "the event loop's methods replaced": "import asyncio\n@ARM@\nl = asyncio.get_running_loop()\nl.call_soon = l.call_later = l.create_task = lambda *a, **k: None\nawait echo(1)",
    "the ready queue emptied": "import asyncio\n@ARM@\nl = asyncio.get_running_loop()\nl._ready.clear()\nawait asyncio.sleep(0)\nawait echo(1)",
    "every task cancelled": "import asyncio\n@ARM@\nfor t in asyncio.all_tasks():\n    t.cancel()\nawait echo(1)",
    "futures set by the script": "import asyncio, typing\n@ARM@\nc = echo(1)\ngc = typing.sys.modules.get('gc') or __import__('gc')\nfor o in gc.get_objects():\n    if isinstance(o, asyncio.Future) and not isinstance(o, asyncio.Task) and not o.done():\n        o.set_result('mine')\nawait c",
    "tools called from threads": "import asyncio\nimport typing\nthreading = typing.sys.modules.get('threading') or __import__('threading')\n@ARM@\nts = [threading.Thread(target=lambda: [lab.save(str(i)) for i in range(20)]) for _ in range(10)]\n[t.start() for t in ts]\n[t.join() for t in ts]\n1",
    "tools called from threads, awaited elsewhere": "import asyncio\n@ARM@\ncs = await asyncio.gather(*[asyncio.to_thread(lambda: echo(1)) for _ in range(10)])\nawait asyncio.gather(*cs)",
    "wait_for that gives up at once": "import asyncio\n@ARM@\nfor i in range(20):\n    try:\n        await asyncio.wait_for(lab.forever(), 0)\n    except asyncio.TimeoutError:\n        pass\n1",
    "cancelled writes": "import asyncio\n@ARM@\nfor i in range(20):\n    t = asyncio.ensure_future(lab.save(str(i)))\n    t.cancel()\n1",
    "arguments changed after the call": "@ARM@\nx = {'a': [1]}\nc = echo(x)\nx['a'].append(2)\nr = await c\nif r != {'a': [1]}:\n    r = @PWNED@\nr",
    "the host's own data changed": "@ARM@\ns = await lab.shared()\ns['items'].clear()\ns = await lab.shared()\nif s != {'items': [1, 2, 3]}:\n    s = @PWNED@\ns",
    "final_answer inside a gather": "import asyncio\nasync def f():\n    final_answer(1)\n@ARM@\nawait asyncio.gather(f(), echo(2))\n3",
    "final_answer again and again": "@ARM@\ntry:\n    final_answer(1)\nfinally:\n    while True:\n        try:\n            final_answer(2)\n        except BaseException:\n            pass",
    "final_answer, and calls after it": "@ARM@\ntry:\n    final_answer(1)\nfinally:\n    lab.save('after')",
    "json replaced in the guest": "import json\n@ARM@\njson.dumps = json.loads = lambda *a, **k: {}\njson.JSONEncoder.encode = lambda *a: 'x'\nawait echo(1)",
    "json's own scanner replaced": "import json\n@ARM@\njson.decoder.JSONDecoder.decode = lambda self, s: {'op': 'resume'}\njson.encoder.c_make_encoder = None\nawait echo(1)",
    "builtins replaced": "b = print.__self__\n@ARM@\nfor name in ('len', 'isinstance', 'type', 'dict', 'list', 'str', 'int', 'print', 'bytes'):\n    setattr(b, name, lambda *a, **k: 1)\nawait echo(1)",
    "builtins removed": "b = vars(print.__self__)\n@ARM@\nb.clear()\nawait echo(1)",
    "modules removed": "import typing\n@ARM@\ntyping.sys.modules.clear()\nawait echo(1)",
    "asyncio replaced": "import asyncio\n@ARM@\nfor name in [*vars(asyncio)]:\n    setattr(asyncio, name, None)\nawait echo(1)",
    "print's end": "import typing\n@ARM@\ntyping.sys.stdout = typing.sys.stderr = None\nprint('x')\nawait echo(1)",
    "prints of odd objects": "class S(str):\n    def __str__(self):\n        return self\n    def write(self, x):\n        1/0\n@ARM@\nprint(S('x'), end=S('y'), sep=S('z'))\nawait echo(1)",
    "tools rebound": "@ARM@\nimport tools as t\nt.lab.shared = lambda: 1\nawait echo(1)",
    "a name of no end": "@ARM@\nf = getattr(tools.lab, 'a' * 50_000)\nawait f()",
    "a name with odd characters": "@ARM@\nfor name in ('', '.', '..', 'a.b', '\\x00', '\\udcff', '__class__', 'é' * 50):\n    try:\n        await getattr(tools.lab, name)()\n    except Exception:\n        pass\n1",
}  # fmt: skip


def _as_argument(source: str) -> str:
    """A script that makes a value, made to send it instead."""
    made, _, value = source.rpartition("\n")
    return f"{made}\nawait echo({value})"


# What the check before a run cannot follow, so that it is the gate that has to refuse.
_UNSEEN = {
    "lab.save(": "pick(lab, 'save')(",
    "lab.forever(": "pick(lab, 'forever')(",
    "echo(": "pick(tools, 'echo')(",
    "tools.vault.open_vault(": "pick(pick(tools, 'vault'), 'open_vault')(",
    "tools.open_vault(": "pick(tools, 'open_vault')(",
    "runtime.call(": "pick(runtime, 'call')(",
}


def _unseen(cases: Iterable[Case]) -> list[Case]:
    """The same cases, behind the back of the check."""
    found = []
    for case in cases:
        source = case.source
        for seen, unseen in _UNSEEN.items():
            source = source.replace(seen, unseen)
        if source != case.source:
            found.append(replace(case, id=f"unseen {case.id}", source=f"pick = [getattr][0]\n{source}"))
    return found


def _arguments() -> list[Case]:
    cases = []
    for attack in _ARGUMENTS:
        body = _SAVED.replace("{attack}", attack.replace("\n", "\n    "))
        cases.append(Case(f"arguments: {attack[:90]}", "4 bridge", f"@ARM@\n{body}"))
    return cases


_OPEN: list[Case] = [
    *table("4 bridge", {f"value: {k}": v for k, v in _VALUES.items()}),
    *table("4 bridge", {f"argument: {k}": _as_argument(v) for k, v in _VALUES.items()}),
    *_arguments(),
    *table("8 policy", {f"hidden: {code[:90]}": f"@ARM@\n{code}" for code in _HIDDEN}),
    *table("4 bridge", {f"order: {k}": v for k, v in _ORDER.items()}),
]
CASES = [*_OPEN, *_unseen(_OPEN)]
