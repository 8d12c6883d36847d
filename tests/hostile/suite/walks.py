# ruff: noqa: E501  scripts are easier to read whole
"""Attribute walks, frames, exceptions, descriptors and formats.

In a language sandbox the walk itself must fail. In full Python it succeeds, and what counts is that it
leads nowhere: at the end of each stands the operating system, and from there a file of the host.
"""

from __future__ import annotations

from .case import Case, table

# What each route ends in: a thing through whose `open`, `os.open` or `__import__` a file is read.
_READ = """
@ARM@
def read(x):
    path = '@SECRET@'
    get = x.get if isinstance(x, dict) else lambda name: getattr(x, name, None)
    if get('print'):
        return get('print').__self__.open(path).read()
    if get('read'):
        return get('read')(get('open')(path, 0), 999)
    return get('open')(path).read()
str(read(x))
"""

_ROUTES = {
    "subclasses to a class of os": "x = [c for c in object.__subclasses__() if c.__name__ == '_wrap_close'][0].__init__.__globals__",
    "class, base, subclasses from a text": "x = ''.__class__.__base__.__subclasses__()\nx = [c for c in x if c.__name__ == '_wrap_close'][0].__init__.__globals__",
    "mro of a list": "x = [c for c in [].__class__.__mro__[1].__subclasses__() if c.__name__ == '_wrap_close'][0].__init__.__globals__",
    "self of a builtin": "x = print.__self__",
    "self of len through vars": "x = vars(len.__self__)",
    "globals of a function": "def f():\n    pass\nx = f.__globals__['__builtins__']\nx = x if isinstance(x, dict) else vars(x)",
    "builtins of a function": "x = (lambda: 0).__builtins__",
    "globals()": "x = globals()['__builtins__']",
    "names built at run time": "n = '_' * 2\nx = getattr(getattr(print, n + 'self' + n), 'open')\nx = {'open': x}",
    "getattr of getattr": "x = getattr(getattr, '__self__')",
    "operator.attrgetter": "import operator\nx = operator.attrgetter('__self__')(print)",
    "operator.methodcaller": "import operator\nx = operator.methodcaller('__getattribute__', '__self__')(print)",
    "object.__getattribute__": "x = object.__getattribute__(print, '__self__')",
    "a match pattern": "match print:\n    case object(__self__=x):\n        pass",
    "a match pattern on globals": "def f():\n    pass\nmatch f:\n    case object(__builtins__=x):\n        pass",
    "string.Formatter": "import string\nx = string.Formatter().get_field('0.__self__', (print,), {})[0]",
    "a format's field gets an object": "class F:\n    def __format__(self, spec):\n        return spec\nimport string\nx = string.Formatter().vformat('{0.__self__}', (print,), {})\nx = print.__self__",
    "modules of a module: random": "import random\nx = random._os",
    "modules of a module: collections": "import collections\nx = collections._sys.modules['os']",
    "modules of a module: typing": "import typing\nx = typing.sys.modules['os']",
    "modules of a module: dataclasses": "import dataclasses\nx = dataclasses.sys.modules['os']",
    "modules of a module: json": "import json\nx = json.codecs.builtins",
    "modules of a module: asyncio": "import asyncio\nx = asyncio.base_events.os",
    "modules of a module: enum": "import enum\nx = enum.sys.modules['posix']",
    "modules of a module: re": "import re\nx = re.enum.sys.modules['os']",
    "the loader of a module": "import json\nx = json.__loader__.__init__.__globals__['_os']",
    "the spec of a module": "import json\nx = json.__spec__.__init__.__globals__['sys'].modules['os']",
    "a builtin's module by name": "x = print.__self__.__import__('os')",
    "catch_warnings": "import warnings\nx = warnings.sys.modules['os']",
    "weakref of a class": "x = [c for c in object.__subclasses__() if c.__name__ == 'BuiltinImporter'][0].load_module('posix')",
    "a metaclass": "class M(type):\n    def __getattr__(cls, name):\n        return print.__self__\nclass A(metaclass=M):\n    pass\nx = A.anything",
    "a descriptor": "class D:\n    def __get__(self, obj, owner):\n        return print.__self__\n    def __set_name__(self, owner, name):\n        owner.other = print.__self__\nclass A:\n    d = D()\nx = A().d",
    "a property's getter": "class A:\n    @property\n    def p(self):\n        return print.__self__\nx = A.__dict__['p'].fget(None)",
    "the method-wrapper of a slot": "class A:\n    __slots__ = ('a',)\nx = A.a.__get__.__self__.__objclass__.__init__.__class__\nx = print.__self__",
    "__init_subclass__": "class A:\n    def __init_subclass__(cls, **kw):\n        cls.got = print.__self__\nclass B(A):\n    pass\nx = B.got",
    "__class_getitem__": "class A:\n    def __class_getitem__(cls, key):\n        return key.__self__\nx = A[print]",
    "__class__ assigned": "class A:\n    pass\nclass B:\n    def go(self):\n        return print.__self__\na = A()\na.__class__ = B\nx = a.go()",
    "__mro_entries__": "class E:\n    def __mro_entries__(self, bases):\n        global got\n        got = print.__self__\n        return ()\nclass A(E()):\n    pass\nx = got",
    "super without its class": "x = super(type, type).__self_class__.__subclasses__(object)\nx = [c for c in x if c.__name__ == '_wrap_close'][0].__init__.__globals__",
    "type of three arguments": "x = type('X', (), {'__getattr__': lambda self, n: print.__self__})().any",
    "functools.partial": "import functools\nx = functools.partial(getattr, print)('__self__')",
    "reduce over names": "import functools\nx = functools.reduce(getattr, ['__self__', '__dict__'], print)",
    "a lambda's default": "x = (lambda f=print: f.__self__)()",
    "a comprehension": "x = [f.__self__ for f in (print,)][0]",
    "the walrus": "x = (y := print).__self__",
    "the tool's own globals": "x = tools.lab.echo.__class__.__init__.__globals__ if hasattr(tools.lab, 'echo') else tools.__class__.__init__.__globals__\nx = x['__builtins__']\nx = x if isinstance(x, dict) else vars(x)",
    "the class of tools": "x = type(tools).__mro__[-1].__subclasses__()\nx = [c for c in x if c.__name__ == '_wrap_close'][0].__init__.__globals__",
    "the class of runtime": "x = type(runtime).__init__.__globals__['__builtins__'] if hasattr(type(runtime).__init__, '__globals__') else type(runtime).__call__.__globals__['__builtins__']\nx = x if isinstance(x, dict) else vars(x)",
    "the class of a tool's coroutine": "c = echo(1)\nx = c.cr_frame.f_globals['__builtins__'] if hasattr(c, 'cr_frame') else c.__class__.__init__.__globals__['__builtins__']\nawait c\nx = x if isinstance(x, dict) else vars(x)",
    "final_answer's globals": "x = final_answer.__globals__['__builtins__'] if hasattr(final_answer, '__globals__') else final_answer.__self__.__class__.__init__.__globals__['__builtins__']\nx = x if isinstance(x, dict) else vars(x)",
    "print's globals when it is replaced": "x = getattr(print, '__globals__', None) or vars(print.__self__)",
}  # fmt: skip

