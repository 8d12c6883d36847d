"""What a guest that dies, hangs, lies or floods costs: its own run and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.sandbox.unconfined import MAIN, GuestProcess, UnconfinedSandbox, connect

from oneturn.errors import SandboxClosed, SandboxError, SandboxUnavailable
from oneturn.sandbox.channel import LARGEST, ChannelBroken, SocketChannel
from oneturn.sandbox.guest_run import GuestRun, GuestSession
from oneturn.testing.steps import script, until_blocked
from oneturn.types import Answer, Finished, Limits, Waiting

SANDBOX = UnconfinedSandbox()

# --- guests that are not what they should be


def fake(*frames: bytes | dict[str, Any]) -> GuestRun:
    """A run whose guest sends these frames, one for each it is sent, whatever it is sent."""
    ours, theirs = socket.socketpair()

    def guest() -> None:
        with theirs:
            for frame in frames:
                content = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
                theirs.sendall(len(content).to_bytes(4, "big") + content)
                if frame is not CONFINED and not theirs.recv(1 << 20):
                    return
            theirs.recv(1)

    threading.Thread(target=guest, daemon=True).start()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"], start_new_session=True)
    return GuestRun(lambda: SocketChannel(ours, GuestProcess(process)), Limits(), 1)


READY = {"op": "ready", "n": 0}
CONFINED = {"op": "confined", "n": 1}
WAIT = {"op": "wait", "calls": [], "pending": [], "dropped": [], "prints": "", "cut": 0}
DONE = {"op": "done", "value": None, "error": None, "prints": "", "cut": 0}
ONE = [1, "tool", "solo", [], {}, 1, 1]


@pytest.mark.parametrize(
    "frames",
    [
        [b"no frame"],
        [DONE | {"n": 1}],
        [CONFINED, DONE | {"n": 3}],
        [CONFINED, DONE | {"n": 0}],
        [CONFINED, READY | {"n": 2}],
        [CONFINED, {"op": "confined", "n": 2}],
        [CONFINED, {"op": "refused", "n": 2, "why": "run it without the jail"}],
        [CONFINED, WAIT | {"n": 2, "pending": [1]}],
        [CONFINED, WAIT | {"n": 2, "dropped": [1]}],
        [CONFINED, WAIT | {"n": 2, "calls": [ONE, ONE]}],
        [CONFINED, WAIT | {"n": 2, "calls": [[at, *ONE[1:]] for at in range(1, 514)]}],
        [CONFINED, WAIT | {"n": 2, "calls": [ONE]}, WAIT | {"n": 3, "calls": [ONE]}],
        [CONFINED, WAIT | {"n": 2, "calls": [ONE], "dropped": [1]}, WAIT | {"n": 3, "pending": [1]}],
        [CONFINED, WAIT | {"n": 2, "calls": [ONE]}, WAIT | {"n": 2}],
    ],
)
def test_a_guest_that_breaks_the_rules_loses_its_run(frames: list[Any]) -> None:
    run = fake(READY, *frames)
    step = run.start(script("1"))
    while isinstance(step, Waiting):
        step = run.resume([])
    assert step.error is not None
    assert step.error.kind == "SandboxCrashed"
    assert "broke the rules" in step.error.message
    with pytest.raises(SandboxClosed):
        run.resume([])
    run.close()


def test_a_guest_cannot_have_more_open_than_the_host_can_remember() -> None:
    def flood() -> Iterator[dict[str, Any]]:
        for number in range(2, 102):
            first = number * 512
            calls = [[at, "sleep", "asyncio.sleep", [9], {}, 1, 1] for at in range(first, first + 512)]
            yield WAIT | {"n": number, "calls": calls}

    run = fake(READY, CONFINED, *flood())
    step = run.start(script("1"))
    steps = 1
    while isinstance(step, Waiting):
        step = run.resume([])
        steps += 1
    assert step.error is not None
    assert (step.error.kind, steps) == ("RuntimeError", 98)  # 50,000 of them are in 97 frames
    assert "50,000 calls and pauses are open" in step.error.message
    run.close()


def test_a_guest_cannot_print_more_than_the_limit() -> None:
    run = fake(READY, CONFINED, DONE | {"n": 2, "prints": "x" * 200_000, "cut": 5})
    end = run.start(script("1"))
    assert isinstance(end, Finished)
    assert (len(end.prints), end.cut_prints) == (100_000, 100_005)
    run.close()


@pytest.mark.parametrize(
    "frames", [[{"op": "refused", "n": 0, "why": "no"}], [READY, {"op": "refused", "n": 1, "why": "no"}]]
)
def test_a_guest_that_cannot_be_confined_runs_nothing(frames: list[Any]) -> None:
    run = fake(*frames)
    with pytest.raises(SandboxUnavailable, match="no"):
        run.start(script("1"))
    run.close()


def test_a_guest_that_dies_costs_its_run() -> None:
    run = SANDBOX.open(Limits(), 1)
    _, calls = until_blocked(run, run.start(script("await solo(1)")))
    os.kill(pid_of(run), signal.SIGKILL)
    end = run.resume([Answer(calls[0].id)])
    assert isinstance(end, Finished)
    assert end.error is not None
    assert end.error.kind == "SandboxCrashed"
    assert "only this run is lost" in end.error.message
    run.close()


def pid_of(run: GuestRun) -> int:
    channel = run._channel
    assert isinstance(channel, SocketChannel)
    return channel._process.process.pid  # type: ignore[attr-defined]


def test_a_guest_that_was_killed_for_its_memory_is_a_memory_error() -> None:
    class Starved(GuestProcess):
        def fate(self) -> str:
            return "was killed for its memory"

    def start() -> SocketChannel:
        channel = connect()
        channel._process = Starved(channel._process.process)  # type: ignore[attr-defined]
        return channel

    session = GuestSession(start)
    run = session.open(Limits(), 1)
    _, calls = until_blocked(run, run.start(script("await solo(1)")))
    os.kill(pid_of(run), signal.SIGKILL)
    end = run.resume([Answer(calls[0].id)])
    run.close()
    assert isinstance(end, Finished)
    assert end.error is not None
    assert end.error.kind == "MemoryError"
    assert "memory" in session.lost


def test_a_guest_that_sleeps_instead_of_answering_is_stopped() -> None:
    limits = Limits(timeout=0.2, cpu_seconds=0.1)
    run = SANDBOX.open(limits, 1)
    end = run.start(script("import queue\nqueue.SimpleQueue().get()"))
    run.close()
    assert isinstance(end, Finished)
    assert end.error is not None
    assert end.error.kind == "TimeoutError"


def test_a_python_whose_sets_have_another_order_each_time_is_refused() -> None:
    ours, theirs = socket.socketpair()
    done = subprocess.run(
        [sys.executable, "-I", str(MAIN), str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "PYTHONHASHSEED=0" in done.stderr
    ours.close()
    theirs.close()


# --- the channel


def pair() -> tuple[SocketChannel, socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"], start_new_session=True)
    return SocketChannel(ours, GuestProcess(process), patience=0.1), theirs, process


def test_frames_arrive_whole_however_they_are_cut() -> None:
    channel, theirs, _ = pair()
    content = b"\x00\x00\x00\x03abc\x00\x00\x00\x00\x00\x00\x00\x01d"
    found = []
    for byte in content:
        theirs.sendall(bytes([byte]))
        try:
            found.append(channel.receive(0))
        except TimeoutError:
            continue
    assert found == [b"abc", b"", b"d"]
    channel.close()
    theirs.close()


def test_a_frame_that_comes_byte_by_byte_gets_no_more_time() -> None:
    channel, theirs, _ = pair()

    def drip() -> None:
        with theirs, contextlib.suppress(OSError):
            theirs.sendall(struct.pack(">I", 10_000))
            for _ in range(5_000):  # seconds, and never whole
                theirs.sendall(b" ")
                time.sleep(0.001)

    dripping = threading.Thread(target=drip)
    dripping.start()
    with pytest.raises(TimeoutError):
        channel.receive(0.1)
    channel.close()
    dripping.join()


def test_a_frame_larger_than_any_is_refused_at_once() -> None:
    channel, theirs, _ = pair()
    theirs.sendall((LARGEST + 1).to_bytes(4, "big"))
    with pytest.raises(ChannelBroken, match="announced"):
        channel.receive(5)
    channel.close()
    theirs.close()


def test_a_guest_that_does_not_read_is_given_up() -> None:
    channel, theirs, _ = pair()
    with pytest.raises(ChannelBroken, match="does not take"):
        channel.send(b"x" * (8 << 20))
    channel.close()
    theirs.close()


def test_kill_wakes_whoever_waits() -> None:
    channel, theirs, process = pair()
    threading.Timer(0.05, channel.kill).start()
    with pytest.raises(ChannelBroken):
        channel.receive(None)
    process.wait()
    channel.kill()
    channel.close()
    channel.close()
    theirs.close()


def test_a_guest_that_never_starts_is_an_error() -> None:
    run = fake(DONE | {"n": 0})
    with pytest.raises(SandboxError):
        run.start(script("1"))
    run.close()
