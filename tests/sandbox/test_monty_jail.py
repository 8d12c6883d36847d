"""The OS jail round Monty's workers: each control is tried, and without it nothing runs."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import select
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oneturn.errors import SandboxUnavailable, SessionLost
from oneturn.sandbox import monty_jail
from oneturn.sandbox.jail import bubblewrap
from oneturn.sandbox.jail.bubblewrap import Root, command
from oneturn.sandbox.jail.spec import interpreter
from oneturn.sandbox.monty import MontySandbox
from oneturn.sandbox.monty_jail import WorkerJail
from oneturn.testing.steps import finish, script, until_blocked
from oneturn.types import Answer, Finished, Limits

LIMITS = Limits()


@pytest.fixture
def jail() -> Iterator[MontySandbox]:
    try:
        bubblewrap.find()
        tried = WorkerJail()
        tried.binary()
        tried.close()
    except SandboxUnavailable as missing:
        pytest.skip(str(missing))
    sandbox = MontySandbox(jailed=True, workers=2, wait=0.05)
    yield sandbox
    sandbox.close()


def below(process: int) -> list[int]:
    """The processes a process has started, and those they have."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += [int(child), *below(int(child))]
    return found


def gone(process: int) -> bool:
    """Whether a process ends within some seconds."""
    until = time.monotonic() + 10
    state = Path(f"/proc/{process}/stat")
    while time.monotonic() < until:
        try:
            if state.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def waiting(sandbox: MontySandbox) -> tuple[Any, int, list[int]]:
    """A run that waits for its first call, its launcher's process, and all below that."""
    run = sandbox.open(LIMITS, 1)
    until_blocked(run, run.start(script("await solo(1)")))
    assert run.process is not None
    return run, run.process, below(run.process)


# --- the proof


def test_the_probe_notices_everything_outside_a_jail(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    planted.write_text("planted")
    program = monty_jail._probe(str(planted), (str(tmp_path),))
    with planted.open() as held:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program],
            env={"SECRET": "x"},
            pass_fds=[held.fileno()],
            preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1])
            ),
            capture_output=True,
            check=True,
        )
    told = json.loads(done.stdout)
    assert len(told) == 14
    missed = {name for name, fault in told.items() if not fault}
    assert missed <= {"no core dumps"}  # which a machine may forbid to everybody


def without_filter(real: Callable[..., list[str]], root: Any, program: Any, **options: Any) -> list[str]:
    return real(root, program, **{**options, "syscalls": b""})


def with_more_files(real: Callable[..., list[str]], root: Any, program: Any, **options: Any) -> list[str]:
    return real(replace(root, shown=(*root.shown, "/etc")), program, **options)


def with_environment(real: Callable[..., list[str]], root: Any, program: Any, **options: Any) -> list[str]:
    return real(root, program, **options, environment={"SECRET": "x"})


def writable(real: Callable[..., list[str]], root: Any, program: Any, **options: Any) -> list[str]:
    return edited(real(root, program, **options), '"--remount-ro", "/", ', "")


def same_processes(real: Callable[..., list[str]], root: Any, program: Any, **options: Any) -> list[str]:
    line = edited(real(root, program, **options), '"--unshare-pid", ', "")
    return edited(line, '"--as-pid-1", ', "")


def unlimited(real: Callable[..., list[str]], root: Any, program: Any, **options: Any) -> list[str]:
    return edited(real(root, program, **options), '"files": 64', '"files": 500')


def outliving(real: Callable[..., list[str]], root: Any, program: Any, **options: Any) -> list[str]:
    return ["/bin/sh", "-c", f"exec 3<&0; ({shlex.join(real(root, program, **options))} <&3 & wait) & wait"]


def edited(line: list[str], old: str, new: str) -> list[str]:
    assert old in line[2]
    return [part.replace(old, new) for part in line]


