"""A script that tries what no script may do, and tells which of it worked.

The host sends it to a guest as it would send anybody's script, with two lines after it: `PLAN`, and a call
of `report`. So it proves what a script can do there, through no other door. Each function below tries one
control and gives what worked, or nothing when everything was refused.

Files are opened with `os.open`, since a guest's own `open` refuses before the jail is asked. System calls
are made so that they do no harm where they are *not* refused: their arguments are nonsense, and the kernel
then complains of those. No file gets a name, so that there is nothing to take away again. Only "not
permitted" and "there is no such call" count as refusals.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import resource
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

PLAN: Mapping[str, Any] = {}
"""What the host planted, its processes, what the jail shows and its sizes; the host adds a line with it."""

REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS)
MEBIBYTE = 1 << 20
UNKNOWN_FLAG = 0x8  # no flag of clone(2) or unshare(2): refused by a filter, else nonsense
OWN_ENVIRONMENT = ("PWD", "LC_CTYPE", "PYTHONHASHSEED", "TZ")  # what the jail and Python themselves set

# Numbers on x86-64 and arm64.
CALLS = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "memfd_create": (319, 279),
    "personality": (135, 92),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "init_module": (175, 105),
    "kexec_load": (246, 104),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "clock_settime": (227, 112),
    "shmget": (29, 194),
    "mq_open": (240, 180),
    "capset": (126, 91),
    "execveat": (322, 281),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "sendmsg": (46, 211),
    "recvmsg": (47, 212),
}

_libc = ctypes.CDLL(None, use_errno=True)


def works(attempt: Callable[[], Any], name: str) -> Iterator[str]:
    """The name, if the attempt was not refused. That it went wrong in another way does not help it."""
    try:
        attempt()
    except OSError as error:
        if error.errno in REFUSED:
            return
    yield name


def passes(*names: str) -> Iterator[str]:
    """Those of the system calls that the kernel does not refuse."""
    column = ("x86_64", "aarch64").index(os.uname().machine)
    for name in names:
        nonsense = [ctypes.c_long(-1)] * 6
        if name in ("unshare", "clone3"):
            nonsense[0] = ctypes.c_long(UNKNOWN_FLAG)
        ctypes.set_errno(0)
        result = _libc.syscall(ctypes.c_long(CALLS[name][column]), *nonsense)
        if result != -1 or ctypes.get_errno() not in REFUSED:
            yield name


def host_files() -> Iterator[str]:
    for path in (*PLAN["planted"], "/etc/passwd", "/etc/shadow"):
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDONLY))
            yield f"{path} can be read"
    for folder in ("/root", "/home", "/etc", "/var", "/sys", "/run"):
        with contextlib.suppress(OSError):
            os.listdir(folder)
            yield f"{folder} can be listed"


def can_be_written(path: str) -> bool:
    """Whether files could be made in a folder, or a file be changed. Nothing is made or changed."""
    try:
        os.close(os.open(path, os.O_WRONLY | (os.O_TMPFILE if os.path.isdir(path) else 0)))
    except OSError as error:
        # What comes last: the folder could be written to, only not in this way.
        return error.errno in (errno.EOPNOTSUPP, errno.EISDIR)
    return True


def read_only() -> Iterator[str]:
    for folder in (*PLAN["shown"], "/", "/etc", "/run", "/usr", "/var/tmp", "/dev/shm"):  # noqa: S108
        if can_be_written(folder):
            yield f"{folder} can be written to"


def scratch() -> Iterator[str]:
    files = []
    try:
        for _ in range(2):
            files.append(file := os.open("/tmp", os.O_TMPFILE | os.O_WRONLY))  # noqa: S108
            for _ in range(PLAN["scratch"] // MEBIBYTE // 2 + 2):
                if os.write(file, bytes(MEBIBYTE)) < MEBIBYTE:
                    return
        yield "the scratch folder takes more than its size"
    except OSError:
        return
    finally:
        for file in files:
            os.close(file)


def network() -> Iterator[str]:
    for family in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_VSOCK"):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
            with contextlib.suppress(OSError):
                socket.socket(getattr(socket, family), kind).close()
                yield f"a socket of {family} can be opened"
                break
    yield from works(socket.socketpair, "a pair of sockets can be made")
    with contextlib.suppress(OSError):
        socket.getaddrinfo("localhost", 80)
        yield "names can be looked up"
    yield from passes("sendto", "recvfrom", "sendmsg", "recvmsg")


def processes() -> Iterator[str]:
    for pid in PLAN["processes"]:
        for ask in (os.getpgid, os.getsid, os.sched_getaffinity):
            with contextlib.suppress(OSError):
                ask(pid)
                yield f"process {pid} of the host can be seen"
                break
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            yield f"process {pid} of the host can be signalled"
    yield from works(lambda: os.kill(-1, 0), "every process can be signalled at once")


def proc() -> Iterator[str]:
    for path in ("/proc", "/proc/self/fd", "/proc/1", "/sys/kernel"):
        with contextlib.suppress(OSError):
            if os.listdir(path):
                yield f"{path} can be listed"
    for path in ("/proc/self/mem", "/proc/self/environ", "/proc/mounts", "/proc/sysrq-trigger"):
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDONLY))
            yield f"{path} can be opened"


def descriptors() -> Iterator[str]:
    sockets = 0
    for number in range(4096):
        with contextlib.suppress(OSError):
            kind = os.fstat(number).st_mode
            if stat.S_ISSOCK(kind):
                sockets += 1
            elif not stat.S_ISCHR(kind):
                yield f"descriptor {number} was inherited"
    if sockets > 1:
        yield f"{sockets} sockets were inherited"


def environment() -> Iterator[str]:
    held = ctypes.POINTER(ctypes.c_char_p).in_dll(_libc, "environ")
    number = 0
    while held and held[number]:
        name = held[number].partition(b"=")[0].decode(errors="replace")
        if name not in OWN_ENVIRONMENT:
            yield f"the environment has {name}"
        number += 1


def host_name() -> Iterator[str]:
    if os.uname().nodename != "jail":
        yield "the machine's name can be read"


def programs() -> Iterator[str]:
    missing = "/oneturn-probe"
    yield from works(lambda: os.execv(missing, [missing]), "a program can be executed")  # noqa: S606
    yield from works(lambda: os.posix_spawn(missing, [missing], {}), "a program can be spawned")
    yield from works(lambda: subprocess.run([missing], check=False), "a command can be run")  # noqa: S603
    yield from passes("execveat")


def forks() -> Iterator[str]:
    made = 0
    for _ in range(3):
        with contextlib.suppress(OSError):
            child = os.fork()
            if child == 0:
                os._exit(0)
            made += 1
            os.waitpid(child, 0)
    if made:
        yield "processes can be made"
    yield from passes("clone3")


def threads() -> Iterator[str]:
    threading.stack_size(1 << 16)  # or address space would run out first
    stop = threading.Semaphore(0)
    started = []
    try:
        for _ in range(PLAN["threads"]):  # and there is the one that does this
            thread = threading.Thread(target=stop.acquire, daemon=True)
            thread.start()
            started.append(thread)
        yield f"{len(started)} threads can be started"
    except (RuntimeError, MemoryError):
        return
    finally:
        stop.release(len(started) or 1)
        for thread in started:
            thread.join()


def tracing() -> Iterator[str]:
    return passes("ptrace", "process_vm_readv", "pidfd_open", "pidfd_getfd", "kcmp")


def namespaces() -> Iterator[str]:
    yield from passes(
        "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree", "fsopen", "mount_setattr"
    )


def kernel_doors() -> Iterator[str]:
    return passes(
        "io_uring_setup", "bpf", "keyctl", "add_key", "userfaultfd", "perf_event_open", "memfd_create",
        "personality", "open_by_handle_at", "name_to_handle_at", "init_module", "kexec_load", "reboot",
        "swapon", "clock_settime", "shmget", "mq_open",
    )  # fmt: skip


def privileges() -> Iterator[str]:
    if 0 in (*os.getresuid(), *os.getresgid(), *os.getgroups()):
        yield "the guest is root"
    for name, attempt in (
        ("setuid", lambda: os.setuid(0)),
        ("setgid", lambda: os.setgid(0)),
        ("mknod", lambda: os.mknod("/oneturn-probe/none", stat.S_IFCHR | 0o600, os.makedev(1, 1))),
        ("sethostname", lambda: socket.sethostname("oneturn-probe" * 99)),
    ):
        yield from works(attempt, f"{name} is possible")
    yield from passes("capset")


def own_limits() -> Iterator[str]:
    for name in ("RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_CPU", "RLIMIT_NOFILE", "RLIMIT_FSIZE"):
        what = getattr(resource, name)
        if resource.getrlimit(what)[1] == resource.RLIM_INFINITY:
            yield f"there is no {name}"
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, resource.getrlimit(what))
            yield f"{name} can be set"


def core_dumps() -> Iterator[str]:
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        yield "a crash would leave a core dump"


def executable_memory() -> Iterator[str]:
    yield from works(
        lambda: mmap.mmap(-1, 4096, prot=7).close(), "memory can be written and executed at once"
    )


def memory() -> Iterator[str]:
    most = PLAN["memory"] * 2
    with contextlib.suppress(MemoryError):
        bytearray(most)
        yield "more private memory can be taken than allowed"
    with contextlib.suppress(OSError, MemoryError):
        mmap.mmap(-1, most).close()
        yield "more shared memory can be taken than allowed"
    taken: list[bytes] = []
    with contextlib.suppress(MemoryError):
        taken.extend(b"x" * MEBIBYTE for _ in range(most // MEBIBYTE))
        yield "more memory can be taken, bit by bit, than allowed"


PROBES = {
    "memory limit": memory,  # before the threads, whose reserves of address space would hide a limit too high
    "host files out of reach": host_files,
    "read-only root": read_only,
    "scratch folder has a size": scratch,
    "no network": network,
    "other processes out of reach": processes,
    "no /proc": proc,
    "no inherited descriptors": descriptors,
    "empty environment": environment,
    "no name of the host": host_name,
    "no other program": programs,
    "no other process": forks,
    "limit on threads": threads,
    "no tracing": tracing,
    "no namespaces or mounts": namespaces,
    "no other doors into the kernel": kernel_doors,
    "no privileges": privileges,
    "limits cannot be changed": own_limits,
    "no core dumps": core_dumps,
    "no memory that is written and executed": executable_memory,
}


def tried(probe: Callable[[], Iterator[str]]) -> str:
    try:
        return "; ".join(list(probe())[:3])
    except Exception as error:
        return f"it could not be tried: {type(error).__name__}: {error}"


def report() -> dict[str, str]:
    """For each control what was not refused, or nothing."""
    return {name: tried(probe) for name, probe in PROBES.items()}
