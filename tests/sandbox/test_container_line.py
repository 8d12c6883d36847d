"""The parts of the container tier below the sandbox: engine, images, the line to a guest, owners."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.engine import PodmanService

from oneturn.errors import ConfigError, SandboxError, SandboxUnavailable
from oneturn.sandbox.channel import ChannelBroken
from oneturn.sandbox.container import owner
from oneturn.sandbox.container.attached import AttachedChannel
from oneturn.sandbox.container.engine import Confinement, Engine
from oneturn.sandbox.container.image import copy_python, prepare

_PATIENCE = 30.0
# A guest that answers each frame with the value of the expression in it.
_CALCULATOR = """
import os, struct, sys
def say(content):
    sys.stdout.buffer.write(struct.pack(">I", len(content)) + content)
    sys.stdout.buffer.flush()
while header := sys.stdin.buffer.read(4):
    try:
        said = eval(sys.stdin.buffer.read(*struct.unpack(">I", header)))
    except Exception as error:
        said = repr(error)
    say(said if isinstance(said, bytes) else str(said).encode())
"""

Made = Callable[..., AttachedChannel]


@pytest.fixture(scope="module")
def engine(podman_service: PodmanService) -> Iterator[Engine]:
    engine = Engine(podman_service.runc)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def image(engine: Engine, podman_service: PodmanService) -> str:
    return prepare(engine, podman_service.root)


@pytest.fixture
def made(engine: Engine, image: str) -> Iterator[Made]:
    """Makes calculators, and closes them."""
    all_made: list[AttachedChannel] = []

    def make(program: str = _CALCULATOR, **options: object) -> AttachedChannel:
        command = ["python3", "-I", "-c", program]
        guest = AttachedChannel(
            engine, image, command, Confinement(), owner=owner.this_process(), **options  # type: ignore[arg-type]
        )  # fmt: skip
        all_made.append(guest)
        return guest

    yield make
    for guest in all_made:
        guest.close()
    assert engine.owners() == {}


def ask(guest: AttachedChannel, expression: str) -> str:
    guest.send(expression.encode())
    return guest.receive(_PATIENCE).decode()


class TestNoEngine:
    def test_it_says_where_it_looked(self, tmp_path: Path) -> None:
        with pytest.raises(SandboxUnavailable, match=r"No container engine answers at unix://.*/none"):
            Engine(f"unix://{tmp_path}/none")

    def test_a_url_that_is_none(self) -> None:
        with pytest.raises(SandboxUnavailable, match="No container engine answers at nonsense"):
            Engine("nonsense://")

    def test_docker_host_is_where_it_looks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/elsewhere")
        with pytest.raises(SandboxUnavailable, match="elsewhere"):
            Engine()


class TestImages:
    def test_a_root_folder_is_made_into_an_image_once(
        self, engine: Engine, podman_service: PodmanService
    ) -> None:
        first = prepare(engine, podman_service.root)
        known = engine.image(first)
        assert known is not None
        assert prepare(engine, podman_service.root) == first
        assert engine.image(first) == known

    def test_the_guest_is_in_it(self, made: Made) -> None:
        assert "guest.py" in ask(made(), "os.listdir('/opt/oneturn')")

    def test_one_that_cannot_be_had(self, engine: Engine) -> None:
        with pytest.raises(SandboxUnavailable, match=r"pull the image localhost:1/none.*give a root folder"):
            prepare(engine, "localhost:1/none")

    def test_one_with_a_place_to_fill_the_disk_is_refused(self, engine: Engine, image: str) -> None:
        engine.build("ARG BASE\nFROM ${BASE}\nVOLUME /data\n", {}, image, "with-volume:1")
        with pytest.raises(SandboxUnavailable, match=r"declares volumes .*/data"):
            prepare(engine, "with-volume:1")
        engine.remove_image("with-volume:1")

    def test_no_folder(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no root folder"):
            prepare(engine, tmp_path / "none")

    def test_a_copy_of_python_needs_an_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "mine").touch()
        with pytest.raises(ConfigError, match="not empty"):
            copy_python(tmp_path)


class TestLine:
    def test_frames_of_any_size_both_ways(self, made: Made) -> None:
        guest = made()
        assert ask(guest, "6 * 7") == "42"
        assert ask(guest, "b''") == ""
        large = 10_000_000
        assert ask(guest, f"len({'x' * large!r})") == str(large)
        assert ask(guest, f"b'x' * {large}") == "x" * large

    def test_a_frame_that_is_not_there_yet_can_be_waited_for_again(self, made: Made) -> None:
        guest = made()
        assert ask(guest, "1") == "1"
        guest.send(b"say(b'late') or os.read(0, 1)")
        assert guest.receive(_PATIENCE) == b"late"
        with pytest.raises(TimeoutError):
            guest.receive(0.05)
        guest.send(b"")
        assert guest.receive(_PATIENCE) == b"\0"

    def test_half_a_frame_is_kept(self, made: Made) -> None:
        guest = made(
            "import os\nos.write(1, b'\\0\\0\\0\\x02a')\nos.read(0, 1)\nos.write(1, b'b')\nos.read(0, 9)"
        )
        with pytest.raises(TimeoutError):
            guest.receive(1.0)
        guest.send(b"")
        assert guest.receive(_PATIENCE) == b"ab"

    def test_what_is_said_on_stderr_is_no_frame(self, made: Made) -> None:
        guest = made()
        assert ask(guest, "os.write(2, b'a word to the operator' * 500)") == "11000"
        until = time.monotonic() + _PATIENCE  # the two streams are not in step
        while not guest.said().endswith("a word to the operator"):  # nor does it come in one piece
            assert time.monotonic() < until, guest.said()
            assert ask(guest, "1") == "1"
        assert len(guest.said()) <= 500

    def test_a_frame_that_is_too_large_breaks_it_before_it_is_read(self, made: Made) -> None:
        guest = made(largest=1000)
        assert ask(guest, "1") == "1"
        guest.send(b"b'x' * 1001")
        with pytest.raises(ChannelBroken, match="1,001 bytes"):
            guest.receive(_PATIENCE)

    def test_a_guest_that_ends(self, made: Made) -> None:
        guest = made()
        guest.send(b"os._exit(7)")
        with pytest.raises(ChannelBroken):
            guest.receive(_PATIENCE)
        assert guest.fate() == "ended with exit code 7"
        with pytest.raises(ChannelBroken):
            for _ in range(100):
                guest.send(b"1" * 100_000)

    def test_a_guest_that_is_killed_for_its_memory(self, made: Made) -> None:
        guest = made()
        guest.send(b"[bytearray(1 << 20) for _ in range(1000)]")
        with pytest.raises(ChannelBroken):
            guest.receive(_PATIENCE)
        assert guest.fate() == "was killed for its memory"

    def test_kill_ends_a_wait(self, made: Made) -> None:
        guest = made()
        killer = threading.Timer(0.2, guest.kill)
        killer.start()
        with pytest.raises(ChannelBroken):
            guest.receive(_PATIENCE)
        killer.join()
        guest.kill()
        assert guest.fate() == ""

    def test_kill_ends_a_send_to_a_guest_that_does_not_read(self, made: Made) -> None:
        guest = made("import time\ntime.sleep(1000)")
        killer = threading.Timer(0.2, guest.kill)
        killer.start()
        with pytest.raises(ChannelBroken):
            guest.send(b"x" * 50_000_000)
        killer.join()

    def test_it_knows_what_was_computed(self, made: Made) -> None:
        guest = made()
        assert ask(guest, "1") == "1"
        before = guest.computed()
        assert ask(guest, "sum(range(10_000_000)) > 0") == "True"
        after = guest.computed()
        assert before is not None
        assert after is not None
        assert after - before > 0.05

    def test_close_removes_the_container_and_gives_descriptors_back(self, engine: Engine, made: Made) -> None:
        counts = []
        for _ in range(4):
            guests = [made() for _ in range(3)]
            assert [ask(guest, "1") for guest in guests] == ["1"] * 3
            for guest in guests:
                guest.close()
                guest.close()
            assert engine.owners() == {}
            counts.append(len(os.listdir("/proc/self/fd")))
        assert counts[-1] <= counts[1]


class TestConfinement:
    @pytest.mark.parametrize(
        ("expression", "said"),
        [
            ("os.getuid(), os.getgid()", "(65534, 65534)"),
            ("open('/here', 'w')", "Read-only file system"),
            ("open('/opt/oneturn/here', 'w')", "Read-only file system"),
            ("open('/run/here', 'w')", "Read-only file system"),
            ("open('/var/tmp/here', 'w')", "Read-only file system"),
            ("open('/tmp/here', 'wb').write(bytes(17 << 20))", "No space left"),
            ("open('/dev/shm/here', 'wb').write(bytes(2 << 20))", "No space left"),
            ("os.listdir('/sys/class/net')", "['lo']"),
            ("[l for l in open('/proc/self/status') if l[:6] == 'CapBnd']", "0000000000000000"),
            ("[l for l in open('/proc/self/status') if l[:6] == 'NoNewP']", "1"),
            ("[l for l in open('/proc/self/status') if l[:8] == 'Seccomp:']", "2"),
            ("__import__('resource').getrlimit(4)", "(0, 0)"),
            ("__import__('resource').getrlimit(7)", "(256, 256)"),
            ("[os.fork() or __import__('time').sleep(9) for _ in range(200)]", "BlockingIOError"),
        ],
    )
    def test_it_holds(self, made: Made, expression: str, said: str) -> None:
        assert said in ask(made(), expression)


_DYING = """
import sys
from oneturn.sandbox.container import owner
from oneturn.sandbox.container.attached import AttachedChannel
from oneturn.sandbox.container.engine import Confinement, Engine
url, image, program = sys.argv[1:]
command = ["python3", "-I", "-c", program]
AttachedChannel(Engine(url), image, command, Confinement(), owner=owner.this_process())
print("made", flush=True)
sys.stdin.read()
"""


class TestOwners:
    def test_containers_of_a_host_that_was_killed_are_swept_and_no_others(
        self, engine: Engine, image: str, podman_service: PodmanService, made: Made
    ) -> None:
        mine = made()
        host = subprocess.Popen(
            [sys.executable, "-c", _DYING, podman_service.runc, image, "import time\ntime.sleep(1000)"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert host.stdout is not None
        assert host.stdout.readline() == b"made\n"
        assert len(engine.owners()) == 2
        assert owner.sweep(engine) == 0
        host.kill()
        host.communicate()
        assert owner.sweep(engine) == 1
        assert ask(mine, "1") == "1"

    def test_a_guest_notices_that_its_host_was_killed(
        self, engine: Engine, image: str, podman_service: PodmanService
    ) -> None:
        host = subprocess.Popen(
            [sys.executable, "-c", _DYING, podman_service.runc, image, _CALCULATOR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert host.stdout is not None
        assert host.stdout.readline() == b"made\n"
        (container,) = engine.owners()
        host.kill()
        host.communicate()
        until = time.monotonic() + _PATIENCE
        while engine.state(container).get("Running"):
            assert time.monotonic() < until, "the guest goes on without its host"
            time.sleep(0.05)
        assert owner.sweep(engine) == 1

    def test_a_container_nobody_owns_is_left_alone(self, engine: Engine, image: str) -> None:
        foreign = engine.create(image, ["python3"], Confinement(), "another-machine/1 1 1")
        assert owner.sweep(engine) == 0
        engine.remove(foreign)
        with pytest.raises(SandboxError):
            engine.start(foreign)