@pytest.mark.parametrize(
    ("weaker", "control"),
    [
        (without_filter, "no other doors into the kernel"),
        (without_filter, "no network"),
        (without_filter, "no tracing"),
        (without_filter, "no other process"),
        (without_filter, "no namespaces or mounts"),
        (without_filter, "no memory that is written and executed"),
        (with_more_files, "host files out of reach"),
        (with_environment, "empty environment"),
        (writable, "read-only root"),
        (same_processes, "process numbers of its own"),
        (unlimited, "no descriptors but its own"),
        (outliving, "killed as a whole"),
    ],
)
def test_without_one_control_nothing_runs(
    jail: MontySandbox, weaker: Callable[..., list[str]], control: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = monty_jail.command
    monkeypatch.setattr(monty_jail, "_DYING", 0.5)
    monkeypatch.setattr(
        monty_jail, "command", lambda root, program, **options: weaker(real, root, program, **options)
    )
    assert [each.proved for each in jail.controls() if each.name == control] == [False]
    for place in (jail, jail.session()):
        with pytest.raises(SandboxUnavailable, match=control):
            place.open(LIMITS, 1)
    assert jail.isolation == "jailed"


def test_a_probe_that_says_nothing_proves_nothing(
    jail: MontySandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monty_jail, "command", lambda *_args, **_options: ["/bin/echo", "{}"])
    with pytest.raises(SandboxUnavailable, match="tried nothing"):
        jail.open(LIMITS, 1)


def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise SandboxUnavailable("There is no bubblewrap.")

    monkeypatch.setattr(bubblewrap, "find", none)
    sandbox = MontySandbox(jailed=True)
    for _ in range(2):
        with pytest.raises(SandboxUnavailable, match="no bubblewrap"):
            sandbox.open(LIMITS, 1)
    with pytest.raises(SandboxUnavailable, match="no bubblewrap"):
        sandbox.controls()
    sandbox.close()


# --- the worker itself


def test_the_worker_has_no_rights_no_network_and_nothing_of_the_host_s(jail: MontySandbox) -> None:
    run, _, processes = waiting(jail)
    worker = processes[-1]
    assert Path(f"/proc/{worker}/comm").read_text().strip() == "monty"
    told = dict(line.split(":", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines())
    facts = {name: value.strip() for name, value in told.items()}
    assert (facts["Seccomp"], facts["NoNewPrivs"]) == ("2", "1")
    assert {facts[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
    if os.getuid() == 0:
        assert "0" not in facts["Uid"].split()
    for kind in ("user", "pid", "net", "ipc", "uts", "mnt"):
        assert os.readlink(f"/proc/{worker}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
    run.close()


def test_a_kill_takes_the_whole_tree(jail: MontySandbox) -> None:
    run, launcher, processes = waiting(jail)
    assert processes
    run.kill()
    end = run.resume([Answer(0, 1)])
    assert isinstance(end, Finished)
    assert end.error is not None
    assert end.error.kind == "SandboxCrashed"
    run.close()
    assert all(gone(process) for process in (launcher, *processes))
    run = jail.open(LIMITS, 1)
    assert run.start(script("1 + 1")) == Finished(2)
    run.close()


def test_closing_the_sandbox_ends_every_process_and_removes_its_launcher(jail: MontySandbox) -> None:
    run, launcher, processes = waiting(jail)
    assert jail._jail is not None
    binary = jail._jail.binary()
    assert stat.S_IMODE(binary.parent.stat().st_mode) == 0o700
    run.close()
    jail.close()
    assert all(gone(process) for process in (launcher, *processes))
    assert not binary.parent.exists()
    again = jail.open(LIMITS, 1)
    assert again.start(script("1 + 1")) == Finished(2)
    again.close()


@pytest.mark.usefixtures("jail")
def test_workers_die_with_the_host(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from oneturn.sandbox.monty import MontySandbox\n"
        "from oneturn.testing.steps import script\n"
        "from oneturn.types import Limits\n"
        "run = MontySandbox(jailed=True).open(Limits(), 1)\n"
        "run.start(script('await solo(1)'))\n"
        "print(run.process, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},  # what a killed host leaves behind
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as host:
        assert host.stdout is not None
        launcher = int(host.stdout.readline())
        processes = below(launcher)
        assert processes
        host.send_signal(signal.SIGKILL)
    assert all(gone(process) for process in (launcher, *processes))


def test_a_session_in_the_jail_keeps_and_loses_its_variables(jail: MontySandbox) -> None:
    session = jail.session(caller="ann")
    for source, expected in (("x = [1]", None), ("x.append(2)\nx", [1, 2])):
        run = session.open(LIMITS, 1)
        assert finish(run, run.start(script(source)))[0] == Finished(expected)
        run.close()
    run = session.open(Limits(cpu_seconds=0.1), 1)
    run.start(script("while True:\n    pass"))
    run.close()
    with pytest.raises(SessionLost, match=r"0\.1 s"):
        session.open(LIMITS, 1)


def test_a_worker_that_is_killed_while_it_starts_leaves_nothing_behind() -> None:
    python = interpreter()
    line = command(
        Root((python.executable, *python.library, *python.shared)),
        [
            python.executable,
            "-I",
            "-S",
            "-B",
            "-c",
            "print('here', flush=True); import sys; sys.stdin.read()",
        ],
    )
    chance = random.Random(3)
    for _ in range(40):
        with subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as root:
            time.sleep(chance.uniform(0.02, 0.12))
            root.kill()
            # The pipe ends when nobody is left who could write to it.
            until = time.monotonic() + 20
            while select.select([root.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
                if not os.read(root.stdout.fileno(), 100):
                    break
            else:
                pytest.fail("something of it is still there")
