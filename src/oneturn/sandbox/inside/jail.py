"""The operating system's walls round a guest, put up from the inside. Standard library only.

They go up in three steps, each of which only takes away:

1. `enclose`, once, in the launcher of the warm process: a root with nothing in it but read-only views of
   a few paths, no network, no way back, and a user namespace that has no rights outside itself.
2. `seal`, in each forked child: processes, mounts and IPC of its own, an empty `/tmp`, no capability left.
   The child is then in a user namespace in which no id is mapped, so it has no rights over anything at all.
3. `confine`, once the run's limits are known and before any of the script is read: resource limits, then
   Landlock, then the filter of system calls.

Whatever the machine refuses raises `Refused` with a sentence for the operator: nobody goes on without it.
The spec is the dictionary that `JailSpec.to_json` makes.
"""

from __future__ import annotations

import base64
import ctypes
import errno
import os
import resource
import signal
import stat
from collections.abc import Iterable, Mapping
from typing import Any

SCRATCH = "/tmp"  # noqa: S108 (the guest's own)

_NEW_MOUNTS, _NEW_CGROUP, _NEW_HOSTNAME, _NEW_IPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
_NEW_USER, NEW_PROCESSES, _NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000

# System calls that the C library has no function for: one number for all since Linux 5.1, except two.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SECCOMP = {"x86_64": 317, "aarch64": 277}

_HERE = -100  # AT_FDCWD
_EMPTY_PATH, _RECURSIVE, _CLONE, _CLOSE_ON_EXEC = 0x1000, 0x8000, 1, 0o2000000
_MOVE_FROM_DESCRIPTOR = 4
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_EXEC = 1, 2, 4, 8  # as mount flags and as mount attributes
_PRIVATE_BELOW = 0x44000  # MS_REC | MS_PRIVATE
_DETACH = 2

_SET_DEATH_SIGNAL, _SET_DUMPABLE, _DROP_BOUND, _NO_NEW_PRIVILEGES, _AMBIENT = 1, 4, 24, 38, 47
_CAPABILITY_VERSION, _SYS_ADMIN = 0x20080522, 21

# Landlock's rights over files, by the version of its interface that brought them.
_FILES_BY_VERSION = ((1, 0x1FFF), (2, 0x3FFF), (3, 0x7FFF), (5, 0xFFFF))
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1, 2, 4, 8
_REMOVE_FOLDER, _REMOVE_FILE, _MAKE_FOLDER, _MAKE_FILE, _REFER, _TRUNCATE = 16, 32, 128, 256, 0x2000, 0x4000
_IN_SCRATCH = (
    _WRITE_FILE | _READ_FILE | _READ_FOLDER | _REMOVE_FOLDER | _REMOVE_FILE | _MAKE_FOLDER | _MAKE_FILE
    | _REFER | _TRUNCATE
)  # fmt: skip
_TCP, _SIGNALS_AND_ABSTRACT_SOCKETS = 3, 3

PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""What the kernel says when it is short of something, rather than unwilling."""
_NAME = b"jail"  # of the machine, as a guest sees it
_MAPPED_SLACK = 64 * 1024 * 1024  # address space for libraries a script loads, on top of its memory

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The machine refused a part of the jail; the text is a sentence for the operator.

    `passing` when it was only short of something, so that it may allow it in a moment.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.passing = code in PASSING


# --- step 1, the launcher


def enclose(spec: Mapping[str, Any]) -> None:
    """Leave the host: its files, network and users. Call with one thread.

    Root keeps its rights until the root is built, since only root may show what lies in root's own
    folders, and then becomes an id that owns nothing. Anybody else needs a user namespace first and
    stays who they are outside.
    """
    me = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    outside = spec["id"]
    privileged = _may_administrate()
    if os.geteuid() == 0 and not privileged:
        _become(outside)  # root of a container: without the rights, the name is only a danger
        _prctl("Writing down its own user", _SET_DUMPABLE, 1)
    if not privileged:
        _new_user_namespace(me, os.geteuid(), os.getegid(), keep_groups=True)
    _check("A jail with its own mounts and network", _libc.unshare(
        _NEW_MOUNTS | _NEW_NETWORK | _NEW_IPC | _NEW_HOSTNAME | _NEW_CGROUP
    ))  # fmt: skip
    _check("A host name of its own", _libc.sethostname(_NAME, len(_NAME)))
    _check("A domain of its own", _libc.setdomainname(b"", 0))
    _new_root(spec["shown"], spec["covered"], spec["devices"])
    if privileged:
        _new_user_namespace(me, outside, outside, keep_groups=False)
        _become(outside)
    os.close(me)
    _prctl("Hiding the process from others", _SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def fork_into_new_processes(own: int | None = None) -> int:
    """`os.fork()` whose child is process 1 of a namespace; everything in it dies with it.

    `own` is a descriptor of the caller's own namespace of processes, to go on in afterwards.
    """
    _check("A namespace of processes", _libc.unshare(NEW_PROCESSES))
    child = -1
    try:
        child = os.fork()
    finally:
        if own is not None and child != 0:
            _check("Going back to the own processes", _libc.setns(own, NEW_PROCESSES))
    return child


def give_up_real_time() -> None:
    """Take turns as any process does, whatever priority the host has, which is inherited.

    A script that computes would starve the machine, and the kernel lets no process of real-time priority
    into a control group that was given no share of that time.
    """
    if os.sched_getscheduler(0) not in (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def die_with_parent() -> None:
    """Let the kernel kill this process when the one that forked it ends."""
    _prctl("Dying with the parent", _SET_DEATH_SIGNAL, signal.SIGKILL)


def _new_user_namespace(me: int, uid: int, gid: int, *, keep_groups: bool) -> None:
    """A user namespace that knows one user and one group, under the same numbers as outside.

    The maps are written by a child that stays outside, since only there is the right to do so. The kernel
    lets nobody but root map a group while groups could still be given up, and so keep what they forbid.
    """
    reader, writer = os.pipe()
    helper = os.fork()
    if helper == 0:
        try:
            os.close(writer)
            if os.read(reader, 1):
                if keep_groups:
                    _write_at(me, "setgroups", "deny")
                _write_at(me, "uid_map", f"{uid} {uid} 1")
                _write_at(me, "gid_map", f"{gid} {gid} 1")
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    made = _libc.unshare(_NEW_USER)
    code = ctypes.get_errno()
    if made == 0:
        os.write(writer, b"1")
    os.close(writer)
    os.close(reader)
    _, status = os.waitpid(helper, 0)
    ctypes.set_errno(code)
    _check("A user namespace", made)
    failed = os.waitstatus_to_exitcode(status)
    if failed:
        raise refused("Mapping a user into a namespace", failed)


def _write_at(folder: int, name: str, text: str) -> None:
    descriptor = os.open(name, os.O_WRONLY, dir_fd=folder)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def _become(number: int) -> None:
    try:
        os.setgroups([])
        os.setresgid(number, number, number)
        os.setresuid(number, number, number)
    except OSError as error:
        raise refused(f"Becoming user {number}", error.errno) from None


def _new_root(shown: Iterable[str], covered: Iterable[str], devices: Iterable[str]) -> None:
    """Change to a root that holds nothing but `shown`, `devices` and a place for scratch files."""
    quiet = _NO_SUID | _NO_DEVICES | _NO_EXEC
    _mount("Keeping mounts apart from the host's", None, "/", None, _PRIVATE_BELOW)
    trees = [_Tree(path, _READ_ONLY | _NO_SUID | _NO_DEVICES) for path in shown]
    trees += [_Tree(path, _NO_SUID | _NO_EXEC) for path in devices]
    root = "/proc"  # it exists everywhere, and nothing below it is needed any more
    _mount("A new root", "tmpfs", root, "tmpfs", quiet, "mode=755,size=1m")
    os.mkdir(root + SCRATCH, 0o755)
    for tree in trees:
        tree.place(root)
    for path in covered:
        if os.path.isdir(root + path):
            _mount(f"Hiding {path}", "tmpfs", root + os.path.realpath(path), "tmpfs", quiet | _READ_ONLY)
    _set_attributes("A read-only root", _HERE, root, quiet | _READ_ONLY, 0)
    os.chdir(root)
    _system("Changing to the new root", _numbered(_PIVOT_ROOT), b".", b".")
    _check("Letting go of the old root", _libc.umount2(b".", _DETACH))
    os.chdir("/")


class _Tree:
    """A mount of `path` and all below it that is nowhere yet."""

    def __init__(self, path: str, attributes: int) -> None:
        what = f"Showing {path} in the jail"
        self._path = path
        self._real = os.path.realpath(path)
        self._tree = _system(what, _OPEN_TREE, _HERE, path.encode(), _CLONE | _CLOSE_ON_EXEC | _RECURSIVE)
        _set_attributes(what, self._tree, "", attributes, _EMPTY_PATH | _RECURSIVE)

    def place(self, root: str) -> None:
        """Mount it below `root` where it really is, with a link where it is only called so."""
        place, name = root + self._real, root + self._path
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if stat.S_ISDIR(os.fstat(self._tree).st_mode):
            os.makedirs(place, exist_ok=True)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o444))
        what = f"Placing {self._path} in the jail"
        _system(what, _MOVE_MOUNT, self._tree, b"", _HERE, place.encode(), _MOVE_FROM_DESCRIPTOR)
        os.close(self._tree)
        if name != place and not os.path.lexists(name):
            os.makedirs(os.path.dirname(name), exist_ok=True)
            os.symlink(self._real, name)


# --- step 2, each child


def seal(spec: Mapping[str, Any]) -> None:
    """Mounts, IPC and scratch files of its own, and no right left over anything. Call in a fresh child."""
    _check("Mounts of a guest's own", _libc.unshare(_NEW_MOUNTS | _NEW_IPC))
    covered = [path for path in spec["shown"] if os.path.realpath(path).startswith(f"{SCRATCH}/")]
    trees = [_Tree(path, _READ_ONLY | _NO_SUID | _NO_DEVICES) for path in covered]
    flags = _NO_SUID | _NO_DEVICES | _NO_EXEC
    options = f"mode=700,size={spec['scratch']},nr_inodes={max(64, spec['scratch'] // 16384)}"
    _mount("Scratch files", "tmpfs", SCRATCH, "tmpfs", flags, options)
    for tree in trees:  # what the host has below its own /tmp, such as packages in a test
        tree.place("")
    os.chdir(SCRATCH)
    # A namespace without a map: its rights reach nothing, and the limit on processes counts in it alone.
    _check("A user namespace for the guest", _libc.unshare(_NEW_USER))
    _drop_capabilities()
    _prctl("Giving up new privileges", _NO_NEW_PRIVILEGES, 1)
    _prctl("Hiding the process from others", _SET_DUMPABLE, 0)


def _drop_capabilities() -> None:
    _prctl("Dropping ambient capabilities", _AMBIENT, 4)
    number = 0
    while _libc.prctl(_DROP_BOUND, *map(ctypes.c_ulong, (number, 0, 0, 0))) == 0:
        number += 1
    if number == 0 or ctypes.get_errno() != errno.EINVAL:  # EINVAL: there are no more of them
        raise refused("Dropping capabilities", ctypes.get_errno())
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _check("Dropping capabilities", _libc.capset(header, (ctypes.c_uint32 * 6)()))


# --- step 3, before the script


def confine(spec: Mapping[str, Any], limits: Mapping[str, Any], data: int, mapped: int) -> None:
    """The last walls: limits, files and system calls. Nothing in here can be undone by the guest.

    `data` and `mapped` are bytes of private memory and of address space that the process had when it was
    forked; a script's memory comes on top.
    """
    syscalls = base64.b64decode(spec["syscalls"])
    if not syscalls:
        raise Refused("A jail without a filter of system calls was asked for, and there is no such jail.")
    _limit(resource.RLIMIT_CPU, spec["cpu_seconds"])
    _limit(resource.RLIMIT_DATA, data + limits["memory"])
    _limit(resource.RLIMIT_AS, mapped + limits["memory"] + _MAPPED_SLACK)
    _limit(resource.RLIMIT_FSIZE, spec["scratch"])
    _limit(resource.RLIMIT_NPROC, spec["threads"])
    _limit(resource.RLIMIT_NOFILE, spec["files"])
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_MEMLOCK, 0)
    _limit(resource.RLIMIT_MSGQUEUE, 0)
    _landlock(spec["shown"], spec["devices"])
    _filter(syscalls)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    try:
        resource.setrlimit(what, (most, most))
    except (OSError, ValueError) as error:
        raise Refused(f"Setting a resource limit was refused by this machine ({error}).") from None


def _landlock(shown: Iterable[str], devices: Iterable[str]) -> None:
    """Reading what is shown, reading and writing scratch files, and nothing else, whatever the mounts say."""
    version = _system("Landlock", _LANDLOCK_CREATE, None, 0, 1)
    handled = [rights for since, rights in _FILES_BY_VERSION if version >= since][-1]
    fields = [handled]
    if version >= 4:
        fields.append(_TCP)
    if version >= 6:
        fields.append(_SIGNALS_AND_ABSTRACT_SOCKETS)
    attributes = (ctypes.c_uint64 * len(fields))(*fields)
    rules = _system("Landlock", _LANDLOCK_CREATE, attributes, ctypes.sizeof(attributes), 0)
    rights = {SCRATCH: _IN_SCRATCH, "/dev/null": _READ_FILE | _WRITE_FILE}
    for path in (*devices, SCRATCH, *shown):
        folder = os.path.isdir(path)
        allowed = rights.get(path, (_EXECUTE | _READ_FILE | _READ_FOLDER) if folder else _READ_FILE)
        descriptor = os.open(path, os.O_PATH)
        rule = ctypes.create_string_buffer(
            (allowed & handled).to_bytes(8, "little") + descriptor.to_bytes(4, "little"), 12
        )
        _system(f"Landlock for {path}", _LANDLOCK_ADD, rules, 1, rule, 0)
        os.close(descriptor)
    _system("Landlock", _LANDLOCK_RESTRICT, rules, 0)
    os.close(rules)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))


def _filter(lines: bytes) -> None:
    program = _Program(len(lines) // 8, lines)
    every_thread = 1
    done = _system("The filter of system calls", _numbered(_SECCOMP), 1, every_thread, ctypes.byref(program))
    if done != 0:
        raise Refused(f"The filter of system calls could not be put on thread {done}.")


# --- the kernel


def _may_administrate() -> bool:
    """Whether this process has the capability that namespaces and mounts need."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice, the high bits last
    _check("Reading capabilities", _libc.capget(header, sets))
    return bool(sets[0] >> _SYS_ADMIN & 1)


def _mount(
    what: str, source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    _check(what, _libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]))


def _set_attributes(what: str, folder: int, path: str, attributes: int, flags: int) -> None:
    wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    _system(what, _MOUNT_SETATTR, folder, path.encode(), flags, wanted, ctypes.sizeof(wanted))


def _prctl(what: str, option: int, argument: int) -> None:
    _check(what, _libc.prctl(option, *map(ctypes.c_ulong, (argument, 0, 0, 0))))


def _system(what: str, number: int, *arguments: Any) -> int:
    wide = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return _check(what, _libc.syscall(ctypes.c_long(number), *wide))


def _numbered(numbers: Mapping[str, int]) -> int:
    machine = os.uname().machine
    if machine not in numbers:
        raise Refused(f"There is no jail for machines of the kind {machine}.")
    return numbers[machine]


def _check(what: str, result: int) -> int:
    if result < 0:
        raise refused(what, ctypes.get_errno())
    return result


def refused(what: str, code: int | None) -> Refused:
    """What the kernel answered, as a sentence."""
    return Refused(f"{what} was refused by this machine: {os.strerror(code or 0)}.", code)