_FRAMES = {
    "a generator's frame": "def g():\n    yield 1\ni = g()\nx = i.gi_frame.f_builtins",
    "a generator's frame from inside": "def g():\n    yield i.gi_frame.f_back.f_builtins\ni = g()\nx = next(i)",
    "a generator's code": "def g():\n    yield 1\nx = g.__globals__['__builtins__']\nx = x if isinstance(x, dict) else vars(x)",
    "a coroutine's frame": "async def f():\n    pass\nmake = [f][0]\nc = make()\nx = c.cr_frame.f_builtins\nc.close()",
    "an async generator's frame": "async def g():\n    yield 1\nmake = [g][0]\nx = make().ag_frame.f_builtins",
    "an async generator thrown into": "async def g():\n    try:\n        yield 1\n    except ValueError as e:\n        yield e.__traceback__.tb_frame.f_builtins\nmake = [g][0]\ni = make()\nawait i.asend(None)\nx = await i.athrow(ValueError)",
    "an async generator that catches what ends it": "async def g():\n    try:\n        yield 1\n    except BaseException:\n        yield print.__self__\nmake = [g][0]\ni = make()\nawait i.__anext__()\nx = await i.athrow(GeneratorExit)",
    "yield from, reached from outside": "def g():\n    yield from h()\ndef h():\n    yield i.gi_frame.f_builtins\ni = g()\nx = next(i)",
    "a traceback": "try:\n    1/0\nexcept Exception as e:\n    x = e.__traceback__.tb_frame.f_builtins",
    "a traceback, up to the guest's own frames": "try:\n    1/0\nexcept Exception as e:\n    f = e.__traceback__.tb_frame\nwhile f.f_back:\n    f = f.f_back\nx = f.f_builtins",
    "a tool's failure": "try:\n    await lab.fail('x')\nexcept Exception as e:\n    t = e.__traceback__\n    while t.tb_next:\n        t = t.tb_next\n    x = t.tb_frame.f_builtins",
    "the context of an exception": "try:\n    try:\n        1/0\n    except Exception:\n        {}['k']\nexcept Exception as e:\n    x = e.__context__.__traceback__.tb_frame.f_builtins",
    "AttributeError.obj": "try:\n    print.nothing\nexcept AttributeError as e:\n    x = e.obj.__self__",
    "NameError and the frame": "try:\n    nothing_there\nexcept NameError as e:\n    x = e.with_traceback(None).__class__.__mro__[-1].__subclasses__()\nx = [c for c in x if c.__name__ == '_wrap_close'][0].__init__.__globals__",
    "except* with a group of its own": "class G(ExceptionGroup):\n    def derive(self, e):\n        return G('x', e)\n    def split(self, what):\n        global x\n        x = print.__self__\n        return super().split(what)\ntry:\n    raise G('x', [ValueError()])\nexcept* ValueError as e:\n    x = print.__self__",
    "except* confused about types": "class C(type):\n    def __instancecheck__(cls, obj):\n        return True\nclass B(ValueError, metaclass=C):\n    pass\ntry:\n    raise ExceptionGroup('x', [ValueError('y')])\nexcept* B as e:\n    x = e.__traceback__.tb_frame.f_builtins\nexcept* ValueError as e:\n    x = e.__traceback__.tb_frame.f_builtins",
    "sys._getframe": "import typing\nf = typing.sys._getframe()\nx = f.f_builtins",
    "sys._current_frames": "import typing\nx = [*typing.sys._current_frames().values()][0].f_builtins",
    "inspect.stack": "import inspect\nx = inspect.stack()[-1].frame.f_builtins",
    "gc for a function of import": "import typing\ngc = typing.sys.modules.get('gc') or print.__self__.__import__('gc')\nx = [o for o in gc.get_objects() if isinstance(o, dict) and 'popen' in o and 'fork' in o][0]",
    "gc for referrers of print": "gc = print.__self__.__import__('gc')\nx = [o for o in gc.get_referrers(print) if isinstance(o, dict) and 'open' in o][0]",
    "sys.settrace": "import typing\ngot = []\ndef t(f, e, a):\n    got.append(f.f_builtins)\ntyping.sys.settrace(t)\n(lambda: 0)()\ntyping.sys.settrace(None)\nx = got[0]",
    "__del__": "got = []\nclass A:\n    def __del__(self):\n        got.append(print.__self__)\nA()\nx = got[0]",
    "the exception hook": "import typing\nx = typing.sys.excepthook.__self__.modules['os']",
}  # fmt: skip

