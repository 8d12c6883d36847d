"""The line to the guest in a container: its stdin and stdout, over the engine's attach stream.

Nothing is mounted for it, so it works with engines on other machines too, and under gVisor. The engine puts
stdout and stderr into one stream, in chunks with a header of eight bytes; frames lie across those chunks.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence

from ..channel import ChannelBroken
from .engine import Confinement, Engine

LARGEST = 64 << 20  # bytes of one frame
_CHUNK = 1 << 16
_SEND_PATIENCE = 30.0  # seconds until a guest that does not read is given up
_GLANCE = 0.001  # seconds in which a guest that died, or speaks out of turn, is noticed
_FATE_PATIENCE = 2.0  # seconds the engine has to notice that a guest ended
_STDOUT, _STDERR = 1, 2
_KEPT = 2_000  # bytes of stderr
_KILLED = 137  # exit code of what was killed outright


class AttachedChannel:
    """A `Channel` to the guest of one container, which it creates and removes.

    Args:
        largest: Bytes of the largest frame that is taken.

    Raises:
        SandboxError: The engine could not start the container.
    """

    def __init__(
        self,
        engine: Engine,
        image: str,
        command: Sequence[str],
        confinement: Confinement,
        *,
        owner: str,
        largest: int = LARGEST,
    ) -> None:
        self._engine = engine
        self._largest = largest
        self.on_close: Callable[[], None] = _nothing
        """Called once, when the container has gone."""
        self._closing = threading.Lock()
        self._killed = self._closed = False
        self._header = bytearray()
        self._stream = self._left = 0  # of the chunk that is being read
        self._frames = bytearray()
        self._errors = bytearray()
        self.container = engine.create(image, command, confinement, owner)
        try:
            self._socket, self._attached = engine.attach(self.container)
            engine.start(self.container)
        except BaseException:
            engine.remove(self.container)
            raise

    def send(self, frame: bytes) -> None:
        """Send one frame. Raises ChannelBroken when the guest has gone or does not read."""
        try:
            self._socket.settimeout(_SEND_PATIENCE)
            self._socket.sendall(len(frame).to_bytes(4, "big") + frame)
        except (OSError, ValueError) as error:
            raise ChannelBroken(f"The guest takes no more messages ({error}).") from error

    def receive(self, timeout: float | None) -> bytes:
        """One whole frame, within `timeout` seconds. Raises TimeoutError, ChannelBroken."""
        until = None if timeout is None else time.monotonic() + timeout
        while (frame := self._whole_frame()) is None:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError("The guest has not answered in time.")
            try:
                self._socket.settimeout(left)
                data = self._socket.recv(_CHUNK)
            except TimeoutError:
                raise TimeoutError("The guest has not answered in time.") from None
            except (OSError, ValueError) as error:
                raise ChannelBroken(f"The line to the guest broke ({error}).") from error
            if not data:
                raise ChannelBroken("The guest has gone.")
            self._take(memoryview(data))
        return frame

    def look(self, timeout: float) -> None:
        """Wait until there is a frame, and leave it to the next `receive`. Raises as `receive`."""
        frame = self.receive(timeout)
        self._frames[:0] = len(frame).to_bytes(4, "big") + frame

    def is_quiet(self) -> bool:
        """Whether the guest lives and has said nothing more."""
        try:
            self._socket.settimeout(_GLANCE)
            self._socket.recv(1)
        except TimeoutError:
            return True
        except (OSError, ValueError):
            pass
        return False

    def _take(self, data: memoryview) -> None:
        """Sort what the engine sent: frames, and what the guest said on stderr."""
        while data:
            if self._left == 0:
                missing = 8 - len(self._header)
                self._header += data[:missing]
                data = data[missing:]
                if len(self._header) == 8:
                    self._stream, self._left = self._header[0], int.from_bytes(self._header[4:], "big")
                    self._header.clear()
                continue
            part = data[: self._left]
            self._left -= len(part)
            data = data[len(part) :]
            if self._stream == _STDOUT:
                self._frames += part
            elif self._stream == _STDERR:
                self._errors += part
                del self._errors[:-_KEPT]

    def _whole_frame(self) -> bytes | None:
        if len(self._frames) < 4:
            return None
        size = int.from_bytes(self._frames[:4], "big")
        if size > self._largest:
            raise ChannelBroken(f"The guest announced a message of {size:,} bytes, more than it may send.")
        if len(self._frames) < 4 + size:
            return None
        frame = bytes(memoryview(self._frames)[4 : 4 + size])
        del self._frames[: 4 + size]
        return frame

    def computed(self) -> float | None:
        """CPU seconds of the container so far; None when the engine does not say."""
        return self._engine.cpu_seconds(self.container)

    def said(self) -> str:
        """The last line on the guest's stderr, cut to 500 characters: for operators, never for a model."""
        lines = self._errors.decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip()[-500:] if lines else ""

    def kill(self) -> None:
        """Kill everything in the container. Any thread, any time, idempotent."""
        with self._closing:
            if self._killed or self._closed:
                return
            self._killed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that is in `send` or `receive`
        self._engine.kill(self.container)

    def close(self) -> None:
        """Remove the container. Idempotent.

        Raises:
            SandboxError: The engine did not do it; the next sandbox on this machine tries again.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
        try:
            self._engine.remove(self.container)
        finally:
            for held in (self._attached, self._socket):
                with contextlib.suppress(OSError):
                    held.close()
            self.on_close()

    def fate(self) -> str:
        """Why the guest died, such as "was killed for its memory"; empty when that is not known."""
        until = time.monotonic() + _FATE_PATIENCE
        while state := self._engine.state(self.container):
            if state.get("Running"):
                if time.monotonic() > until:
                    return ""
                time.sleep(0.05)
                continue
            # Not every engine notices why. Nobody but us and the memory limit kills outright.
            if state.get("OOMKilled") or (state.get("ExitCode") == _KILLED and not self._killed):
                return "was killed for its memory"
            return "" if self._killed else f"ended with exit code {state.get('ExitCode')}"
        return ""


def _nothing() -> None:
    """What happens at the end of a guest that nobody counts."""
