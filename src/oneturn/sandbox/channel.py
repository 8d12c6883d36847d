"""Frames to and from one guest process.

A `Channel` is all that the host side of a sandbox knows of the process a script runs in: bytes to
it, bytes from it, what it computed, and its end. A frame is 4 bytes of length, big-endian, and as
many bytes of content. What comes back is hostile: a guest that says nothing, too much or half a
frame costs no more than the time and the bytes it was given.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from typing import Protocol

from ..errors import SandboxError

LARGEST = 64 * 1024 * 1024
"""The most bytes of one frame, either way."""
_HEADER = struct.Struct(">I")
_INTERVAL = struct.Struct("@ll")  # seconds and microseconds
_SHORTEST, _LONGEST = 0.001, 1e7  # seconds
_CHUNK = 64 * 1024  # bytes of one read; room for twice that would be mapped anew each time


class ChannelBroken(SandboxError):
    """The guest has gone, or sent what is no frame. Nothing more comes from it."""


class Channel(Protocol):
    """One guest process. Frames go one at a time; `kill` may come from any thread at any time."""

    def send(self, frame: bytes) -> None:
        """Send one whole frame.

        Raises:
            ChannelBroken: The guest has gone, or does not take it.
        """
        ...

    def receive(self, timeout: float | None) -> bytes:
        """The next whole frame, without its length.

        Args:
            timeout: Seconds to wait; None for as long as the guest lives.

        Raises:
            TimeoutError: It is not here yet. What came of it is kept for the next call.
            ChannelBroken: The guest has gone, or announced a frame larger than allowed.
        """
        ...

    def computed(self) -> float | None:
        """CPU seconds the guest used so far, all of its processes; None when it cannot be told."""
        ...

    def kill(self) -> None:
        """End the whole process tree at once. Idempotent; a `receive` under way breaks."""
        ...

    def close(self) -> None:
        """End it if it is alive, and give everything back. Idempotent. Not while a frame is under way."""
        ...

    def fate(self) -> str:
        """Why a guest that has gone went, such as "was killed for its memory"; empty when unknown."""
        ...


class GuestProcess(Protocol):
    """What a `SocketChannel` asks about the process at the other end: the same words, the same meaning."""

    def computed(self) -> float | None: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...
    def fate(self) -> str: ...


class SocketChannel:
    """Frames over a connected stream socket, which it owns from now on.

    Args:
        sock: The host's end.
        process: The guest behind it.
        largest: The most bytes of one frame from the guest.
        patience: Seconds a guest may leave a frame lying before it is given up.
    """

    def __init__(
        self, sock: socket.socket, process: GuestProcess, *, largest: int = LARGEST, patience: float = 10.0
    ) -> None:
        self._socket = sock
        self._process = process
        self._largest = largest
        self._patience = patience
        self._buffer = bytearray()
        # The socket waits by itself: one system call for an answer, where asking first would be two.
        sock.setblocking(True)
        self._waits: float | None = None  # seconds the socket is set to wait; None for ever
        self._writable = select.poll()
        self._writable.register(sock, select.POLLOUT)

    def send(self, frame: bytes) -> None:
        """Send one frame within `patience`."""
        message = _HEADER.pack(len(frame)) + frame
        if (sent := self._sent(message)) < len(message):
            left = memoryview(message)[sent:]
            deadline = time.monotonic() + self._patience
            while left:
                if not self._writable.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    raise ChannelBroken("The guest does not take what it is sent.")
                left = left[self._sent(left) :]

    def _sent(self, some: bytes | memoryview) -> int:
        """How many of these bytes went out without waiting."""
        try:
            return self._socket.send(some, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ChannelBroken("The guest has gone.") from error

    def receive(self, timeout: float | None) -> bytes:
        """The next frame; bytes are taken as they come, never room made for those announced."""
        deadline = None if timeout is None else time.monotonic() + timeout
        left = timeout
        while (frame := self._taken()) is None:
            if left is not None and left < 0.0:  # however fast a guest sends bytes of what never ends
                raise TimeoutError("The guest has not answered yet.")
            self._buffer += self._some(left)
            left = None if deadline is None else deadline - time.monotonic()
        return frame

    def _some(self, seconds: float | None) -> bytes:
        """What is here, or comes within so long."""
        try:
            if seconds != self._waits:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _interval(seconds))
                self._waits = seconds
            some = self._socket.recv(_CHUNK)
        except BlockingIOError:
            raise TimeoutError("The guest has not answered yet.") from None
        except OSError as error:
            raise ChannelBroken("The guest has gone.") from error
        if not some:
            raise ChannelBroken("The guest has gone.")
        return some

    def _taken(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < _HEADER.size:
            return None
        (size,) = _HEADER.unpack_from(buffer)
        if size > self._largest:
            raise ChannelBroken(f"The guest announced a frame of {size:,} bytes.")
        end = _HEADER.size + size
        if len(buffer) < end:
            return None
        frame = bytes(memoryview(buffer)[_HEADER.size : end])
        del buffer[:end]
        return frame

    def computed(self) -> float | None:
        """CPU seconds of the guest so far."""
        return self._process.computed()

    def kill(self) -> None:
        """Kill the guest, and wake whoever waits for it."""
        self._process.kill()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket and let go of the process."""
        self._socket.close()
        self._process.close()

    def fate(self) -> str:
        """Why the guest went."""
        return self._process.fate()


def _interval(seconds: float | None) -> bytes:
    """A socket's timeout as the kernel has it, where nothing at all means for ever."""
    if seconds is None:
        return _INTERVAL.pack(0, 0)
    whole, part = divmod(min(max(seconds, _SHORTEST), _LONGEST), 1)
    return _INTERVAL.pack(int(whole), int(part * 1e6))
