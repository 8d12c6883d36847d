"""The main of a process that starts `bwrap`: one half watches, the other lets go of everything and execs.

Between a spawn by somebody else's code (Monty's pool) and bubblewrap there must be a moment to close
inherited descriptors, drop root, set limits and hand over the system-call filter. This is it. And what is
in the jail must end with the host, even when it computes and never looks: so the process that was started
stays, holds nothing, and ends with the host or with bwrap, which in turn ends with it. Standard library
only; run by file path with `-I -S`, with a JSON argument and then the program's own arguments.

As root it goes on as an ordinary user: bubblewrap then needs no rights at all, and nothing of the guest
ever belongs to root. What the jail will bind may lie where that user cannot go (a home folder, say), so
root first mounts it, in a mount namespace of its own, where everybody can.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_PARENT_DEATH_SIGNAL = 1
_FIRST_TO_GO = b"1000"  # when the machine runs out of memory
_NEW_MOUNTS, _NEW_USERS, _NEW_PROCESSES = 0x20000, 0x10000000, 0x20000000
_BIND, _EVERYTHING_BELOW, _PRIVATE = 0x1000, 0x4000, 0x40000
_STAGE = "/tmp"  # noqa: S108  there is one on every machine, and only this process sees it covered


def main(plan: Mapping[str, Any], arguments: Sequence[str]) -> None:
    """Start bwrap as `plan` says, and watch. `arguments` go to the confined program, after its own."""
    _join(plan["groups"])
    _forget(plan["loud"])
    # A host that has gone already is no harm: the program finds its input closed before it got any.
    host = os.pidfd_open(os.getppid())
    watcher = os.pidfd_open(os.getpid())
    _bind_together()
    child = os.fork()
    if child == 0:
        os.close(host)
        _enter(plan, watcher, arguments)
    os.close(watcher)
    _watch(host, child)


def _bind_together() -> None:
    """What is forked from now on lives in a namespace of processes of its own that ends with its first one.

    bwrap starts a child and then tells it to end with bwrap. Killed in between, it would leave that child
    behind for ever, waiting for a word from it. Where no such namespace can be had bwrap will say so itself.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_PROCESSES) == 0 or libc.unshare(_NEW_USERS | _NEW_PROCESSES) != 0:
        return
    same = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
    for name, said in same.items():
        Path(f"/proc/self/{name}").write_text(said, encoding="ascii")


def _join(groups: Sequence[str]) -> None:
    """Into the control groups, and take turns as any process does.

    Whatever priority the host has is inherited: with that of real time a script that computes would starve
    the machine, and the kernel lets such a process into no group that was given no share of that time.
    """
    if os.sched_getscheduler(0) not in (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    for path in groups:
        with _named(path), open(path, "wb", buffering=0) as file:
            file.write(b"0")  # the writer itself


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Say which file it was, which the kernel's refusal of a write does not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"joining the control group was refused: {error.strerror}", path) from None


def _watch(host: int, child: int) -> None:
    """End with the host or with the child, whichever ends first, and as the child did."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    waiting = select.poll()
    waiting.register(host, select.POLLIN)
    waiting.register(os.pidfd_open(child), select.POLLIN)
    if host in dict(waiting.poll()):
        os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(status if status >= 0 else 128 - status)


def _enter(plan: Mapping[str, Any], parent: int, arguments: Sequence[str]) -> None:
    """Become bwrap."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as score:
        score.write(_FIRST_TO_GO)  # whatever the host's own score is, which would be inherited
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (plan["files"], plan["files"]))
    home, inner = plan["bwrap"]
    paths = [home, *(path for path, _ in plan["binds"])]
    if plan["user"] is not None:
        paths = _staged(paths)
        _drop(plan["user"])
    _die_with(parent)  # after the change of user, which would undo it
    options = list(plan["before"])
    for path, (_, place) in zip(paths[1:], plan["binds"], strict=True):
        options += ["--ro-bind", path, place]
    options += plan["after"]
    if plan["seccomp"]:
        options += ["--seccomp", str(_readable(base64.b64decode(plan["seccomp"])))]
    program = os.path.join(paths[0], inner)
    os.execve(program, ["bwrap", *options, "--", *plan["command"], *arguments], {})  # noqa: S606  this is the point of it


def _forget(loud: bool) -> None:
    """Close every descriptor but standard input and output; errors go nowhere unless `loud`."""
    if not loud:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
    os.closerange(3, 1 << 20)


def _readable(content: bytes) -> int:
    """A descriptor that reads `content`, which is far smaller than a pipe's room."""
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    os.set_inheritable(reader, True)
    return reader


def _staged(paths: list[str]) -> list[str]:
    """The same files under names that an ordinary user can reach.

    Root without the right to mount, as in most containers, gets the paths back as they are.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS) != 0:
        return paths
    held = [os.open(path, os.O_PATH) for path in paths]
    _mount(libc, None, "/", None, _EVERYTHING_BELOW | _PRIVATE)
    _mount(libc, "tmpfs", _STAGE, "tmpfs", 0, "mode=755,size=64k")
    staged = []
    for number, descriptor in enumerate(held):
        place = f"{_STAGE}/{number}"
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            os.mkdir(place)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o444))
        _mount(libc, f"/proc/self/fd/{descriptor}", place, None, _BIND | _EVERYTHING_BELOW)
        os.close(descriptor)
        staged.append(place)
    return staged


def _mount(
    libc: ctypes.CDLL,
    source: str | None,
    target: str,
    kind: str | None,
    flags: int,
    options: str | None = None,
) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    if libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"mounting {target}: {os.strerror(code)}")


def _drop(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _die_with(parent: int) -> None:
    """End when the process of this descriptor does."""
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    ended = select.poll()
    ended.register(parent, select.POLLIN)
    if ended.poll(0):  # before we asked
        sys.exit(1)


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]), sys.argv[2:])
    except OSError as error:
        sys.exit(f"{error.filename or 'the jail'}: {error.strerror}")
