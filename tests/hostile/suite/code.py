# ruff: noqa: E501  scripts are easier to read whole
"""Code a filter would not see: eval and exec, look-alike letters, hooks, bytecode, pickles, imports."""

from __future__ import annotations

from .case import REACH, Case, table

_FILE = "print.__self__.open('@SECRET@').read()"

_PATHS = {
    "the real open": f"@ARM@\n{_FILE}",
    "eval": "@ARM@\neval(\"print.__self__.open('@SECRET@').read()\")",
    "exec": "@ARM@\nd = {}\nexec(\"r = print.__self__.open('@SECRET@').read()\", d)\nd['r']",
    "compile": "@ARM@\nc = compile(\"print.__self__.open('@SECRET@').read()\", 'x', 'eval')\neval(c)",
    "eval of a tree": "import ast\n@ARM@\neval(compile(ast.parse(\"print.__self__.open('@SECRET@').read()\", mode='eval'), 'x', 'eval'))",
    "wide letters": "@ARM@\nｐｒｉｎｔ.__ｓｅｌｆ__.ｏｐｅｎ('@SECRET@').read()",
    "mathematical letters": "@ARM@\n𝒑𝒓𝒊𝒏𝒕.__𝒔𝒆𝒍𝒇__.𝒐𝒑𝒆𝒏('@SECRET@').𝐫𝐞𝐚𝐝()",
    "wide __import__": "@ARM@\nprint.__self__.__ｉｍｐｏｒｔ__('io').FileIO('@SECRET@').read()",
    "a decorator as a call": "@ARM@\n@lambda f: print.__self__.open('@SECRET@').read()\ndef r():\n    pass\nr",
    "an operator as a call": "class A:\n    __add__ = lambda self, p: print.__self__.open(p).read()\n@ARM@\nA() + '@SECRET@'",
    "an item as a call": "class A:\n    __getitem__ = lambda self, p: print.__self__.open(p).read()\n@ARM@\nA()['@SECRET@']",
    "a comparison as a call": "class A:\n    __lt__ = lambda self, p: print.__self__.open(p).read()\n@ARM@\nA() < '@SECRET@'",
    "a context manager": "class A:\n    def __enter__(self):\n        return print.__self__.open('@SECRET@').read()\n    def __exit__(self, *a):\n        pass\n@ARM@\nwith A() as x:\n    pass\nx",
    "an iterator": "class A:\n    def __iter__(self):\n        return iter([print.__self__.open('@SECRET@').read()])\n@ARM@\n[*A()]",
    "an import hook": "import typing\nclass H:\n    def find_spec(self, name, path=None, target=None):\n        global got\n        got = print.__self__.open('@SECRET@').read()\ntyping.sys.meta_path.insert(0, H())\n@ARM@\ntry:\n    print.__self__.__import__('nothing_of_this_name')\nexcept ImportError:\n    pass\ngot",
    "a codec": "import codecs\n@ARM@\ncodecs.open('@SECRET@').read()",
    "io.FileIO": "import io\n@ARM@\nio.FileIO('@SECRET@').read()",
    "an import system of its own": f"{REACH}\n@ARM@\nreach('posix').read(reach('posix').open('@SECRET@', 0), 99)",
    "importlib": "importlib = print.__self__.__import__('importlib')\n@ARM@\nimportlib.import_module('io').FileIO('@SECRET@').read()",
    "__import__": "@ARM@\nprint.__self__.__import__('posix').read(print.__self__.__import__('posix').open('@SECRET@', 0), 99)",
    "sys.modules": "import sys\n@ARM@\nsys.modules['io'].FileIO('@SECRET@').read()",
    "a pickle that runs os.system": "import pickle\nglobals()['__builtins__']['__import__'] = print.__self__.__import__\n@ARM@\npickle.loads(b\"cposix\\nsystem\\n(S'cat @SECRET@ > @FOLDER@/@TOKEN@-pickle'\\ntR.\")",
    "a pickle that opens": "import pickle\n@ARM@\npickle.loads(b\"cio\\nFileIO\\n(S'@SECRET@'\\ntR.\").read()",
    "a pickle by __reduce__": "import pickle\nglobals()['__builtins__']['__import__'] = print.__self__.__import__\nclass A:\n    def __reduce__(self):\n        return (eval, (\"print.__self__.open('@SECRET@').read()\",))\n@ARM@\npickle.loads(pickle.dumps(A()))",
    "copy by __reduce__": "import copy\nclass A:\n    def __reduce__(self):\n        return (eval, (\"print.__self__.open('@SECRET@').read()\",))\n@ARM@\ncopy.copy(A())",
    "marshal": f"{REACH}\nm = reach('marshal')\n@ARM@\neval(m.loads(m.dumps(compile(\"print.__self__.open('@SECRET@').read()\", 'x', 'eval'))))",
    "linecache": f"{REACH}\n@ARM@\nreach('linecache').getlines('@SECRET@')",
    "a traceback of a file": f"{REACH}\n@ARM@\ntry:\n    exec(compile('1/0', '@SECRET@', 'exec'))\nexcept Exception:\n    t = reach('traceback').format_exc()\nt",
    "runpy": f"{REACH}\n@ARM@\ntry:\n    reach('runpy').run_path('@SECRET@')\nexcept SyntaxError as e:\n    t = str(e) + e.text\nexcept NameError as e:\n    t = str(e)\nt",
    "tokenize": f"{REACH}\n@ARM@\nreach('tokenize').open('@SECRET@').read()",
    "fileinput": f"{REACH}\n@ARM@\n[*reach('fileinput').input('@SECRET@')]",
    "configparser": f"{REACH}\n@ARM@\ntry:\n    reach('configparser').ConfigParser().read('@SECRET@')\nexcept Exception as e:\n    t = str(e)\nt",
    "mmap": f"{REACH}\n@ARM@\nreach('mmap').mmap(reach('os').open('@SECRET@', 0), 0, access=1)[:]",
    "sqlite": f"{REACH}\n@ARM@\nreach('sqlite3').connect('@FOLDER@/@TOKEN@.db').execute('create table t(a)')",
    "logging": f"{REACH}\n@ARM@\nreach('logging').FileHandler('@FOLDER@/@TOKEN@.log').emit(reach('logging').makeLogRecord({{'msg': 'x'}}))",
    "an external entity": f"""{REACH}
@ARM@
e = reach('xml.parsers.expat').ParserCreate()
got = []
def load(context, base, system, public):
    got.append(print.__self__.open(system).read())
    return 1
e.ExternalEntityRefHandler = load
e.Parse('<!DOCTYPE r [<!ENTITY s SYSTEM "@SECRET@">]><r>&s;</r>', True)
got""",
    "shutil.copy": f"{REACH}\n@ARM@\nreach('shutil').copy('@SECRET@', '@FOLDER@/@TOKEN@-copy')",
    "tempfile": f"{REACH}\n@ARM@\nreach('tempfile').NamedTemporaryFile(dir='@FOLDER@', prefix='@TOKEN@', delete=False).write(b'x')",
    "the event loop's executor": "import asyncio\n@ARM@\nawait asyncio.get_running_loop().run_in_executor(None, lambda: print.__self__.open('@SECRET@').read())",
    "asyncio.to_thread": "import asyncio\n@ARM@\nawait asyncio.to_thread(lambda: print.__self__.open('@SECRET@').read())",
    "input": f"{REACH}\nsystem = reach('sys')\n@ARM@\nsystem.stdin = print.__self__.open('@SECRET@')\nprint.__self__.input()",
    "a breakpoint hook": f"{REACH}\nsystem = reach('sys')\nsystem.breakpointhook = lambda: print.__self__.open('@SECRET@').read()\n@ARM@\nprint.__self__.breakpoint()",
    "unpatching what was patched": f"{REACH}\nb = reach('builtins')\nimport types\nfresh = reach('_imp').create_builtin(reach('importlib.machinery').ModuleSpec('_io', None))\n@ARM@\nfresh.open('@SECRET@').read()",
    "bytecode by hand": "c = compile('0', 'x', 'eval').replace(co_code=compile(\"print.__self__.open('@SECRET@').read()\", 'x', 'eval').co_code, co_names=('print', '__self__', 'open', 'read'), co_consts=('@SECRET@',), co_stacksize=9)\n@ARM@\neval(c)",
}  # fmt: skip

