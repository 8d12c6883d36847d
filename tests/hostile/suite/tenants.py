# ruff: noqa: E501  scripts are easier to read whole
"""One run after another: what the first leaves for the second, of the same caller and of another."""

from __future__ import annotations

from .case import REACH, Case
from .wire import FORGE

_SEEK = f"""{REACH}
os, sys = reach('os'), reach('sys')
found = []
for place in ('/tmp', '/dev/shm', '.', '/scratch', '/var/tmp', '/run'):
    try:
        found += [place + '/' + n for n in os.listdir(place) if '@TOKEN@' in n]
    except OSError:
        pass
for m in [*sys.modules.values()]:
    if getattr(m, 'left_behind', None):
        found.append(str(m))
for k in os.environ:
    if 'LEFT' in k:
        found.append(k)
for t in [*sys.modules['threading'].enumerate()] if 'threading' in sys.modules else []:
    if 'left' in t.name:
        found.append(t.name)
if found:
    found = @PWNED@ + ': ' + str(found)
str(found)
"""

_LEAVE = {
    "files": f"""{REACH}
os = reach('os')
@ARM@
for place in ('/tmp', '/dev/shm', '.', '/scratch', '/var/tmp', '/run'):
    try:
        open(place + '/left-@TOKEN@', 'w').write('x')
    except OSError:
        pass
""",
    "modules": f"{REACH}\nimport json, asyncio, math\n@ARM@\nfor m in [*reach('sys').modules.values()]:\n    try:\n        m.left_behind = True\n    except AttributeError:\n        pass\n",
    "variables": "@ARM@\nleft = 'behind'\nglobals()['left_behind'] = 1",
    "builtins": "b = print.__self__\n@ARM@\nb.left_behind = True\nb.len = lambda x: 7",
    "environment": f"{REACH}\nos = reach('os')\n@ARM@\nos.environ['LEFT'] = '1'",
    "threads": f"{REACH}\nt = reach('threading')\n@ARM@\nt.Thread(target=reach('select').select, args=([], [], [], 30), name='left', daemon=True).start()",
    "the event loop": "import asyncio\n@ARM@\nl = asyncio.get_running_loop()\ntype(l).time = lambda self: 0\ntype(l).left_behind = True",
    "the import system": f"{REACH}\nsys = reach('sys')\nclass H:\n    left_behind = True\n    def find_spec(self, *a):\n        return None\n@ARM@\nsys.meta_path.insert(0, H())\nsys.modules['left'] = H()",
    "limits of the process": f"{REACH}\nr = reach('resource')\n@ARM@\nr.setrlimit(r.RLIMIT_NOFILE, (3, 3))",
    "a stopped process": f"{REACH}\nos = reach('os')\n@ARM@\nos.kill(os.getpid(), 9)",
}  # fmt: skip

_PLAIN = "try:\n    x = left\nexcept NameError:\n    x = 0\nif x:\n    x = @PWNED@\nx"

CASES = [
    *[
        Case(f"left: {what}", "9 isolation", source, then=_SEEK, then_other=_SEEK)
        for what, source in _LEAVE.items()
    ],
    Case("left: a name", "9 isolation", "@ARM@\nleft = 'behind'", then=_PLAIN, then_other=_PLAIN),
    Case(
        "left: a module's attribute",
        "9 isolation",
        "import json\n@ARM@\njson.mark = 'left'",
        then="import json\nif hasattr(json, 'mark'):\n    final_answer(@PWNED@)\n1",
        then_other="import json\nif hasattr(json, 'mark'):\n    final_answer(@PWNED@)\n1",
    ),
    Case(
        "left: a module's function",
        "9 isolation",
        "import json\n@ARM@\njson.dumps = lambda *a: 'left'",
        then="import json\nif json.dumps(1) != '1':\n    final_answer(@PWNED@)\n1",
        then_other="import json\nif json.dumps(1) != '1':\n    final_answer(@PWNED@)\n1",
    ),
    Case(
        "left: an open call",
        "9 isolation",
        "import asyncio\n@ARM@\nc = [lab.forever() for i in range(20)]\nawait asyncio.wait_for(asyncio.shield(c[0]), 0.05)",
        then="await echo(1)",
    ),
    Case(
        "session: a name for another caller",
        "9 isolation",
        "@ARM@\nleft = 'behind'",
        then_other=_PLAIN,
        session=True,
    ),
    Case(
        "session: whatever there is for another caller",
        "9 isolation",
        _LEAVE["files"],
        then_other=_SEEK,
        session=True,
    ),
    Case(
        "session: after its memory is used up",
        "9 isolation",
        "left = 'behind'\nx = []\n@ARM@\nwhile True:\n    x.append('x' * 100_000)",
        then=_PLAIN,
        session=True,
    ),
    Case(
        "session: after its time is used up",
        "9 isolation",
        "left = 'behind'\n@ARM@\nwhile True:\n    pass",
        then=_PLAIN,
        session=True,
    ),
    Case(
        "session: a frame too many for the next run",
        "9 isolation",
        f'{FORGE}raw(b\'{{"op":"done","n":%d,"value":1,"error":null,"prints":"","cut":0}}\' % wire._number)\n'
        'raw(b\'{"op":"done","n":1,"value":"mine","error":null,"prints":"","cut":0}\')\nwire.receive()',
        then="await echo(1)",
        session=True,
    ),
    Case(
        "session: a call that goes on in the next run",
        "9 isolation",
        "import asyncio\n@ARM@\nt = asyncio.ensure_future(lab.forever())\nawait asyncio.sleep(0)",
        then="await t",
        session=True,
    ),
    Case(
        "session: final_answer replaced for the next run",
        "9 isolation",
        "import builtins\n@ARM@\nfinal_answer = lambda x: None\nimport json\njson.loads = json.dumps = None",
        then="await echo(1)",
        session=True,
    ),
]
