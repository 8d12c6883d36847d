"""The system calls a guest may make: an allow-list, with the reason for each group, compiled for the kernel.

Two profiles. `GUEST` is full CPython with threads, C extensions and a scratch folder; `WORKER` is the
Monty worker, which computes and talks over two pipes. What is not listed is refused: with EPERM, or
with ENOSYS for everything younger than Linux 5.1, so that a C library falls back to the older call it
knows. A call made by the rules of another architecture ends the process, since its numbers mean
something else.

The filter is classic BPF, the only language seccomp speaks. The same profile gives the same bytes on
every machine; `program` makes them and `listing` tells them to a person.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass
from functools import cache

from ...errors import SandboxUnavailable

# x86-64 and arm64 numbers; nothing after the slash where arm64 never had the call.
_NUMBERS = """
access=21/ alarm=37/ arch_prctl=158/ brk=12/214 chdir=80/49 chmod=90/ clock_getres=229/114
clock_gettime=228/113 clock_nanosleep=230/115 clone=56/220 clone3=435/435 close=3/57 close_range=436/436
copy_file_range=326/285 dup=32/23 dup2=33/ dup3=292/24 epoll_create=213/ epoll_create1=291/20
epoll_ctl=233/21 epoll_pwait=281/22 epoll_wait=232/ eventfd2=290/19 execve=59/221 exit=60/93
exit_group=231/94 faccessat=269/48 faccessat2=439/439 fadvise64=221/223 fallocate=285/47 fchdir=81/50
fchmod=91/52 fchmodat=268/53 fcntl=72/25 fdatasync=75/83 fgetxattr=193/10 flistxattr=196/13
fsetxattr=190/7 fstat=5/80 fstatfs=138/44 fsync=74/82 ftruncate=77/46 futex=202/98 getcpu=309/168
getcwd=79/17 getdents64=217/61 getegid=108/177 geteuid=107/175 getgid=104/176 getgroups=115/158
getitimer=36/102 getpgid=121/155 getpgrp=111/ getpid=39/172 getppid=110/173 getpriority=140/141
getrandom=318/278 getresgid=120/150 getresuid=118/148 getrlimit=97/163 getrusage=98/165 getsid=124/156
gettid=186/178 gettimeofday=96/169 getuid=102/174 getxattr=191/8 ioctl=16/29 lgetxattr=192/9
listxattr=194/11 llistxattr=195/12 lseek=8/62 lsetxattr=189/6 lstat=6/ madvise=28/233 mkdir=83/
mkdirat=258/34 mmap=9/222 mprotect=10/226 mremap=25/216 msync=26/227 munmap=11/215 nanosleep=35/101
newfstatat=262/79 open=2/ openat=257/56 pause=34/ pipe=22/ pipe2=293/59 poll=7/ ppoll=271/73 prctl=157/167
pread64=17/67 preadv=295/69 prlimit64=302/261 pselect6=270/72 pwrite64=18/68 pwritev=296/70 read=0/63
readlink=89/ readlinkat=267/78 readv=19/65 rename=82/ renameat=264/38 renameat2=316/276
restart_syscall=219/128 rmdir=84/ rseq=334/293 rt_sigaction=13/134 rt_sigpending=127/136
rt_sigprocmask=14/135 rt_sigreturn=15/139 rt_sigsuspend=130/133 rt_sigtimedwait=128/137
sched_getaffinity=204/123 sched_yield=24/124 select=23/ sendfile=40/71 set_robust_list=273/99
set_tid_address=218/96 setitimer=38/103 setxattr=188/5 sigaltstack=131/132 stat=4/ statfs=137/43
statx=332/291 sysinfo=99/179 tgkill=234/131 time=201/ times=100/153 truncate=76/45 umask=95/166
uname=63/160 unlink=87/ unlinkat=263/35 utimensat=280/88 write=1/64 writev=20/66
"""
_YOUNG = 424  # the first number that all architectures share; Linux 5.1
_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000  # set in the number of a call by x86-64's 32-bit-pointer rules

# Offsets in the kernel's struct seccomp_data (little-endian).
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000


@dataclass(frozen=True, slots=True)
class Only:
    """A condition on one argument: its bits under `mask` are one of `values`.

    `whole` compares all 64 bits with zero instead: a pointer that must be null. Otherwise the kernel
    itself reads only the lower half of the argument, and so does the condition.
    """

    argument: int
    values: tuple[int, ...] = (0,)
    mask: int = 0xFFFFFFFF
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Calls that are let through for one reason, under one condition; `instead` is the errno otherwise.

    A group that is not `allowed` is there for its errno.
    """

    calls: str
    why: str
    only: Only | None = None
    instead: int = errno.EPERM
    allowed: bool = True