# Refused by the language or the guest already, in most tiers.
_POLITE = {
    "license() and a path of its own": "@ARM@\nlicense._Printer__filenames = ['@SECRET@']\nlicense._Printer__lines = None\nlicense._Printer__setup()\nlicense._Printer__lines",
    "open": "@ARM@\nopen('@SECRET@').read()",
    "writing by open": "@ARM@\nopen('@FOLDER@/@TOKEN@', 'w').write('x')",
    "pathlib": "from pathlib import Path\n@ARM@\nPath('@SECRET@').read_text()",
    "os": "import os\n@ARM@\nos.read(os.open('@SECRET@', 0), 99)",
    "a folder": "import os\n@ARM@\nos.listdir('@FOLDER@')",
    "the environment": "import os\n@ARM@\nos.environ['ONETURN_CANARY']",
    "getenv": "import os\n@ARM@\nos.getenv('ONETURN_CANARY')",
    "system": "import os\n@ARM@\nos.system('touch @FOLDER@/@TOKEN@')",
    "subprocess": "import subprocess\n@ARM@\nsubprocess.run(['cat', '@SECRET@'])",
    "socket": "import socket\n@ARM@\nsocket.create_connection(('127.0.0.1', @PORT@))",
    "the host's package": "import oneturn.app\n@ARM@\noneturn.app.__file__",
    "the interpreter's package": "import pydantic_monty\n@ARM@\npydantic_monty.__file__",
}  # fmt: skip

