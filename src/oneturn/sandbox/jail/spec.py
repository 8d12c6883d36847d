"""What a jail is: the interpreter in it, the few paths it shows, and how much room there is.

A guest sees a root of its own with nothing in it but read-only views of what Python needs to run: the
standard library, the packages when imports are configured, shared libraries and time zones. Everything
here is worked out by asking the interpreter itself, so any Python from 3.11 on will do.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...errors import ConfigError

OLDEST = (3, 11)
"""The oldest Python a guest can run in."""

GUEST_ID = 64_177
"""The user and group a guest is outside, when the host is root: of nobody, owning nothing."""

ZONES = "/usr/share/zoneinfo"
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")

_ASK = """
import importlib.util, json, os, sys, sysconfig
found = {}
for name in sys.argv[1:]:
    spec = importlib.util.find_spec(name)
    found[name] = spec and (list(spec.submodule_search_locations or ()) or [spec.origin])
print(json.dumps({
    "version": sys.version_info[:2],
    "prefixes": [sys.base_prefix, sys.base_exec_prefix],
    "library": [os.path.dirname(os.__file__), sysconfig.get_config_var("DESTSHARED")],
    "libdir": sysconfig.get_config_var("LIBDIR"),
    "soname": sysconfig.get_config_var("INSTSONAME"),
    "multiarch": sysconfig.get_config_var("MULTIARCH"),
    "path": sys.path,
    "found": found,
}))
"""
_LEAST_SCRATCH = 1 << 16
_ASKING = 30.0  # seconds an interpreter has to say where its parts are
_SYSTEM = ("/", "/usr", "/usr/local")  # prefixes that hold much else, so only parts of them are shown
_PACKAGES = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python installation: how to start it, and what it reads.

    `library` is the standard library with its extension modules, `shared` the folders and files of shared
    libraries. `path` is where it looks for packages, and `packages` what of that a guest may see: whole
    `site-packages`, and of a project that is installed as a link to its sources only the package itself.
    """

    executable: str
    library: tuple[str, ...]
    shared: tuple[str, ...]
    path: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JailSpec:
    """Everything that is fixed about a jail before there is a script. Sizes are bytes.

    What one run may use on top (`memory`, `cpu_seconds`) comes with the run's limits.

    Raises:
        ConfigError: `scratch` is too small.
    """

    interpreter: Interpreter
    syscalls: bytes
    """The compiled filter of system calls, see `jail.seccomp`. A jail without one is refused."""
    imports: tuple[str, ...] = ()
    """Modules imported before any guest is forked, so that a run finds them loaded."""
    warm: tuple[str, ...] = ()
    """Further modules to load ahead; one that this interpreter does not have is left out."""
    scratch: int = 64 * 1024 * 1024
    """Room in the guest's own `/tmp`. It is memory, and nothing in it can be executed."""
    threads: int = 16
    """Threads and processes of one guest together, its first thread included."""
    files: int = 64
    """Descriptors of one guest."""
    cpu_seconds: int = 3600
    """CPU time of one guest, all runs of a session together: the kernel's word, long after the host's."""

    def __post_init__(self) -> None:
        if self.scratch < _LEAST_SCRATCH:  # the kernel takes a size of nothing for one without bounds
            raise ConfigError(f"`scratch` is {self.scratch} bytes; give at least {_LEAST_SCRATCH}.")

    @property
    def shown(self) -> tuple[str, ...]:
        """Paths the guest sees, read-only; each exists, and none is inside another."""
        return _outermost(
            (*self.interpreter.library, *self.interpreter.shared, *self.interpreter.packages, ZONES)
        )

    @property
    def covered(self) -> tuple[str, ...]:
        """Folders of packages inside the standard library from which nothing is imported; they look empty."""
        inside = [os.path.join(path, name) for path in self.interpreter.library for name in _PACKAGES]
        return tuple(path for path in inside if os.path.isdir(path) and path not in self.interpreter.packages)

    def to_json(self) -> dict[str, Any]:
        """As `inside/jail.py` and `inside/zygote.py` read it."""
        return {
            "shown": self.shown,
            "covered": self.covered,
            "devices": DEVICES,
            "id": GUEST_ID,
            "path": self.interpreter.path,
            "imports": self.imports,
            "warm": self.warm,
            "scratch": self.scratch,
            "threads": self.threads,
            "files": self.files,
            "cpu_seconds": self.cpu_seconds,
            "syscalls": base64.b64encode(self.syscalls).decode(),
        }


