# ruff: noqa: E501  scripts are easier to read whole
"""Rare system calls, namespaces, limits and privileges: each says itself whether the kernel let it."""

from __future__ import annotations

from .case import libc_case, os_case, table


def _call(what: str, text: str, *modules: str) -> str:
    """A script that makes one call, which must not succeed."""
    return libc_case(f"r = {text}\nif r is None or r >= 0:\n    r = @PWNED@ + ': {what}'\nr", *modules)


_CALLS = {
    "a ring of io_uring": _call("io_uring", "syscall(425, 4, ctypes.create_string_buffer(120))"),
    "bpf": _call("bpf", "syscall(321, 0, (ctypes.c_uint32 * 20)(1, 4, 4, 4), 72)"),
    "userfaultfd": _call("userfaultfd", "syscall(323, 1)"),
    "perf events": _call("perf", "syscall(298, (ctypes.c_uint32 * 32)(1, 128, 0), 0, -1, -1, 0)"),
    "a key added": _call("a key", "syscall(248, ctypes.c_char_p(b'user'), ctypes.c_char_p(b'k'), ctypes.c_char_p(b'v'), 1, -2)"),
    "a keyring read": _call("keyctl", "syscall(250, 0, -3, 1)"),
    "a mount": _call("mounted", "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) or libc.umount(b'/tmp')"),
    "a new mount by handles": _call("fsopen", "syscall(430, ctypes.c_char_p(b'tmpfs'), 0)"),
    "a tree of mounts": _call("open_tree", "syscall(428, -100, ctypes.c_char_p(b'/'), 1)"),
    "the root unmounted": libc_case("r = libc.umount2(b'/', 4)\nif r == 0 or ctypes.get_errno() in (11, 16, 22):\n    r = @PWNED@ + ': may unmount'\nstr(r)"),
    "another root": _call("pivot_root", "libc.chroot(b'/')"),
    "a user namespace": _call("unshare user", "libc.unshare(0x10000000)"),
    "a mount namespace": _call("unshare mount", "libc.unshare(0x20000)"),
    "a process namespace": _call("unshare pid", "libc.unshare(0x20000000)"),
    "a network namespace": _call("unshare net", "libc.unshare(0x40000000)"),
    "all namespaces at once": _call("unshare all", "libc.unshare(0x7e020000)"),
    "a namespace by clone": libc_case("r = syscall(56, 0x10000000 | 17, 0, 0, 0, 0)\nif r == 0:\n    os._exit(0)\nif r > 0:\n    r = @PWNED@ + ': a namespace'\nr", "os"),
    "a namespace by clone3": libc_case("a = (ctypes.c_uint64 * 11)()\na[0], a[4] = 0x10000000, 17\nr = syscall(435, a, 88)\nif r == 0:\n    os._exit(0)\nif r > 0:\n    r = @PWNED@ + ': a namespace'\nr", "os"),
    "the host's namespaces": libc_case("r = -1\nfor kind in ('mnt', 'net', 'pid', 'ipc', 'uts', 'user'):\n    for p in ('@HOST@', '1'):\n        try:\n            fd = os.open('/proc/%s/ns/%s' % (p, kind), 0)\n        except OSError:\n            continue\n        if libc.setns(fd, 0) == 0:\n            r = @PWNED@ + ': a namespace of the host'\nr", "os"),
    "the host's name": libc_case("r = libc.sethostname(b'mine', 4)\nlibc.sethostname(b'vm', 2)\nif r == 0:\n    r = @PWNED@ + ': a name'\nr"),
    "root": _call("root", "libc.setresuid(0, 0, 0)"),
    "another group": _call("groups", "libc.setgroups(1, (ctypes.c_uint * 1)(0))"),
    "all capabilities": libc_case("h = (ctypes.c_uint32 * 2)(0x20080522, 0)\nd = (ctypes.c_uint32 * 6)()\nlibc.capget(h, d)\nr = list(d)\nif d[0] or d[1]:\n    r = @PWNED@ + ': capabilities %x %x' % (d[0], d[1])\nr"),
    "no_new_privs off": libc_case("r = libc.prctl(39, 0, 0, 0, 0)\nif r == 0:\n    r = @PWNED@ + ': privileges may be gained'\nr"),
    "a seccomp filter there is none": libc_case("r = libc.prctl(21, 0, 0, 0, 0)\nif r == 0:\n    r = @PWNED@ + ': no filter'\nr"),
    "core dumps": os_case("r = resource.getrlimit(resource.RLIMIT_CORE)\ntry:\n    resource.setrlimit(resource.RLIMIT_CORE, (10**9, 10**9))\n    r = @PWNED@ + ': dumps'\nexcept (OSError, ValueError):\n    pass\nstr(r)", "resource"),
    "limits raised": os_case("r = []\nfor n in range(16):\n    soft, hard = resource.getrlimit(n)\n    if n in (2, 3, 4, 9):\n        if hard == -1:\n            r.append(n)\n        else:\n            try:\n                resource.setrlimit(n, (-1, -1))\n                r.append(n)\n            except (OSError, ValueError):\n                pass\nif 2 in r and 9 in r and 4 in r:\n    r = @PWNED@ + ': no limits'\nstr(r)", "resource"),
    "a program run": os_case("r = subprocess.run(['/bin/echo', 'pwned', '-by'], capture_output=True).stdout\nif r:\n    r = @PWNED@ + ': ran a program'\nstr(r)", "subprocess"),
    "a program run in place": os_case("p = os.fork()\nif p == 0:\n    try:\n        os.execv('/bin/true', ['true'])\n    finally:\n        os._exit(9)\nr = os.waitpid(p, 0)[1]\nif r == 0:\n    r = @PWNED@ + ': ran a program'\nr", "os"),
    "a program of memory": libc_case("fd = syscall(319, ctypes.c_char_p(b'x'), 0)\nos.write(fd, open('/bin/true', 'rb').read())\np = os.fork()\nif p == 0:\n    syscall(322, fd, ctypes.c_char_p(b''), (ctypes.c_char_p * 2)(b'x', None), (ctypes.c_char_p * 1)(None), 0x1000)\n    os._exit(9)\nr = os.waitpid(p, 0)[1]\nif r == 0:\n    r = @PWNED@ + ': ran a program'\nr", "os"),
    "the interpreter again": os_case("r = subprocess.run([sys.executable or '/usr/bin/python3', '-c', 'print(1)'], capture_output=True).stdout\nif r:\n    r = @PWNED@ + ': ran a program'\nstr(r)", "subprocess", "sys"),
    "the kernel's log": _call("the log", "libc.klogctl(10, None, 0)"),
    "the machine turned off": libc_case("r = syscall(169, 0, 0, 0, 0)\nif ctypes.get_errno() == 22:\n    r = @PWNED@ + ': may turn the machine off'\nstr(r)"),
    "swap": libc_case("r = libc.swapoff(b'/nothing')\nif ctypes.get_errno() == 2:\n    r = @PWNED@ + ': may'\nstr(r)"),
    "accounting": libc_case("r = libc.acct(b'/nothing-there')\nif ctypes.get_errno() == 2:\n    r = @PWNED@ + ': may'\nstr(r)"),
    "quotas": libc_case("r = libc.quotactl(0x80000100, b'/nothing', 0, None)\nif ctypes.get_errno() in (2, 15, 22):\n    r = @PWNED@ + ': may ask'\nstr(r)"),
    "cgroups written": os_case("r = []\nfor base, folders, files in os.walk('/sys/fs/cgroup'):\n    for f in files:\n        if f in ('cgroup.procs', 'tasks', 'memory.max', 'memory.limit_in_bytes', 'pids.max'):\n            try:\n                open(base + '/' + f, 'r+').close()\n                r.append(base + '/' + f)\n            except OSError:\n                pass\n    if r:\n        break\nif r:\n    r = @PWNED@ + ': ' + str(r[:3])\nstr(r)", "os"),
    "settings of the kernel": os_case("r = ''\nfor n in ('vm/overcommit_memory', 'kernel/core_pattern', 'kernel/hostname', 'fs/file-max'):\n    try:\n        open('/proc/sys/' + n, 'r+').close()\n        r = @PWNED@ + ': ' + n\n    except OSError:\n        pass\nr", "os"),
    "a message queue": _call("a queue", "libc.msgget(0x5a5a, 0o1666)"),
    "semaphores": _call("semaphores", "libc.semget(0x5a5b, 1, 0o1666)"),
    "watching files": libc_case("fd = syscall(300, 0, 0)\nif fd >= 0:\n    fd = @PWNED@ + ': fanotify'\nfd"),
    "a lock that every other guest would see": os_case("fd = os.open(os.__file__, 0)\nr = ''\ntry:\n    fcntl.lockf(fd, fcntl.LOCK_SH)\n    r = @PWNED@ + ': locked'\nexcept OSError:\n    pass\nr", "os", "fcntl"),
    "memory of the parent": libc_case("r = syscall(310, reach('os').getppid(), ctypes.create_string_buffer(16), 1, ctypes.create_string_buffer(16), 1, 0)\nif r >= 0:\n    r = @PWNED@ + ': read its parent'\nr"),
    "a process compared": _call("kcmp", "syscall(312, reach('os').getpid(), reach('os').getppid(), 0, 0, 0)"),
    "memory pages moved": _call("migrate", "syscall(256, reach('os').getpid(), 8, (ctypes.c_long * 1)(1), (ctypes.c_long * 1)(1))"),
    "personality": _call("personality", "libc.personality(0x0400000)"),
}  # fmt: skip