_WRITE, _EXECUTE = 2, 4
_THREAD = 0x3D0F00  # VM|FS|FILES|SIGHAND|THREAD|SYSVSEM|SETTLS|PARENT_SETTID|CHILD_CLEARTID
_DETACHED = 0x400000  # means nothing to the kernel; musl sets it
_TERMINAL_OR_FLAGS = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
_HARMLESS_PRCTL = (15, 16, 0x53564D41)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA
_ADVICE = (0, 1, 2, 3, 4, 8, 10, 14, 15, 16, 17)  # from MADV_NORMAL to MADV_FREE, huge pages, dumps
_FUTEX = (0, 1, 3, 4, 5, 9, 10)  # wait and wake, requeue, and with a bit set; private or not, either clock
_FCNTL = (*range(5), 1030)  # copies and flags

_SHARED = (
    Group(
        "mmap mprotect",
        "Memory, but none that can be written and executed at once.",
        Only(2, (0, _WRITE, _EXECUTE), mask=_WRITE | _EXECUTE),
    ),
    Group("munmap mremap brk", "Giving memory back and growing it."),
    Group(
        "madvise",
        "How memory will be used; not that it may be shared with equal pages of other processes.",
        Only(2, _ADVICE),
        instead=errno.EINVAL,
    ),
    Group("read readv write writev close", "Bytes through descriptors that are open already."),
    Group(
        "clone",
        "New threads of this process, and nothing that is a process or a namespace.",
        Only(0, (_THREAD,), mask=0xFFFFFFFF ^ _DETACHED),
    ),
    Group(
        "futex",
        "Waiting for other threads and waking them; no locks that the kernel itself keeps.",
        Only(1, _FUTEX, mask=0xFFFFFFFF ^ 0x180),
        instead=errno.ENOSYS,
    ),
    Group("set_robust_list rseq sched_yield sched_getaffinity restart_syscall", "What threads need beside."),
    Group("tgkill", "abort(): one's own SIGABRT.", Only(2, (6,))),
    Group("rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack", "Handling signals, as every runtime does."),
    Group("poll ppoll", "Waiting for input."),
    Group("clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday", "Clocks and pauses."),
    Group("getpid gettid getrandom", "What every C library asks for."),
    Group("prlimit64", "Reading resource limits, never setting them.", Only(2, whole=True)),
    Group("prctl", "Naming threads and memory areas.", Only(0, _HARMLESS_PRCTL)),
    Group("exit exit_group", "Ending."),
)

GUEST = (
    *_SHARED,
    Group(
        "ioctl",
        "Whether it is a terminal, how much can be read, close-on-exec and non-blocking.",
        Only(1, _TERMINAL_OR_FLAGS),
        instead=errno.ENOTTY,
    ),
    Group(
        "fcntl",
        "Flags and copies of descriptors; no signals, leases or notices, and no locks, which all who have "
        "the same file would see: the other guests and the host.",
        Only(1, _FCNTL),
    ),
    Group(
        "pread64 preadv pwrite64 pwritev lseek close_range dup dup2 dup3 pipe pipe2 fsync fdatasync "
        "ftruncate fallocate fadvise64 sendfile copy_file_range msync",
        "Working with open files.",
    ),
    Group(
        "open openat stat lstat fstat newfstatat statx access faccessat faccessat2 readlink readlinkat "
        "getcwd chdir fchdir getdents64 statfs fstatfs",
        "Finding, opening and looking at files. Which ones there are, the mounts and Landlock decide.",
    ),
    Group(
        "mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 truncate chmod fchmod fchmodat umask "
        "utimensat",
        "Changing files in the scratch folder; no links, devices or owners.",
    ),
    Group(
        "listxattr llistxattr flistxattr getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr",
        "Extended attributes do not exist here; shutil goes on without them.",
        instead=errno.EOPNOTSUPP,
        allowed=False,
    ),
    Group(
        "select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2",
        "Waiting for several descriptors.",
    ),
    Group("time times getitimer setitimer alarm pause", "Timers of this process."),
    Group("rt_sigpending rt_sigsuspend rt_sigtimedwait", "Waiting for signals of this process."),
    Group(
        "getppid getpgrp getpgid getsid getuid geteuid getgid getegid getresuid getresgid getgroups "
        "getrlimit getrusage getpriority getcpu sysinfo uname",
        "Facts about this process and the machine's size; identities are the jail's.",
    ),
)