# The interpreter may die of these, and then only it.
_CRASHES = {
    "a null pointer": f"{REACH}\n@ARM@\nreach('ctypes').string_at(0)",
    "bytecode that is none": "c = (lambda: 0).__code__.replace(co_code=b'\\x64\\xff' * 100, co_consts=())\n@ARM@\ntype(lambda: 0)(c, {})()",
    "abort": f"{REACH}\n@ARM@\nreach('os').abort()",
    "_exit": f"{REACH}\n@ARM@\nreach('os')._exit(0)",
    "_exit before any call": f"{REACH}\nreach('os')._exit(0)",
    "a fault on purpose": f"{REACH}\nf = reach('faulthandler')\n@ARM@\nf._sigsegv()",
    "stack overflow of the machine": f"{REACH}\nreach('sys').setrecursionlimit(10**8)\n@ARM@\ndef f():\n    f()\nf()",
    "stack overflow by repr": f"{REACH}\nreach('sys').setrecursionlimit(10**8)\n@ARM@\nx = []\nfor i in range(10**6):\n    x = [x]\nrepr(x)",
    "stack overflow by the parser": "@ARM@\neval('(' * 90 + 'x' + ')' * 90)\neval('-' * 10**6 + '1')",
    "the exit of the interpreter": "@ARM@\nraise SystemExit(3)",
    "KeyboardInterrupt": "@ARM@\nraise KeyboardInterrupt",
    "GeneratorExit": "@ARM@\nraise GeneratorExit",
    "CancelledError": "import asyncio\n@ARM@\nraise asyncio.CancelledError",
    "StopIteration": "@ARM@\nraise StopIteration(1)",
    "StopAsyncIteration": "@ARM@\nraise StopAsyncIteration",
    "a BaseException of its own": "class B(BaseException):\n    pass\n@ARM@\nraise B('x')",
    "an exception that cannot be shown": "class E(Exception):\n    def __str__(self):\n        raise self\n    __repr__ = __str__\n@ARM@\nraise E",
    "an exception with a name of no text": "E = type('E' * 100_000, (Exception,), {})\n@ARM@\nraise E('x')",
    "an exception that lies about its class": "class E(Exception):\n    __class__ = property(lambda self: 1/0)\n@ARM@\nraise E('x')",
    "an exception whose text is a subclass of text": "class S(str):\n    def __len__(self):\n        return 10**9\n    def __getitem__(self, i):\n        return self\n    def encode(self, *a):\n        1/0\nclass E(Exception):\n    def __str__(self):\n        return S('x' * 100)\n@ARM@\nraise E",
    "an exception whose text never ends": "class E(Exception):\n    def __str__(self):\n        while True:\n            pass\n@ARM@\nraise E",
    "an exception chained to itself": "a, b = ValueError('a'), ValueError('b')\na.__context__ = b\nb.__context__ = a\n@ARM@\nraise a",
    "an exception without frames": "import asyncio\ne = ValueError('x').with_traceback(None)\n@ARM@\nasync def f():\n    raise e\nawait asyncio.gather(f())",
    "a group of groups": "e = ValueError('x')\nfor i in range(90):\n    e = ExceptionGroup('g', [e, e])\n@ARM@\nraise e",
    "a wide group": "@ARM@\nraise ExceptionGroup('g', [ValueError('x' * 1000) for i in range(10_000)])",
    "half a pair in an error": "@ARM@\nraise ValueError('\\udcff' * 100)",
    "direction characters in an error": "@ARM@\nraise ValueError('\\u202e\\u2066\\x1b[2J\\x00\\U000e0041' * 50)",
    "atexit": f"{REACH}\na = reach('atexit')\na.register(lambda: [0 for _ in iter(int, 1)])\n@ARM@\n1",
    "a finaliser that never ends": "class A:\n    def __del__(self):\n        while True:\n            pass\nkept = A()\nme = kept\nkept.me = me\n@ARM@\n1",
    "a finaliser that calls a tool": "class A:\n    def __del__(self):\n        lab.save('late')\nkept = A()\n@ARM@\ndel kept\n1",
    "an unhandled task that calls on": "import asyncio\nasync def f():\n    while True:\n        try:\n            await asyncio.sleep(0)\n            await echo(1)\n        except BaseException:\n            pass\nt = asyncio.create_task(f())\n@ARM@\n1",
    "a cancelled task that does not end": "import asyncio\nasync def f():\n    while True:\n        try:\n            await asyncio.sleep(0.01)\n        except BaseException:\n            pass\nt = asyncio.create_task(f())\nawait asyncio.sleep(0)\nt.cancel()\n@ARM@\n1",
}  # fmt: skip

_UNICODE = {
    f"U+{ord(character):04X} in a name": f"x{character} = 1\nx{character}"
    for character in "\u202e\u2066\u200b\x1b\u00ad\U000e0041"
}

CASES: list[Case] = [
    *table("3 code paths", {f"file by {k}": v for k, v in _PATHS.items()}, fires=["secret", "file"]),
    *table("3 code paths", {f"politely: {k}": v for k, v in _POLITE.items()}),
    *table("3 code paths", {f"end by {k}": v for k, v in _CRASHES.items()}),
    *table("3 code paths", _UNICODE),
    *table(
        "8 policy",
        {
            "a look-alike letter": "@ARM@\nawait tools.l\u0430b.shared()",
            "wide letters for a namespace": "@ARM@\nawait tools.ｖａｕｌｔ.open_vault()",
            "letters of no width": "@ARM@\nawait getattr(tools.vault, 'open_vault\u200b')()",
            "direction turned round": "@ARM@\nawait getattr(tools.vault, '\u202etluav_nepo')()",
        },
    ),
]
