"""The OS jail and the warm process: what the kernel refuses from inside, and what is left behind.

The scripts here import what they like, `ctypes` included, so that nothing but the kernel stands in their way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oneturn.errors import ConfigError, SandboxError, SandboxUnavailable
from oneturn.sandbox.channel import ChannelBroken, SocketChannel
from oneturn.sandbox.cpython import CPythonSandbox
from oneturn.sandbox.jail import seccomp, zygote
from oneturn.sandbox.jail.cgroups import Cgroups
from oneturn.sandbox.jail.spec import GUEST_ID, JailSpec, interpreter
from oneturn.sandbox.jail.zygote import WarmJail
from oneturn.types import Limits

PATIENCE = 60.0
MEMORY = 64 * 1024 * 1024
_MODULES = [
    "ctypes",
    "errno",
    "fcntl",
    "io",
    "mmap",
    "os",
    "resource",
    "signal",
    "socket",
    "sys",
    "threading",
]
SCRATCH = 8 * 1024 * 1024
# Makes a system call by number and says how it failed; the numbers are x86-64's.
_CALL = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(*map(ctypes.c_long, (number, *arguments)))
    return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]
"""


def start_frame(source: str, memory: int = MEMORY) -> bytes:
    limits = {
        "memory": memory, "recursion": 500, "printed_chars": 1_000, "depth": 100, "nodes": 100_000,
        "value_bytes": 1 << 20, "cpu_seconds": 30.0,
    }  # fmt: skip
    names = {key: list[str]() for key in ("namespaces", "globals", "called", "awaited")} | {"tools": ["wait"]}
    frame = {"op": "start", "n": 0, "source": source, **names, "tool_error": False, "seed": 1}
    return json.dumps({**frame, "limits": limits, "modules": _MODULES, "modules_hint": {}}).encode()


def begin(channel: SocketChannel, source: str) -> dict[str, Any]:
    """Start a script; the first thing its guest says, clocks being answered."""
    assert json.loads(channel.receive(PATIENCE))["op"] == "ready"
    channel.send(start_frame(source))
    first = json.loads(channel.receive(PATIENCE))
    return json.loads(channel.receive(PATIENCE)) if first["op"] == "confined" else first


def end(channel: SocketChannel, source: str) -> Any:
    """The value of a script, or its error as `[kind, message, line, column]`."""
    frame = begin(channel, source)
    assert frame["op"] == "done", frame
    return frame["error"] or frame["value"]


def play(jail: WarmJail, source: str, memory: int = MEMORY) -> Any:
    channel = jail.guest(memory)
    try:
        return end(channel, source)
    finally:
        channel.close()


def family(pid: int | None = None) -> set[int]:
    """The processes below one, this one by default."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {pid or os.getpid()}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid or os.getpid()}


def left(before: set[int]) -> set[int]:
    """The processes below this one that are neither of those `before` nor below one of them.

    What another sandbox keeps warm comes and goes by itself, and what it killed may take a moment to die.
    """
    found = family()
    return found - before.union(*map(family, before))


def soon(condition: Callable[[], bool]) -> bool:
    """Whether it becomes true before the test's patience ends."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def make_spec(imports: tuple[str, ...] = (), python: str | None = None) -> JailSpec:
    return JailSpec(interpreter(python, imports), seccomp.program(), imports=imports, scratch=SCRATCH)


def started(spec: JailSpec, spares: int = 1) -> WarmJail:
    """A jail that is warm, or a skip where the machine has no such thing."""
    jail = WarmJail(spec, spares=spares)
    try:
        jail.guest(MEMORY).close()
    except SandboxUnavailable as error:
        pytest.skip(f"this machine has no jail: {error}")
    return jail


@pytest.fixture(scope="module")
def jail() -> Iterator[WarmJail]:
    jail = started(make_spec())
    yield jail
    jail.close()


