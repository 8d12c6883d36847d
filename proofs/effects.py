"""Effects counted in a process of their own, which writes its own file: `python effects.py SOCKET FILE`.

Whoever is killed cannot change what has been counted. Each effect is a line of the file, on its way to the
disk before it is answered. It uses nothing of the project, and nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Effect:
    """One effect: for which run, by which tool, on what, and under which idempotency key."""

    tag: str
    tool: str
    n: int
    key: str


class Effects:
    """A connection to the process that counts.

    Args:
        place: Its socket.
    """

    def __init__(self, place: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(str(place))

    def have(self, effect: Effect) -> None:
        """Have an effect, and wait until it is counted."""
        self._ask([effect.tag, effect.tool, effect.n, effect.key])

    def count(self, tag: str, tool: str) -> int:
        """How many effects a tool has had in a run."""
        return int(self._ask([tag, tool]))

    def settle(self) -> None:
        """Return when everything sent before, by anybody, is counted."""
        self._ask([])
        self._ask([])

    def close(self) -> None:
        self._socket.close()

    def _ask(self, words: list[object]) -> str:
        self._socket.sendall(json.dumps(words).encode())
        return self._socket.recv(100).decode()


@contextlib.contextmanager
def counting(folder: Path) -> Iterator[tuple[Path, Path]]:
    """The process, for as long as this lasts: its socket and its file."""
    place, file = folder / "effects.sock", folder / "effects.jsonl"
    server = subprocess.Popen([sys.executable, "-IS", __file__, place, file])  # noqa: S603  ourselves
    try:
        until = time.monotonic() + 30
        while not place.exists():
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the process that counts effects did not start")
            time.sleep(0.01)
        yield place, file
    finally:
        server.kill()
        server.wait()


def read(file: Path, start: int) -> tuple[list[Effect], int]:
    """The effects in the file from a position on, and the position after them."""
    with file.open("rb") as lines:
        lines.seek(start)
        found = lines.read()
    return [Effect(*json.loads(line)) for line in found.splitlines()], start + len(found)


def _serve(place: str, file: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    counts: dict[tuple[str, str], int] = {}
    parent = os.getppid()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(place + ".new")
    listener.listen(100)
    os.rename(place + ".new", place)
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    while os.getppid() == parent:
        settling = []
        for key, _ in waiting.select(timeout=1.0):
            if key.fileobj is listener:
                waiting.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            message = _received(connection)
            if not message:
                waiting.unregister(connection)
                connection.close()
                continue
            words = json.loads(message)
            if not words:
                settling.append(connection)
                continue
            run = (words[0], words[1])
            if len(words) > 2:
                os.write(descriptor, json.dumps(words).encode() + b"\n")
                counts[run] = counts.get(run, 0) + 1
            _send(connection, str(counts.get(run, 0)))
        for connection in settling:
            _send(connection, "settled")


def _received(connection: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionError):
        return connection.recv(100_000)
    return b""


def _send(connection: socket.socket, text: str) -> None:
    with contextlib.suppress(OSError):  # it was killed meanwhile
        connection.sendall(text.encode())


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2])