WORKER = (
    *_SHARED,
    Group(
        "execve arch_prctl set_tid_address",
        "The jail starts the worker after the filter is in force. A worker could start itself anew under "
        "the same filter, and nothing else: its root holds no other program and nothing can be written.",
    ),
    Group(
        "open openat access newfstatat fstat pread64 lseek readlink", "Loading the worker's own libraries."
    ),
    Group("fcntl", "Flags of descriptors.", Only(1, (1, 2, 3, 4))),
)


@dataclass(frozen=True, slots=True)
class _Line:
    """One BPF instruction."""

    code: int
    value: int
    yes: int = 0
    no: int = 0

    def __bytes__(self) -> bytes:
        return struct.pack("<HBBI", self.code, self.yes, self.no, self.value)


def program(profile: tuple[Group, ...] = GUEST, arch: str | None = None) -> bytes:
    """The filter as the array of `struct sock_filter` that seccomp(2) and `bwrap --seccomp` take.

    `arch` is a machine name as `platform.machine()` gives it; this machine's by default.

    Raises:
        SandboxUnavailable: The system-call numbers of this architecture are not known.
    """
    name = platform.machine() if arch is None else arch
    if name not in _ARCHES:
        raise SandboxUnavailable(
            f"There is no system-call filter for {name or 'this architecture'}; use x86_64 or aarch64."
        )
    return _compiled(profile, name)


def listing(profile: tuple[Group, ...] = GUEST) -> str:
    """The allow-list for a reader: each group's reason, condition and calls."""
    lines = [f"{group.why}\n    {_told(group)}" for group in profile]
    lines.append(
        f"Everything else is refused: EPERM, and from number {_YOUNG} on ENOSYS, as on an older kernel.\n"
        "    Calls by another architecture's rules end the process."
    )
    return "\n".join(lines)


@cache
def _compiled(profile: tuple[Group, ...], arch: str) -> bytes:
    numbers = _numbers()
    lines = [
        _Line(_LOAD, _ARCH),
        _Line(_JUMP_EQUAL, _ARCHES[arch], yes=1),
        _Line(_RETURN, _KILL),
        _Line(_LOAD, _NUMBER),
    ]
    if arch == "x86_64":
        lines += [_Line(_JUMP_AT_LEAST, _X32, no=1), _Line(_RETURN, _KILL)]
    for group in profile:
        body = _body(group)
        for call in group.calls.split():
            number = numbers[call][list(_ARCHES).index(arch)]
            if number is not None:
                lines += [_Line(_JUMP_EQUAL, number, no=len(body)), *body]
    lines += [
        _Line(_JUMP_AT_LEAST, _YOUNG, no=1),
        _Line(_RETURN, _ERRNO | errno.ENOSYS),
        _Line(_RETURN, _ERRNO | errno.EPERM),
    ]
    return b"".join(map(bytes, lines))


def _body(group: Group) -> list[_Line]:
    """What happens once the number has matched. Every way through it ends in a verdict."""
    refuse, allow = _Line(_RETURN, _ERRNO | group.instead), _Line(_RETURN, _ALLOW)
    if not group.allowed:
        return [refuse]
    only = group.only
    if only is None:
        return [allow]
    low = _ARGUMENTS + 8 * only.argument
    if only.whole:
        return [
            _Line(_LOAD, low),
            _Line(_JUMP_EQUAL, 0, no=2),
            _Line(_LOAD, low + 4),
            _Line(_JUMP_EQUAL, 0, yes=1),
            refuse,
            allow,
        ]
    count = len(only.values)
    tests = [_Line(_JUMP_EQUAL, value, yes=count - at) for at, value in enumerate(only.values)]
    return [_Line(_LOAD, low), _Line(_AND, only.mask), *tests, refuse, allow]


@cache
def _numbers() -> dict[str, tuple[int, int | None]]:
    found: dict[str, tuple[int, int | None]] = {}
    for entry in _NUMBERS.split():
        name, _, pair = entry.partition("=")
        first, _, second = pair.partition("/")
        found[name] = (int(first), int(second) if second else None)
    return found


def _told(group: Group) -> str:
    if not group.allowed:
        return f"{group.calls}: {errno.errorcode[group.instead]}"
    only = group.only
    if only is None:
        return group.calls
    if only.whole:
        return f"{group.calls}: only when argument {only.argument} is null"
    values = ", ".join(f"{value:#x}" for value in only.values)
    masked = f" under {only.mask:#x}" if only.mask != 0xFFFFFFFF else ""
    return f"{group.calls}: only when argument {only.argument}{masked} is one of {values}"
