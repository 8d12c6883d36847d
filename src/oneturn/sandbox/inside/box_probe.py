"""Tries, inside a container, what a script must not be able to do, and tells which of it worked.

Run as a container's main in the place of `boxed.py`, with one JSON argument: the plan that `boxed.py` gets,
what the host planted, and as `act` what to do. `try` says one frame, a JSON object of `{control: "" or what
went wrong}`. The other acts may well end the guest, so each has a container of its own: `memory` and
`processes` take more than they may and say a frame when that worked, `compute` says one and never ends.

Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import boxed

del sys.path[0]

_GET_NO_NEW_PRIVILEGES = 39
_NO_RANDOMIZE = 0x0040000
_MEGABYTE = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)

Probe = Callable[[Mapping[str, Any]], str]


def kernel(plan: Mapping[str, Any]) -> str:
    """Running on the machine's own kernel, where there should be another."""
    own, machine = os.uname().release, plan["kernel"]
    return f"the guest runs on the machine's own kernel, {own}" if own == machine or not machine else ""


def files(plan: Mapping[str, Any]) -> str:
    """A file that the host planted."""
    try:
        with open(plan["planted"], "rb"):
            return "a file of the host can be read"
    except OSError:
        return ""


def read_only(plan: Mapping[str, Any]) -> str:
    """Writing anywhere but in the scratch folder."""
    for folder in ("/", "/etc", "/opt/oneturn", "/run", "/usr", "/var/tmp"):  # noqa: S108
        with contextlib.suppress(OSError), open(f"{folder}/oneturn-probe", "wb"):
            return f"{folder} can be written to"
    return ""


def scratch(plan: Mapping[str, Any]) -> str:
    """Filling the scratch folder."""
    path = "/tmp/oneturn-probe"  # noqa: S108
    try:
        with open(path, "wb", buffering=0) as file:
            file.writelines(bytes(_MEGABYTE) for _ in range(plan["scratch"] // _MEGABYTE + 2))
        return "the scratch folder takes more than its size"
    except OSError as error:
        return "" if error.errno == errno.ENOSPC else f"the scratch folder is not usable: {error}"
    finally:
        with contextlib.suppress(OSError):
            os.remove(path)


def environment(plan: Mapping[str, Any]) -> str:
    """Finding anything in the environment, beside what Python itself needs and sets."""
    found = set(os.environ) - {"PYTHONHASHSEED", "LC_CTYPE"}
    return f"there are environment variables ({', '.join(sorted(found))})" if found else ""


def user(plan: Mapping[str, Any]) -> str:
    """Being root, or becoming it."""
    if 0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid(), *os.getgroups()):
        return "the guest is root"
    with contextlib.suppress(OSError):
        os.setuid(0)
        return "the guest can become root"
    return ""


def capabilities(plan: Mapping[str, Any]) -> str:
    """Having any right of root's."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        held = [line.split() for line in status if line.startswith("Cap")]
    if not held:
        return "the kernel does not tell"
    return next((f"the guest has capabilities ({' '.join(line)})" for line in held if int(line[1], 16)), "")


def privileges(plan: Mapping[str, Any]) -> str:
    """Gaining rights through a set-uid program."""
    told = _libc.prctl(_GET_NO_NEW_PRIVILEGES, *map(ctypes.c_ulong, (0, 0, 0, 0)))
    return "" if told == 1 else "set-uid programs would work"


def processes(plan: Mapping[str, Any]) -> str:
    """Seeing a process of the host's."""
    seen = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
    return "" if seen == {os.getpid()} else f"{len(seen) - 1} other processes are visible"


def network(plan: Mapping[str, Any]) -> str:
    """Reaching the host, or anything else."""
    for where in (("127.0.0.1", plan["port"]), ("192.0.2.1", 53)):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with contextlib.suppress(OSError), socket.socket(socket.AF_INET, kind) as reach:
                reach.settimeout(1.0)
                reach.connect(where)
                if kind == socket.SOCK_STREAM or where[0] != "127.0.0.1":
                    return f"{where[0]} can be reached"
    with open("/proc/net/dev", encoding="ascii") as devices:
        names = [line.partition(":")[0].strip() for line in devices if ":" in line]
    return "" if set(names) <= {"lo"} else f"there are network interfaces ({', '.join(names)})"


def system_calls(plan: Mapping[str, Any]) -> str:
    """A harmless call that the kernel allows everybody and the filters of all engines refuse."""
    return "no filter of system calls is in force" if _libc.personality(_NO_RANDOMIZE) != -1 else ""


def confined(plan: Mapping[str, Any]) -> str:
    """Sockets, processes and programs, once a guest is confined as before its script."""
    limits = {"memory": 64 * _MEGABYTE, "cpu_seconds": 30}
    child = os.fork()
    if child == 0:
        worked = 0
        boxed.confine(plan, limits)
        acts: tuple[Callable[[], Any], ...] = (socket.socket, _fork, _start_nothing)
        for number, forbidden in enumerate(acts):
            try:
                forbidden()
            except PermissionError:
                continue
            except OSError:  # it went wrong only after it was allowed
                pass
            worked = number + 1
        os._exit(worked)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return ("", "a socket can be opened", "a process can be made", "a program can be started")[status]


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _start_nothing() -> None:
    os.execv("/oneturn-probe", ["oneturn-probe"])  # noqa: S606 (there is no such program)


PROBES: Mapping[str, Probe] = {
    "kernel": kernel,
    "files": files,
    "read-only root": read_only,
    "scratch": scratch,
    "environment": environment,
    "user": user,
    "capabilities": capabilities,
    "new privileges": privileges,
    "processes": processes,
    "network": network,
    "system calls": system_calls,
    "guest filter": confined,
}


def main(plan: Mapping[str, Any]) -> None:
    """Do what the plan says."""
    if plan["act"] == "try":
        _say(json.dumps({name: _tried(probe, plan) for name, probe in PROBES.items()}).encode())
    elif plan["act"] == "memory":
        taken = [b"x" * _MEGABYTE for _ in range(plan["memory"] // _MEGABYTE + 32)]
        _say(f"{len(taken)} MiB could be taken".encode())
    elif plan["act"] == "processes":
        _say(fork_bomb(plan["pids"] + 8).encode())
    else:
        _say(b"computing")
        while True:
            pass


def fork_bomb(most: int) -> str:
    """How many processes could be made, if it was that many."""
    for _ in range(most):
        try:
            child = os.fork()
        except OSError:
            return ""
        if child == 0:
            time.sleep(60)
            os._exit(0)
    return f"{most} processes could be made"


def _tried(probe: Probe, plan: Mapping[str, Any]) -> str:
    try:
        return probe(plan)
    except Exception as error:
        return f"it could not be tried: {type(error).__name__}: {error}"


def _say(content: bytes) -> None:
    os.write(1, len(content).to_bytes(4, "big") + content)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
