"""The main of a container: it imports, then serves one guest over stdin and stdout.

The container is the wall. What is put up in here comes on top: resource limits, and the filter of system
calls that guests have in every jail.

Standard library only; run by file path, with one JSON argument:
`{"imports": [...], "syscalls": base64, "files": n, "scratch": bytes}`.
"""

from __future__ import annotations

import base64
import ctypes
import importlib
import json
import os
import resource
import sys
from collections.abc import Mapping
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guest

del sys.path[0]

# Libraries for arithmetic would start a thread for each core of the machine.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_FILTER, _EVERY_THREAD = 1, 1
_SET_DUMPABLE, _NO_NEW_PRIVILEGES = 4, 38
_MAPPED_SLACK = 64 * 1024 * 1024  # address space for libraries a script loads, on top of its memory
_CPU_SECONDS = 3600  # all runs of a session together: the kernel's word, long after the host's

_libc = ctypes.CDLL(None, use_errno=True)


def main(plan: Mapping[str, Any]) -> None:
    """Serve one guest until the host closes the container's stdin."""
    for name in _ONE_THREAD:
        os.environ[name] = "1"
    for name in plan["imports"]:
        try:
            importlib.import_module(name)
        except Exception as error:
            sys.exit(f"importing {name} failed: {type(error).__name__}: {error}")
    guest.prepare()
    os.environ.clear()
    came, goes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    os.chdir("/tmp")  # noqa: S108 (the container's own)
    guest.serve(came, lambda limits: confine(plan, limits), goes)


def confine(plan: Mapping[str, Any], limits: Mapping[str, Any]) -> None:
    """The last walls, before any of the script is read. Nothing in here can be undone by the guest."""
    with open("/proc/self/statm", encoding="ascii") as told:
        pages = [int(number) * os.sysconf("SC_PAGE_SIZE") for number in told.read().split()]
    mapped, data = pages[0], pages[5]
    for what, most in (
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_DATA, data + limits["memory"]),
        (resource.RLIMIT_AS, mapped + limits["memory"] + _MAPPED_SLACK),
        (resource.RLIMIT_FSIZE, plan["scratch"]),
        (resource.RLIMIT_NOFILE, plan["files"]),
    ):
        _, hard = resource.getrlimit(what)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))
    _prctl(_SET_DUMPABLE, 0)
    _prctl(_NO_NEW_PRIVILEGES, 1)
    _filter(base64.b64decode(plan["syscalls"]))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))


def _filter(lines: bytes) -> None:
    program = _Program(len(lines) // 8, lines)
    number = _SECCOMP[os.uname().machine]
    _check(_libc.syscall(number, _SET_FILTER, _EVERY_THREAD, ctypes.byref(program)))


def _prctl(option: int, argument: int) -> None:
    _check(_libc.prctl(option, *map(ctypes.c_ulong, (argument, 0, 0, 0))))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"confining the guest: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
