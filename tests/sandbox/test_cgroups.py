"""Control groups: limits that bite, and groups that go away whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneturn.errors import SandboxError
from oneturn.sandbox.jail.cgroups import Cgroup, Cgroups

MEBIBYTE = 1 << 20
WAIT = "import sys\nsys.stdin.readline()\n"


@pytest.fixture(scope="module")
def groups() -> Cgroups:
    found = Cgroups.available()
    if found is None:
        pytest.skip("this user may not make control groups here")
    return found


@pytest.fixture
def group(groups: Cgroups) -> Iterator[Cgroup]:
    made = groups.new(memory=64 * MEBIBYTE, processes=8)
    yield made
    made.remove()


def started(group: Cgroup, program: str) -> subprocess.Popen[str]:
    """A process that runs `program` once it is in the group."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAIT + program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    group.add(process.pid)
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return process


def test_what_takes_too_much_memory_is_killed_and_told(group: Cgroup) -> None:
    assert not group.oom_killed()
    process = started(group, f"x = bytearray({200 * MEBIBYTE})\nprint('survived')")
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (-signal.SIGKILL, "")
    assert group.oom_killed()


def test_a_fork_bomb_meets_its_limit_and_dies_whole(groups: Cgroups) -> None:
    group = groups.new(memory=64 * MEBIBYTE, processes=8)
    bomb = (
        "import os, signal, time\nmade = []\n"
        "while True:\n"
        "    try:\n        child = os.fork()\n"
        "    except OSError:\n        break\n"
        "    if child == 0:\n        time.sleep(600)\n"
        "    made.append(child)\n"
        "print(*made, flush=True)\ntime.sleep(600)"
    )
    process = started(group, bomb)
    assert process.stdout is not None
    children = process.stdout.readline().split()
    assert len(children) == 7
    group.remove()
    assert process.wait(10) == -signal.SIGKILL
    assert not any(alive(int(child)) for child in children)
    assert not any(folder.exists() for folder in group.folders.values())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_computing_is_counted(group: Cgroup) -> None:
    before = group.cpu_seconds()
    process = started(group, "import time\nwhile time.process_time() < 0.3: pass")
    process.communicate(timeout=60)
    after = group.cpu_seconds()
    assert before is not None
    assert after is not None
    assert after - before > 0.2


def test_a_share_of_the_processor_is_set(groups: Cgroups) -> None:
    group = groups.new(memory=64 * MEBIBYTE, processes=8, cpus=0.5)
    try:
        if groups.version == 1:
            said = (group.folders["cpu"] / "cpu.cfs_quota_us").read_text()
        else:
            said = (group.folders["cpu"] / "cpu.max").read_text()
        assert said.split()[0] == "50000"
    finally:
        group.remove()


def test_removing_and_killing_twice_is_fine(groups: Cgroups) -> None:
    group = groups.new(memory=64 * MEBIBYTE, processes=8)
    group.kill()
    group.remove()
    group.remove()
    group.kill()


def test_a_process_that_has_gone_cannot_be_added(group: Cgroup) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(SandboxError):
        group.add(process.pid)


def test_what_a_dead_host_left_is_swept_and_what_a_living_one_has_is_not(groups: Cgroups) -> None:
    left = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, subprocess\n"
            "from oneturn.sandbox.jail.cgroups import Cgroups\n"
            "group = Cgroups.available().new(memory=1 << 26, processes=4)\n"
            "quiet = dict.fromkeys(('stdin', 'stdout', 'stderr'), subprocess.DEVNULL)\n"
            "child = subprocess.Popen(['sleep', '600'], **quiet)\n"
            "group.add(child.pid)\n"
            "made = all(folder.exists() for folder in group.folders.values()) and child.poll() is None\n"
            "print(made, child.pid, *group.folders.values(), flush=True)\n"
            "os.kill(os.getpid(), 9)",
        ],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    assert left[0] == "True"  # asked there: from its end on, any host on this machine may sweep it
    child, folders = int(left[1]), [Path(path) for path in left[2:]]
    ours = groups.new(memory=64 * MEBIBYTE, processes=8)
    try:
        groups.sweep()
        assert not any(folder.exists() for folder in folders)
        assert not alive(child)
        assert all(folder.exists() for folder in ours.folders.values())
    finally:
        ours.remove()


def test_what_a_dead_host_left_elsewhere_in_the_hierarchy_is_swept_too(groups: Cgroups) -> None:
    space = os.stat("/proc/self/ns/pid").st_ino
    elsewhere = groups.folders["pids"] / f"service-{os.getpid()}"
    place = elsewhere / f"oneturn-{space}-{os.getpid()}-1-0"
    place.mkdir(parents=True)
    try:
        groups.sweep()
        assert not place.exists()
    finally:
        elsewhere.rmdir()


def test_a_host_that_closes_nothing_takes_its_groups_with_it(groups: Cgroups) -> None:
    program = (
        "from oneturn.sandbox.jail.cgroups import Cgroups\n"
        "group = Cgroups.available().new(memory=1 << 26, processes=4)\n"
        "print(*group.folders.values(), all(folder.exists() for folder in group.folders.values()))"
    )
    line = [sys.executable, "-c", program]
    *folders, made = subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()
    assert made == "True"
    assert not any(Path(folder).exists() for folder in folders)


def test_a_name_of_an_earlier_process_with_the_same_number_is_stale(groups: Cgroups) -> None:
    space = os.stat("/proc/self/ns/pid").st_ino
    place = groups.folders["pids"] / f"oneturn-{space}-{os.getpid()}-1-0"
    elsewhere = groups.folders["pids"] / f"oneturn-{space + 1}-{os.getpid()}-1-0"
    place.mkdir()
    elsewhere.mkdir()
    try:
        groups.sweep()
        assert not place.exists()
        assert elsewhere.exists()  # of another namespace of processes: nobody here can tell
    finally:
        elsewhere.rmdir()


def test_one_hierarchy_gets_its_limits_in_its_own_words(tmp_path: Path) -> None:
    # A folder stands in for a hierarchy of version 2, which a machine has only instead of version 1.
    groups = Cgroups(dict.fromkeys(("memory", "pids", "cpu"), tmp_path), 2)
    group = groups.new(memory=64 * MEBIBYTE, processes=8, cpus=0.25)
    group.add(os.getpid())
    said = {path.name: path.read_text() for path in group.folders["memory"].iterdir()}
    assert said == {
        "memory.max": str(64 * MEBIBYTE),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "8",
        "cpu.max": "25000 100000",
        "cgroup.procs": str(os.getpid()),
    }
    (group.folders["cpu"] / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (group.folders["memory"] / "memory.events").write_text("oom 1\noom_kill 1\n")
    assert group.cpu_seconds() == 1.5
    assert group.oom_killed()


def test_where_nothing_is_writable_there_are_no_groups(tmp_path: Path) -> None:
    missing = Cgroups(dict.fromkeys(("memory", "pids", "cpu"), tmp_path / "nowhere"), 2)
    with pytest.raises(SandboxError, match="control group"):
        missing.new(memory=64 * MEBIBYTE, processes=8)
    assert not missing._works()


def test_a_group_that_will_not_empty_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "group"
    (folder / "below").mkdir(parents=True)
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with pytest.raises(SandboxError, match="cannot be emptied"):
        Cgroup({"pids": folder}, 1).remove()