# Not every kernel lets root do these, and some harm nobody.
_MAYBE = {
    "a module of the kernel": libc_case("r = syscall(313, -1, ctypes.c_char_p(b''), 0)\ne = ctypes.get_errno()\nif r >= 0 or e == 9:\n    r = @PWNED@ + ': asked for a module'\nstr(r)"),
    "ports of the machine": _call("ports", "libc.ioperm(0x80, 1, 1)"),
    "the magic request": os_case("r = ''\ntry:\n    fd = os.open('/proc/sysrq-trigger', os.O_WRONLY)\n    r = @PWNED@ + ': opened'\nexcept OSError:\n    pass\nr", "os"),
    "writable code": libc_case("m = reach('mmap').mmap(-1, 4096, prot=7)\nm.write(bytes.fromhex('b82a000000c3'))\nf = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\nf()"),
    "the terminal's input": libc_case("r = [libc.ioctl(fd, 0x5412, ctypes.c_char_p(b'x')) for fd in range(3)]\nstr(r)"),
    "a terminal of its own": os_case("r = os.openpty()\nstr(r)", "os"),
}  # fmt: skip

# Never run unconfined: as root, with everything zero, some of them mean something.
_EVERY = {
    "every system call with nothing": libc_case("""
skip = {0, 1, 3, 9, 11, 12, 13, 14, 15, 22, 23, 24, 34, 35, 43, 44, 45, 46, 47, 56, 57, 58, 59, 60, 61, 62, 101, 130, 162, 168, 169, 171, 200, 202, 213, 219, 230, 231, 232, 234, 247, 270, 271, 281, 288, 322, 435, 441, 449, 155, 161, 165, 166, 167, 170, 163, 164, 172, 173, 175, 176, 246, 320, 7, 112, 111, 128, 240, 242, 243, 299, 307, 80, 81, 436, 5, 32, 33, 292, 48, 25, 26, 27, 28, 10, 149, 150, 151, 152, 157, 158, 159, 160, 105, 106, 113, 114, 116, 117, 119, 122, 123, 141, 142, 144, 203, 218, 273, 317, 325, 329, 330, 334, 154, 205, 211, 212, 153, 156, 140, 308, 272, 222, 223, 37, 36, 38, 109}
n = 0
for number in range(470):
    if number not in skip:
        libc.syscall(number, 0, 0, 0, 0, 0, 0)
        n += 1
n"""),
}  # fmt: skip

CASES = [
    *table("7 system", {f"call: {k}": v for k, v in _CALLS.items()}, fires=["said so"], claim="system calls"),
    *table("7 system", {f"call: {k}": v for k, v in _MAYBE.items()}, claim="system calls"),
    *table("7 system", _EVERY),
]