class TestTheKernelHolds:
    @pytest.mark.parametrize(
        ("source", "kind"),
        [
            ("import socket\nsocket.socket()", "PermissionError"),
            ("import socket\nsocket.socket(socket.AF_UNIX)", "PermissionError"),
            ("import socket\nsocket.socketpair()", "PermissionError"),
            ("import os\nos.fork()", "PermissionError"),
            ("import os\nos.execv('/bin/sh', ['sh'])", "PermissionError"),
            ("import os\nos.posix_spawn('/bin/sh', ['sh'], {})", "PermissionError"),
            ("import os\nos.kill(1, 9)", "PermissionError"),
            ("import os\nos.kill(-1, 9)", "PermissionError"),
            ("import os\nos.setuid(0)", "PermissionError"),
            ("import os\nos.chroot('/tmp')", "PermissionError"),
            ("import os\nos.open('/note', os.O_CREAT | os.O_WRONLY)", "OSError"),
            ("import os\nos.open(os.__file__, os.O_WRONLY)", "PermissionError"),
            ("import os\nos.open('/etc/passwd', os.O_RDONLY)", "FileNotFoundError"),
            ("import os\nos.open('/proc/self/status', os.O_RDONLY)", "FileNotFoundError"),
            ("import os\nos.open('/sys/kernel', os.O_RDONLY)", "FileNotFoundError"),
            ("import os\nos.open('/dev/tty', os.O_RDWR)", "FileNotFoundError"),
            ("import os\nos.listdir('/')", "PermissionError"),
            ("import os\nos.mkfifo('/tmp/pipe')", "PermissionError"),
            ("import os\nos.symlink('/', '/tmp/root')", "PermissionError"),
            ("import resource as r\nr.setrlimit(r.RLIMIT_NOFILE, (9, 9))", "ValueError"),
            ("import os\nos.memfd_create('x')", "PermissionError"),
        ],
    )
    def test_it_is_refused(self, jail: WarmJail, source: str, kind: str) -> None:
        error = play(jail, source)
        assert error[0] == kind, error

    @pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are x86-64's")
    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("ptrace", (101, 0, 0, 0, 0)),
            ("mount", (165, 0, 0, 0, 0, 0)),
            ("umount2", (166, 0, 2)),
            ("pivot_root", (155, 0, 0)),
            ("unshare a user namespace", (272, 0x10000000)),
            ("setns", (308, 3, 0)),
            ("clone a process", (56, 17, 0, 0, 0, 0)),
            ("vfork", (58,)),
            ("bpf", (321, 0, 0, 0)),
            ("userfaultfd", (323, 0)),
            ("keyctl", (250, 0, 0)),
            ("perf_event_open", (298, 0, 0, -1, -1, 0)),
            ("process_vm_readv", (310, 1, 0, 0, 0, 0, 0)),
            ("io_uring_setup", (425, 1, 0)),
            ("pidfd_open", (434, 1, 0)),
            ("open_tree", (428, -100, 0, 1)),
            ("a second filter", (317, 1, 0, 0)),
            ("becoming dumpable", (157, 4, 1, 0, 0, 0)),
            ("outliving the parent", (157, 1, 0, 0, 0, 0)),
        ],
    )
    def test_a_system_call_is_refused(self, jail: WarmJail, name: str, arguments: tuple[int, ...]) -> None:
        assert play(jail, f"{_CALL}call(*{arguments})") in ("EPERM", "ENOSYS")

    def test_it_is_alone(self, jail: WarmJail) -> None:
        value = play(
            jail, "import os, sys\n[os.getpid(), os.getppid(), dict(os.environ), os.getcwd(), sys.argv[1:]]"
        )
        assert value[:2] == [1, 0]
        assert value[3] == "/tmp"

    def test_its_environment_is_empty(self, jail: WarmJail) -> None:
        source = (
            "import ctypes\nlist = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), 'environ')\n"
            "found = []\nwhile list and list[len(found)]:\n    found.append(list[len(found)].decode())\nfound"
        )
        assert [line for line in play(jail, source) if not line.startswith("TZ=")] == []

    def test_it_has_one_descriptor(self, jail: WarmJail) -> None:
        source = (
            "import os\nfound = []\nfor number in range(1000):\n    try:\n        os.fstat(number)\n"
            "        found.append(number)\n    except OSError:\n        pass\nfound"
        )
        assert play(jail, source) == [0, 1, 2, 3]

    def test_no_guest_leaves_a_mark_on_what_all_of_them_have(self, jail: WarmJail) -> None:
        mark = "import fcntl, os\nfound = [fcntl.fcntl(n, fcntl.F_GETFL) for n in range(3)]\n" + (
            "for n in range(3):\n    fcntl.fcntl(n, fcntl.F_SETFL, os.O_APPEND)\nfound"
        )
        assert play(jail, mark) == play(jail, mark)

    def test_the_machine_has_no_name_in_it(self, jail: WarmJail) -> None:
        assert play(jail, "import os\nos.uname().nodename") == "jail"

    def test_files_that_only_root_can_read_stay_unread(self, tmp_path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root has such files")
        shown = tmp_path / "shown"
        shown.mkdir()
        tmp_path.chmod(0o700)  # root shows what lies where nobody else can go
        (shown / "secret.txt").write_text("secret")
        (shown / "secret.txt").chmod(0o600)
        (shown / "open.txt").write_text("open")
        spec = make_spec()
        packages = dataclasses.replace(spec.interpreter, packages=(str(shown),))
        jail = started(dataclasses.replace(spec, interpreter=packages), spares=0)
        read = "import os\nos.read(os.open('{}', os.O_RDONLY), 9).decode()"
        assert play(jail, read.format(shown / "open.txt")) == "open"
        assert play(jail, read.format(shown / "secret.txt"))[0] == "PermissionError"
        assert play(jail, f"import os\nos.open('{shown}/new', os.O_CREAT | os.O_WRONLY)")[0] in (
            "OSError", "PermissionError",
        )  # fmt: skip
        jail.close()

    def test_what_the_kernel_says_of_a_guest(self, jail: WarmJail) -> None:
        channel = jail.guest(MEMORY)
        try:
            assert begin(channel, "await wait()")["op"] == "wait"
            told = status_of_the_one_that_waits()
        finally:
            channel.close()
        none = "0000000000000000"
        assert {told[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {none}
        assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")
        outside = GUEST_ID if os.geteuid() == 0 else os.geteuid()
        assert (
            told["Uid"].split() == told["Gid"].split() == [str(outside)] * 4 or os.getegid() != os.geteuid()
        )
        assert told["NSpid"].split()[-1] == "1"
        if os.geteuid() == 0:
            assert told.get("Groups", "") == ""


def status_of_the_one_that_waits() -> dict[str, str]:
    """/proc's word on the guest whose filter is on; spare ones have none yet."""
    for pid in family():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        told = {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}
        if told["Seccomp"] == "2" and len(told["NSpid"].split()) >= 3:
            return told
    raise AssertionError("no confined guest found")


class TestRoom:
    @pytest.mark.parametrize(
        ("source", "kind"),
        [
            ("x = []\nwhile True:\n    x.append(bytearray(1 << 20))", "MemoryError"),
            ("x = []\nwhile True:\n    x.append('abc' * 100)", "MemoryError"),
            ("import mmap\nx = []\nwhile True:\n    x.append(mmap.mmap(-1, 1 << 24))", "OSError"),
            ("import os\nwhile True:\n    os.dup(0)", "OSError"),
            (
                "import threading\nhold = threading.Event()\n"
                "while True:\n    threading.Thread(target=hold.wait, daemon=True).start()",
                "RuntimeError",
            ),
            (
                "import os\nfile = os.open('/tmp/big', os.O_CREAT | os.O_WRONLY)\n"
                "while True:\n    os.write(file, bytes(1 << 16))",
                "OSError",
            ),
            (
                "import os\nnumber = 0\nwhile True:\n    number += 1\n"
                "    os.close(os.open(f'/tmp/{number}', os.O_CREAT | os.O_WRONLY))",
                "OSError",
            ),
        ],
    )
    def test_it_ends(self, jail: WarmJail, source: str, kind: str) -> None:
        assert play(jail, source)[0] == kind

    def test_scratch_files_are_one_s_own_and_cannot_be_executed(self, jail: WarmJail) -> None:
        write = (
            "import os\nfile = os.open('/tmp/note', os.O_CREAT | os.O_RDWR)\nos.write(file, bytes(4096))\n"
        )
        assert play(jail, f"{write}os.listdir('/tmp')") == ["note"]
        assert play(jail, "import os\nos.listdir('/tmp')") == []
        source = (
            f"{write}import mmap\nmmap.mmap(file, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)"
        )
        assert play(jail, source)[0] == "PermissionError"


class TestFate:
    @pytest.mark.parametrize(
        ("source", "fate"),
        [
            ("import ctypes\nctypes.string_at(0)", "crashed (SIGSEGV)"),
            ("import os\nos._exit(7)", "ended by itself, with status 7"),
        ],
    )
    def test_a_guest_that_goes_leaves_its_reason(self, jail: WarmJail, source: str, fate: str) -> None:
        channel = jail.guest(MEMORY)
        with pytest.raises(ChannelBroken):
            end(channel, source)
        assert channel.fate() == fate
        channel.close()

    def test_a_guest_that_takes_more_memory_than_its_group_has(self, jail: WarmJail) -> None:
        if not jail.grouped:
            pytest.skip("no control group can be made here")
        channel = jail.guest(1 << 20)
        with pytest.raises(ChannelBroken):
            assert json.loads(channel.receive(PATIENCE))["op"] == "ready"
            channel.send(start_frame("x = bytearray(1 << 30)", memory=1 << 31))
            while True:
                channel.receive(PATIENCE)
        assert channel.fate() == "was killed for its memory"
        channel.close()

    def test_killing_ends_a_guest_that_computes(self, jail: WarmJail) -> None:
        channel = jail.guest(MEMORY)
        assert json.loads(channel.receive(PATIENCE))["op"] == "ready"
        channel.send(start_frame("while True: pass"))
        assert soon(lambda: (channel.computed() or 0) > 0.05)
        channel.kill()
        channel.kill()
        with pytest.raises(ChannelBroken):
            while True:
                channel.receive(PATIENCE)
        assert channel.fate() == "was stopped"
        channel.close()
        channel.close()
        assert channel.computed() is None


class TestLife:
    def test_a_session_runs_further_scripts_in_the_same_process(self, jail: WarmJail) -> None:
        channel = jail.guest(MEMORY)
        assert end(channel, "x = 20\nx") == 20
        channel.send(start_frame("x + 1"))
        assert json.loads(channel.receive(PATIENCE))["value"] == 21
        channel.close()

    def test_nothing_is_left_after_close(self) -> None:
        started(make_spec()).close()
        before, others = _held(), family()
        for _ in range(3):
            jail = WarmJail(make_spec(), spares=1)
            channels = [jail.guest(MEMORY) for _ in range(4)]
            assert len(family() - others) >= 6  # launcher, zygote, guests
            assert begin(channels[0], "await wait()")["op"] == "wait"
            for channel in channels[:2]:
                channel.close()
            jail.close()
            for channel in channels:
                channel.close()
        assert _held() == before
        assert left(others) == set()

    @pytest.mark.parametrize("dead", ["launcher", "zygote"])
    def test_a_warm_process_that_died_is_replaced(self, dead: str) -> None:
        others = family()
        jail = started(make_spec())
        launcher = next(pid for pid in family() - others if _parent(pid) == os.getpid())
        zygote = next(pid for pid in family(launcher) if _parent(pid) == launcher)
        channel = jail.guest(MEMORY)
        below = family(launcher)
        os.kill({"launcher": launcher, "zygote": zygote}[dead], signal.SIGKILL)
        assert soon(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
        with pytest.raises(ChannelBroken):
            end(channel, "1")
        assert channel.fate() == "was lost with the process it was forked from"
        channel.close()
        assert play(jail, "1 + 1") == 2
        jail.close()
        assert left(others) == set()

    def test_all_of_it_dies_with_the_host(self, tmp_path: Path) -> None:
        started(make_spec()).close()
        program = (
            "import sys, time\nfrom tests.sandbox.test_zygote import *\njail = WarmJail(make_spec())\n"
            "channel = jail.guest(MEMORY)\nchannel.receive(60)\n"
            "channel.send(start_frame('while True: pass'))\nprint('running', flush=True)\ntime.sleep(600)"
        )
        here = str(Path(__file__).parents[2])
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=here) as host:
            assert host.stdout is not None
            assert host.stdout.readline() == b"running\n"
            below = family(host.pid)
            assert len(below) >= 3
            host.kill()
        assert soon(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))

    def test_many_at_once(self, jail: WarmJail) -> None:
        channels = [jail.guest(MEMORY) for _ in range(12)]
        assert [begin(channel, "await wait()")["op"] for channel in channels] == ["wait"] * 12
        for channel in channels:
            channel.close()
        assert play(jail, "1 + 1") == 2


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _held() -> tuple[list[str], int, list[str]]:
    """What could be left behind besides processes: descriptors, mounts, control groups."""
    descriptors = sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in _descriptors())
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    made = Cgroups.available()
    folders = set(made.folders.values()) if made is not None else ()
    groups = [str(path) for folder in folders for path in folder.glob(f"oneturn-*-{os.getpid()}-*")]
    return (
        [name.partition(":")[0] for name in descriptors],
        mounts.count("/proc") + mounts.count("/tmp"),
        groups,
    )


def _descriptors() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            os.fstat(int(name))
            found.append(int(name))
    return found


class TestImports:
    def test_what_is_configured_is_there_and_loaded(self, tmp_path: Path) -> None:
        spec = _with_package(tmp_path, "answer = 42")
        jail = started(spec, spares=0)
        assert play(jail, "import sys\nsys.modules['planted_package'].answer") == 42
        assert (
            play(jail, f"import os\nos.open('{tmp_path}/settings.txt', os.O_RDONLY)")[0]
            == "FileNotFoundError"
        )
        jail.close()

    def test_one_that_fails_says_why(self, tmp_path: Path) -> None:
        started(make_spec()).close()
        others = family()
        jail = WarmJail(_with_package(tmp_path, "import no_such_module_anywhere"))
        with pytest.raises(
            ConfigError, match=r"planted_package failed .* No module named 'no_such_module_anywhere'"
        ):
            jail.guest(MEMORY)
        jail.close()
        assert left(others) == set()

    def test_one_that_starts_a_thread_is_refused(self, tmp_path: Path) -> None:
        started(make_spec()).close()
        code = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
        with pytest.raises(ConfigError, match="planted_package started 1 thread"):
            WarmJail(_with_package(tmp_path, code)).guest(MEMORY)

    def test_one_that_is_not_there(self) -> None:
        with pytest.raises(ConfigError, match="has no module named no_such_module_anywhere"):
            make_spec(("no_such_module_anywhere",))

    def test_an_interpreter_that_is_none(self) -> None:
        with pytest.raises(ConfigError, match="cannot be used"):
            make_spec(python="/bin/true")
        with pytest.raises(ConfigError, match="cannot be used"):
            make_spec(python="/no/such/python")


def _with_package(folder: Path, code: str) -> JailSpec:
    """A jail that imports a package whose folder of sources holds something else too."""
    (folder / "planted_package").mkdir()
    (folder / "planted_package" / "__init__.py").write_text(code)
    (folder / "settings.txt").write_text("nobody's business")
    spec = make_spec()
    found = dataclasses.replace(
        spec.interpreter, path=(str(folder),), packages=(str(folder / "planted_package"),)
    )
    return dataclasses.replace(spec, interpreter=found, imports=("planted_package",))


class TestRefusal:
    def test_without_a_filter_nothing_runs(self) -> None:
        jail = started(make_spec())
        jail.close()
        jail = WarmJail(dataclasses.replace(make_spec(), syscalls=b""), spares=0)
        channel = jail.guest(MEMORY)
        frame = begin(channel, "1")
        assert frame["op"] == "refused"
        assert "without a filter" in frame["why"]
        channel.close()
        jail.close()

    @pytest.mark.parametrize("scratch", [0, -1, 4096])
    def test_scratch_files_always_have_a_bound(self, scratch: int) -> None:
        with pytest.raises(ConfigError, match="at least 65536"):
            dataclasses.replace(make_spec(), scratch=scratch)

    def test_a_machine_that_is_short_of_something_is_not_one_that_refuses(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started(make_spec()).close()
        inside = tmp_path / "inside"
        shutil.copytree(zygote._MAIN.parent, inside)
        text = (inside / "jail.py").read_text()
        for place, code in (("enclose", "ENOMEM"), ("seal", "EAGAIN"), ("enclose", "EPERM")):
            head = next(line for line in text.splitlines() if line.startswith(f"def {place}("))
            fault = f'{head}\n    raise refused("A namespace", errno.{code})\n'
            (inside / "jail.py").write_text(text.replace(f"{head}\n", fault))
            monkeypatch.setattr(zygote, "_MAIN", inside / "zygote.py")
            sandbox = CPythonSandbox()
            try:
                if code == "EPERM":
                    sandbox.open(Limits(), 1)
                    assert (sandbox.way, sandbox.refused[:11]) == ("bubblewrap", "A namespace")
                    continue
                why = {"enclose": "Try again in a moment", "seal": "short of processes"}[place]
                with pytest.raises(SandboxError, match=why) as told:
                    sandbox.open(Limits(), 1)
                assert not isinstance(told.value, SandboxUnavailable)
                assert (sandbox.way, sandbox.refused) == (None, "")
                monkeypatch.undo()
                sandbox.open(Limits(), 1)  # and as soon as there is enough again, it is used
                assert sandbox.way == "zygote"
            except SandboxUnavailable as error:
                pytest.skip(f"this machine has no bubblewrap: {error}")
            finally:
                sandbox.close()

    def test_a_machine_without_user_namespaces_says_so(self) -> None:
        started(make_spec()).close()
        if shutil.which("unshare") is None:
            pytest.skip("there is no unshare to make such a machine with")
        program = (
            "from tests.sandbox.test_zygote import *\njail = WarmJail(make_spec())\n"
            "try:\n    jail.guest(MEMORY)\nexcept SandboxUnavailable as error:\n    print(error)\n"
            "print(len(family()))"
        )
        line = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" -c "$1"'
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "sh", "-c", line, sys.executable, program],
            capture_output=True, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        told = done.stdout.splitlines()
        assert "user namespace was refused by this machine" in told[0], done.stderr
        assert told[1] == "0"


def ordinary_user() -> tuple[str, list[str], dict[str, str]]:
    """How to run tests as nobody: an interpreter, what to put before it, the environment. Or a skip."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become somebody else, and only with setpriv")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.environ["PATH"]}
    check = (
        "import subprocess, sys, pytest\nassert sys.version_info >= (3, 11)\n"
        "subprocess.run([sys.executable, '-I', '-c', ''], check=True)"
    )
    for python in (sys.executable, "/usr/bin/python3"):
        able = subprocess.run([*nobody, python, "-c", check], env=environment, capture_output=True)
        if able.returncode == 0:
            return python, nobody, environment
    pytest.skip("no Python that an ordinary user may start has pytest")


def test_the_walls_hold_for_an_ordinary_user() -> None:
    python, nobody, environment = ordinary_user()
    line = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", __file__]
    chosen = "TestTheKernelHolds or TestRoom or dies_with_the_host or nothing_is_left"
    done = subprocess.run(
        [*nobody, *line, "-k", chosen], env=environment, capture_output=True, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4_000:]
    assert "passed" in done.stdout
    assert "no jail" not in done.stdout
