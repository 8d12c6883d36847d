# ruff: noqa: E501  scripts are easier to read whole
"""What a case is: a script that means harm, and what is seen outside if it has its way.

A script may hold these words, which the player replaces by what it planted: `@ARM@` (a call that says
"this is as far as the language lets me, now the act"), `@SECRET@` (a file), `@FOLDER@` (a folder anyone may
write to), `@TOKEN@` (in the name of everything that is made), `@PORT@`, `@UNIX@` and `@ABSTRACT@` (listeners),
`@HOST@` and `@VICTIM@` (process ids), `@SHM@` (a segment of shared memory), `@FD@` (a descriptor the host left
open). What counts as success and cannot be seen from outside, such as a system call that should have been
refused, the script says itself, with `@PWNED@`, which is only spelt out when the script runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Class = Literal[
    "1 attribute walks",
    "2 frames",
    "3 code paths",
    "4 bridge",
    "5 resources",
    "6 floods",
    "7 files",
    "7 network",
    "7 processes",
    "7 system",
    "8 policy",
    "9 isolation",
]

PWNED = "pwned-by-the-guest"

Oracle = Literal[
    "secret", "connection", "file", "process", "victim", "host", "host memory", "guest memory", "event loop",
    "deadline", "hidden tool", "record", "next run", "said so", "exception", "outcome size", "descriptors",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes:
        id: What it does, in a few words; unique.
        cls: The class of technique, as in the threat model.
        source: The script.
        fires: Oracles of which at least one must fire where nothing confines the script, so that a case
            cannot be held by an oracle that is blind. Empty where the defence is the bridge, which is
            the same everywhere.
        slow: It goes on until a limit ends it; only a few of these are played by every `make test`.
        then: A second script for the same caller, judged by the same oracles.
        then_other: A second script for another caller.
        session: The scripts share a session.
        claim: A control this case tries; tiers that do not claim it are not held to it.
    """

    id: str
    cls: Class
    source: str
    fires: frozenset[Oracle] = frozenset()
    slow: bool = False
    then: str = ""
    then_other: str = ""
    session: bool = False
    claim: str = ""

    def script(self, planted: Mapping[str, str]) -> tuple[str, str, str]:
        """Its three scripts, with what was planted filled in."""
        return tuple(_filled(text, planted) for text in (self.source, self.then, self.then_other))  # type: ignore[return-value]


def _filled(text: str, planted: Mapping[str, str]) -> str:
    text = text.replace("@PWNED@", "('pwned' + '-by-the-guest')").replace("@ARM@", "await tools.lab.armed()")
    for word, value in planted.items():
        text = text.replace(f"@{word}@", value)
    assert PWNED not in text
    return text


def table(
    cls: Class, cases: Mapping[str, str], *, fires: Iterable[Oracle] = (), slow: bool = False, claim: str = ""
) -> list[Case]:
    """Cases of one class that are alike in everything but the script."""
    return [Case(id, cls, source, frozenset(fires), slow, claim=claim) for id, source in cases.items()]


REACH = """
def reach(name):
    # Any module of CPython, whatever the guest's own rules for imports say: through the class of module
    # specs to the import system itself, whose finders are put back as they came.
    boot = [c for c in object.__subclasses__() if c.__name__ == 'ModuleSpec'][0].__init__.__globals__
    system, outer = boot['sys'], boot['_bootstrap_external']
    for module in ('builtins', 'posix'):
        system.modules.setdefault(module, boot['_builtin_from_name'](module))
    system.modules['builtins'].__import__ = boot['__import__']
    system.meta_path[:] = [boot['BuiltinImporter'], boot['FrozenImporter'], outer.PathFinder]
    system.path_hooks[:] = [outer.FileFinder.path_hook(*outer._get_supported_file_loaders())]
    library = '%s/lib/python%d.%d' % (system.base_prefix, *system.version_info[:2])
    system.path[:] = list(system.path) + [library, library + '/lib-dynload']
    system.path_importer_cache.clear()
    have = system.modules.get(name)
    return have if have is not None else boot['_gcd_import'](name)
def undo():
    # What the guest put in the place of functions of the system, put back from modules made anew.
    reach('io').open = reach('_io').open
    os, make = reach('os'), reach('_imp')
    fresh = make.create_builtin(reach('posix').__spec__)
    make.exec_builtin(fresh)
    for name in dir(fresh):
        if type(getattr(fresh, name)) is type(len) and name in vars(os):
            setattr(os, name, getattr(fresh, name))
undo()
open = reach('io').open
"""

LIBC = f"""{REACH}
os = reach('os')
ctypes = reach('ctypes')
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def syscall(number, *args):
    return libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
"""


def os_case(body: str, *modules: str) -> str:
    """A script that reaches modules of the operating system, arms, and goes on with `body`."""
    lines = [
        REACH,
        *(f"{module.rpartition('.')[2]} = reach({module!r})" for module in modules),
        "@ARM@",
        body,
    ]
    return "\n".join(lines)


def libc_case(body: str, *modules: str) -> str:
    """A script that reaches the C library, arms, and goes on with `body`."""
    lines = [LIBC, *(f"{module.rpartition('.')[2]} = reach({module!r})" for module in modules), "@ARM@", body]
    return "\n".join(lines)
