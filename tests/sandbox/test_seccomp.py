"""The filter of system calls: what it lets through, on both architectures, and that Python lives under it."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from oneturn.errors import SandboxUnavailable
from oneturn.sandbox.jail import seccomp

ARCHES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
ALLOW, KILL = "allow", "kill"
HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
THREAD = 0x3D0F00
NEVER = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "execve": (59, 221),
    "execveat": (322, 281), "fork": (57, None), "vfork": (58, None), "ptrace": (101, 117), "bpf": (321, 280),
    "sendto": (44, 206), "recvfrom": (45, 207), "flock": (73, 32),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "mount": (165, 40),
    "umount2": (166, 39), "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51),
    "pivot_root": (155, 41), "perf_event_open": (298, 241), "open_by_handle_at": (304, 265),
    "memfd_create": (319, 279), "personality": (135, 92), "init_module": (175, 105), "kexec_load": (246, 104),
    "reboot": (169, 142), "settimeofday": (170, 170), "clock_settime": (227, 112), "kill": (62, 129),
    "tkill": (200, 130), "sendmsg": (46, 211), "recvmsg": (47, 212), "setuid": (105, 146),
    "capset": (126, 91),
    "setrlimit": (160, 164), "symlinkat": (266, 36), "linkat": (265, 37), "mknodat": (259, 33),
    "shmget": (29, 194), "quotactl": (179, 60), "swapon": (167, 224),
}  # fmt: skip
YOUNG = {"pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "open_tree": 428,
         "fsopen": 430, "pidfd_open": 434, "clone3": 435, "openat2": 437, "pidfd_getfd": 438,
         "landlock_create_ruleset": 444, "memfd_secret": 447, "not invented yet": 999}  # fmt: skip


def verdict(program: bytes, arch: int, number: int, *arguments: int) -> str:
    """What the kernel would say: the filter, interpreted."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number, arch, 0, *(value & (1 << 64) - 1 for value in padded))
    lines = list(struct.iter_unpack("<HBBI", program))
    held = at = 0
    while True:
        code, yes, no, value = lines[at]
        at += 1
        if code == 0x20:
            (held,) = struct.unpack_from("<I", data, value)
        elif code == 0x54:
            held &= value
        elif code in (0x15, 0x35):
            at += yes if (held == value if code == 0x15 else held >= value) else no
        else:
            assert code == 0x06
            if value == 0x80000000:
                return KILL
            return ALLOW if value == 0x7FFF0000 else errno.errorcode[value & 0xFFFF]


@pytest.mark.parametrize("arch", ARCHES)
class TestFilter:
    def ask(self, arch: str, name: str, *arguments: int, profile: tuple[seccomp.Group, ...]) -> str:
        audit, column = ARCHES[arch]
        number = seccomp._numbers()[name][column]
        assert number is not None
        return verdict(seccomp.program(profile, arch), audit, number, *arguments)

    @pytest.mark.parametrize("name", NEVER)
    def test_what_no_script_needs_is_not_permitted(self, arch: str, name: str) -> None:
        audit, column = ARCHES[arch]
        number = NEVER[name][column]
        if number is None:
            pytest.skip("this architecture never had it")
        assert verdict(seccomp.program(seccomp.GUEST, arch), audit, number) == "EPERM"

    @pytest.mark.parametrize("name", YOUNG)
    def test_young_calls_do_not_exist_so_that_libraries_fall_back(self, arch: str, name: str) -> None:
        for profile in (seccomp.GUEST, seccomp.WORKER):
            assert verdict(seccomp.program(profile, arch), ARCHES[arch][0], YOUNG[name]) == "ENOSYS"

    def test_another_architectures_rules_end_the_process(self, arch: str) -> None:
        program = seccomp.program(seccomp.GUEST, arch)
        others = [audit for name, (audit, _) in ARCHES.items() if name != arch]
        for audit in (*others, 0x40000003, 0x40000028):
            assert verdict(program, audit, 0) == KILL

    def test_only_threads_can_be_cloned(self, arch: str) -> None:
        def clone(flags: int) -> str:
            return self.ask(arch, "clone", flags, profile=seccomp.GUEST)

        assert clone(THREAD) == clone(THREAD | 0x400000) == ALLOW
        assert clone(17) == clone(0x01200011) == "EPERM"  # a fork
        for namespace in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
            assert clone(THREAD | namespace) == clone(17 | namespace) == "EPERM"

    def test_no_memory_is_written_and_executed(self, arch: str) -> None:
        for name in ("mmap", "mprotect"):
            allowed = [
                self.ask(arch, name, 0, 4096, protection, profile=seccomp.GUEST) for protection in range(8)
            ]
            assert [index for index, said in enumerate(allowed) if said != ALLOW] == [6, 7]

    def test_limits_are_read_and_never_set(self, arch: str) -> None:
        assert self.ask(arch, "prlimit64", 0, 7, 0, 4096, profile=seccomp.GUEST) == ALLOW
        for pointer in (0x1000, 0x1_0000_0000, 0x7FFF_0000_0000):
            assert self.ask(arch, "prlimit64", 0, 7, pointer, 0, profile=seccomp.GUEST) == "EPERM"

    def test_threads_wait_for_each_other_by_the_simple_rules(self, arch: str) -> None:
        def futex(order: int) -> str:
            return self.ask(arch, "futex", 0, order, profile=seccomp.GUEST)

        assert futex(0) == futex(128) == futex(128 | 256 | 9) == futex(129) == ALLOW
        assert {futex(order | 128) for order in (6, 7, 8, 11, 12, 13)} == {"ENOSYS"}  # the kernel's own locks

    def test_pages_are_not_offered_to_other_processes(self, arch: str) -> None:
        assert self.ask(arch, "madvise", 0, 4096, 4, profile=seccomp.GUEST) == ALLOW
        for advice in (9, 12, 20, 21, 25, 100, 101):
            assert self.ask(arch, "madvise", 0, 4096, advice, profile=seccomp.GUEST) == "EINVAL"

    def test_options_that_reach_further_are_refused(self, arch: str) -> None:
        def refused(name: str, *arguments: int) -> bool:
            return self.ask(arch, name, *arguments, profile=seccomp.GUEST) != ALLOW

        assert not refused("prctl", 15)  # PR_SET_NAME
        assert all(refused("prctl", option) for option in (4, 22, 38))
        assert not refused("ioctl", 1, 0x5401)
        assert refused("ioctl", 1, 0x5412)  # TIOCSTI: input for a terminal
        assert not refused("fcntl", 1, 2)
        assert all(refused("fcntl", 1, order) for order in (8, 1024))  # F_SETOWN, F_SETLEASE
        # Locks on the files of the library, which all guests and the host have.
        assert all(refused("fcntl", 1, order) for order in (5, 6, 7, 36, 37, 38))
        assert not refused("tgkill", 1, 1, 6)
        assert refused("tgkill", 1, 1, 9)

    def test_a_worker_may_do_less_than_a_guest_except_start(self, arch: str) -> None:
        names = seccomp._numbers()
        both = {
            name
            for name in names
            if names[name][ARCHES[arch][1]] is not None
            and self.ask(arch, name, profile=seccomp.WORKER) == ALLOW
            and self.ask(arch, name, profile=seccomp.GUEST) != ALLOW
        }
        assert both <= {"execve", "arch_prctl", "set_tid_address"}
        for name in ("mkdirat", "unlinkat", "renameat2", "pipe2"):
            assert self.ask(arch, name, profile=seccomp.WORKER) == "EPERM"