# Nothing of these reaches further than the words that come back; they must hold nothing of the host.
_WORDS = [
    "tools.__dict__", "tools.__reduce_ex__(2)", "vars(tools)", "dir(tools)", "vars(runtime)", "runtime._view.scope",
    "runtime.call.__globals__", "lab.__class__.__subclasses__()", "lab.shared.__closure__", "lab.shared.__wrapped__",
    "lab.shared.__self__", "lab.shared.__code__", "lab.shared.__globals__", "echo.__defaults__", "getattr(tools, 'vault').__dict__",
    "'{0.__class__.__init__.__globals__}'.format(tools)", "'{0.__class__}'.format(lab.shared)", "'{0.__self__.__dict__}'.format(print)",
    "'{a.__class__.__mro__}'.format_map({'a': tools})", "f'{tools.__class__.__init__.__globals__}'", "'%s' % (tools.__init__,)",
    "__builtins__", "__loader__", "__spec__", "__file__", "globals()", "locals()", "tools.__class__.__dict__",
    "[*map(repr, object.__subclasses__())]", "memoryview(b'x').obj.__class__", "type(lab).__dict__",
]  # fmt: skip

_CAUGHT = [
    "e.__traceback__.tb_frame.f_back.f_globals", "e.__traceback__.tb_next.tb_frame.f_locals", "e.__context__.args", "e.__cause__.args",
    "e.__class__.__mro__", "e.__init__.__globals__", "e.obj", "e.__reduce__()", "e.__dict__", "e.__notes__", "e.args",
    "[f.f_locals for f in __import__('inspect').getinnerframes(e.__traceback__)]",
]  # fmt: skip


def _words() -> list[Case]:
    cases = [
        Case(f"words of {walk}", "1 attribute walks", f"x = str({walk})\n@ARM@\nx[-9000:]") for walk in _WORDS
    ]
    for call in ("lab.crash()", "lab.fail('x')", "lab.nope()", "lab.save(1, 2, 3)"):
        for walk in _CAUGHT:
            code = f"""
f = getattr
try:
    await f({call.partition(".")[0]}, {call.partition(".")[2].partition("(")[0]!r})({call.partition("(")[2]}
except Exception as caught:
    e = caught
    x = str({walk})
@ARM@
x[-9000:]
"""
            cases.append(Case(f"{walk} of {call}", "2 frames", code))
    return cases


CASES = [
    *table("1 attribute walks", {k: f"{v}{_READ}" for k, v in _ROUTES.items()}, fires=["secret"]),
    *table("2 frames", {f"frames: {k}": f"{v}{_READ}" for k, v in _FRAMES.items()}, fires=["secret"]),
    *_words(),
]