@cache
def interpreter(python: str | None = None, imports: tuple[str, ...] = ()) -> Interpreter:
    """The installation behind `python`, a path to its executable; this process's own by default.

    Raises:
        ConfigError: It cannot be started, is too old, or does not have one of `imports`.
    """
    executable = os.path.abspath(python or sys.executable)
    names = sorted({name.partition(".")[0] for name in imports})
    try:
        asked = subprocess.run(  # noqa: S603 (the operator's own choice of interpreter)
            [executable, "-I", "-c", _ASK, *names], capture_output=True, env={}, timeout=_ASKING, check=True
        )
        told = json.loads(asked.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"The Python interpreter {executable} cannot be used: {_reason(error)}. "
            "Set `python` to an interpreter of 3.11 or later."
        ) from error
    if tuple(told["version"]) < OLDEST:
        version = ".".join(map(str, told["version"]))
        raise ConfigError(f"{executable} is Python {version}; scripts need 3.11 or later.")
    missing = [name for name in names if not told["found"][name]]
    if missing:
        raise ConfigError(
            f"{executable} has no module named {missing[0]}. Install it there, take it out of `imports`, or "
            "set `python` to an interpreter that has it."
        )
    library = _outermost(told["library"])
    path, packages = _packages(told, library) if names else ((), ())
    return Interpreter(executable, library, _outermost(_shared(told)), path, packages)


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it said nothing for {_ASKING:g} s"
    if isinstance(error, subprocess.CalledProcessError):
        return f"it ended with status {error.returncode}"
    return error.strerror or "it could not be started" if isinstance(error, OSError) else "it said nonsense"


def _packages(told: dict[str, Any], library: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Where to look for packages, and which of it to show."""
    own = {*library, *(os.path.join(path, "lib-dynload") for path in library)}
    path = [os.path.abspath(entry) for entry in told["path"] if os.path.isdir(entry)]
    path = [entry for entry in path if entry not in own]
    places = {entry for entry in path if os.path.basename(entry) in _PACKAGES}
    for locations in told["found"].values():
        for place in locations:
            # What is neither inside these folders nor the library is a project's own folder of sources,
            # which may hold anything beside the package.
            if os.path.isabs(place) and not any(place.startswith(f"{entry}/") for entry in (*places, *own)):
                places.add(place)
    return tuple(path), tuple(sorted(places))


def _shared(told: dict[str, Any]) -> list[str]:
    """Where the interpreter, its extension modules and packages find their shared libraries."""
    # An installation of its own, as by pyenv, conda and uv, has everything in one place.
    found = [os.path.join(prefix, "lib") for prefix in told["prefixes"] if prefix not in _SYSTEM]
    if told["libdir"] and told["soname"]:
        found.append(os.path.join(told["libdir"], told["soname"]))
    if told["multiarch"]:
        found += [f"/lib/{told['multiarch']}", f"/usr/lib/{told['multiarch']}"]
    found += ["/lib64", "/usr/lib64"]
    folders = [path for path in found if os.path.isdir(path)]
    if not any(name.startswith("libc.") for path in folders for name in os.listdir(path)):
        found += ["/lib", "/usr/lib"]  # one folder for everything, as on Alpine
    return found


def _outermost(paths: Iterable[str | None]) -> tuple[str, ...]:
    """The paths that exist, as they are spelled, without those inside another one."""
    there = sorted({os.path.abspath(path) for path in paths if path and os.path.exists(path)})
    return tuple(
        path for path in there if not any(path.startswith(f"{other}/") for other in there if other != path)
    )