def test_calls_by_the_rules_for_short_pointers_end_the_process() -> None:
    program = seccomp.program(seccomp.GUEST, "x86_64")
    assert verdict(program, ARCHES["x86_64"][0], 0x40000000) == KILL
    assert verdict(program, ARCHES["x86_64"][0], 0xFFFFFFFF) == KILL


def test_the_same_profile_gives_the_same_bytes_in_every_process() -> None:
    tell = (
        "import hashlib; from oneturn.sandbox.jail import seccomp as s\n"
        "both = [s.program(p, a) for p in (s.GUEST, s.WORKER) for a in ('x86_64', 'aarch64')]\n"
        "print(*(hashlib.sha256(one).hexdigest() for one in both))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", tell],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    assert hashlib.sha256(seccomp.program(seccomp.GUEST, "x86_64")).hexdigest() in told.pop()


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        seccomp.program(arch="riscv64")


@pytest.mark.skipif(not HEADER.exists(), reason="the kernel's headers for x86-64 are not installed")
def test_the_numbers_are_the_kernels() -> None:
    numbers = dict(re.findall(r"#define __NR_(\w+) (\d+)", HEADER.read_text()))
    assert {name: str(pair[0]) for name, pair in seccomp._numbers().items()}.items() <= numbers.items()


def test_the_listing_names_every_call_with_its_reason() -> None:
    for profile in (seccomp.GUEST, seccomp.WORKER):
        text = seccomp.listing(profile)
        for group in profile:
            assert group.why in text
            assert group.calls in text


INSTALL = """
import ctypes, os, sys
from oneturn.sandbox.jail import seccomp
class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))
lines = seccomp.program()
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
number = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
assert libc.syscall(number, 1, 1, ctypes.byref(Program(len(lines) // 8, lines))) == 0
"""
WORK = {
    "threads": "from concurrent.futures import ThreadPoolExecutor as P\n"
    "assert sum(P(8).map(len, ['ab'] * 100)) == 200",
    "files": "import tempfile, shutil\n"
    "with tempfile.TemporaryDirectory() as folder:\n"
    "    open(folder + '/a', 'w').write('x')\n"
    "    shutil.copy2(folder + '/a', folder + '/b')\n"
    "    os.rename(folder + '/b', folder + '/c')\n"
    "    shutil.copytree(folder, folder + '/d')\n"
    "    assert sorted(os.listdir(folder)) == ['a', 'c', 'd']",
    "computing": "import decimal, zlib, lzma, bz2, hashlib, sqlite3, zoneinfo, json, re, random\n"
    "decimal.getcontext().prec = 500\ndecimal.Decimal(2).sqrt()\n"
    "assert zlib.decompress(zlib.compress(b'a' * 10**6)) == b'a' * 10**6\n"
    "sorted(random.random() for _ in range(10**5))\nsqlite3.connect(':memory:').execute('select 1')",
    "numpy": "import numpy\na = numpy.random.default_rng(1).random((200, 200))\nnumpy.linalg.svd(a)\na @ a",
    "pandas": "import pandas\nf = pandas.DataFrame({'k': [1, 2, 1], 'v': [1., 2., 3.]})\n"
    "assert f.groupby('k').v.sum().tolist() == [4.0, 2.0]",
    "abort": "import signal\ncame = []\nsignal.signal(signal.SIGABRT, lambda *_: came.append(1))\n"
    "signal.raise_signal(signal.SIGABRT)\nassert came",
}


@pytest.mark.skipif(platform.machine() not in ARCHES or sys.platform != "linux", reason="no filter here")
@pytest.mark.parametrize("name", WORK)
def test_python_does_its_work_under_the_filter(name: str) -> None:
    if name in ("numpy", "pandas"):
        pytest.importorskip(name)
    done = subprocess.run(
        [sys.executable, "-c", INSTALL + WORK[name]], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
