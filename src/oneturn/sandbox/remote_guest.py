"""One hosted sandbox and the guest in it, through the e2b SDK: started, spoken to, ended for sure.

Frames go out as they are. What comes back is lines of base64, because the SDK decodes a command's output
as text; see `inside/relay.py`. The SDK blocks, so `kill` breaks the channel at once and leaves the request
to a thread of its own; `close` waits for it. The SDK is used in no other module.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import secrets
import shlex
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SandboxBusy, SandboxError, SandboxUnavailable
from .channel import ChannelBroken, SocketChannel
from .jail import seccomp

if TYPE_CHECKING:
    import e2b

log = logging.getLogger("oneturn.remote")

_INSIDE = Path(__file__).with_name("inside")
_FOLDER = "oneturn"  # in the home folder of the template's user
_MACHINE = "x86_64"  # what the service's machines are; on another the filter lets no guest start
_DESCRIPTORS = 64
_SCRATCH = 64 * 1024 * 1024  # bytes a file may have
_HEADER = struct.Struct(">I")
_PIECE = 1024 * 1024  # bytes to the guest in one request
_LINE = 128 * 1024  # characters; the relay's lines are half as long
_GREETING = 64 * 1024  # characters a login shell may say first
_COMPLAINT = 500  # characters kept of what the command says on stderr
_REQUEST = 10.0  # seconds for one request to a sandbox that runs
_TRIES = 3  # to end a sandbox before that is left for later
_KILLED = (137, -1, -9)  # how a shell, the service and Python say that a command was killed


def created(api_key: str, template: str | None, lifetime: float, patience: float) -> e2b.Sandbox:
    """A new sandbox of the service, without a network.

    Args:
        api_key: The service's key.
        template: The service's template; its default when None.
        lifetime: Seconds after which the service ends the sandbox by itself.
        patience: Seconds the service may take.

    Raises:
        SandboxBusy: The service has none to give now.
        SandboxUnavailable: The service gave none.
    """
    import e2b

    try:
        return e2b.Sandbox.create(
            template,
            timeout=math.ceil(lifetime),
            allow_internet_access=False,
            api_key=api_key,
            request_timeout=patience,
        )
    except e2b.RateLimitException as error:
        raise SandboxBusy(f"The service gives no more sandboxes now: {_short(error, api_key)}.") from error
    except Exception as error:  # whatever the SDK and its HTTP client raise
        raise SandboxUnavailable(f"The service gave no sandbox: {_short(error, api_key)}.") from error


class RemoteGuest:
    """A sandbox of the service and the guest in it.

    Args:
        box: A new sandbox.
        gone: Called once, from any thread, when all was done to end it; see `ended`.
    """

    def __init__(self, box: e2b.Sandbox, gone: Callable[[RemoteGuest], None]) -> None:
        self.ended = False
        """Whether the service confirmed that the sandbox is no more."""
        self.given_up = False
        """Whether it did not, however often it was asked."""
        self._box = box
        self._gone = gone
        self._handle: e2b.CommandHandle[None] | None = None
        self._token = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._ender: threading.Thread | None = None
        self._complaint = ""
        self._fate = ""

    def start(self, imports: Sequence[str], stream: float) -> None:
        """Start the guest, with these modules imported; its output can be followed for `stream` seconds.

        Raises:
            SandboxUnavailable: The service refused.
        """
        plan = {
            "imports": list(imports),
            "syscalls": base64.b64encode(seccomp.program(arch=_MACHINE)).decode(),
            "files": _DESCRIPTORS,
            "scratch": _SCRATCH,
        }
        program = [f"{_FOLDER}/relay.py", self._token, f"{_FOLDER}/boxed.py", json.dumps(plan)]
        sources = sorted(_INSIDE.glob("*.py"))
        try:
            self._box.files.write_files(
                [{"path": f"{_FOLDER}/{path.name}", "data": path.read_bytes()} for path in sources],
                request_timeout=_REQUEST,
            )
            self._handle = self._box.commands.run(
                f"exec {shlex.join(['python3', '-I', *program])}",
                background=True,
                stdin=True,
                timeout=stream,
                retain_output=False,
            )
        except Exception as error:  # whatever the SDK and its HTTP client raise
            raise SandboxUnavailable(f"The hosted sandbox takes no guest: {_short(error)}.") from error

    def channel(self) -> SocketChannel:
        """Frames to and from the guest. Call it once; the channel owns this guest from then on."""
        ours, theirs = socket.socketpair()
        threading.Thread(target=self._bring, args=(theirs,), name="oneturn-remote", daemon=True).start()
        return _RemoteChannel(ours, self)

    # --- its streams

    def send(self, frame: bytes) -> None:
        """One frame to the guest. Raises ChannelBroken."""
        data = memoryview(_HEADER.pack(len(frame)) + frame)
        try:
            assert self._handle is not None
            for start in range(0, len(data), _PIECE):
                self._handle.send_stdin(bytes(data[start : start + _PIECE]), request_timeout=_REQUEST)
        except Exception as error:  # whatever the SDK and its HTTP client raise
            raise ChannelBroken("The guest does not take what it is sent.") from error

    def _bring(self, sock: socket.socket) -> None:
        """Everything the guest says into `sock`; one that says more than is read is held up by it."""
        with sock:
            try:
                for some in self._said():
                    sock.sendall(some)
                self._fate = self._ending()
            except Exception as error:  # the channel was closed, or the stream broke, as the SDK tells it
                log.debug("the stream of a hosted sandbox ended: %s", error)
        assert self._handle is not None
        self._handle.disconnect()

    def _said(self) -> Iterator[bytes]:
        """What the guest says, from the relay's first line on. Raises ValueError on what no relay says."""
        assert self._handle is not None
        text, greeted = "", False
        for out, complaint, _ in self._handle:
            self._complaint = (self._complaint + (complaint or ""))[-_COMPLAINT:]
            text += out or ""
            if not greeted:
                _, greeting, rest = text.partition(f"{self._token}\n")
                if not greeting:
                    if len(text) > _GREETING:
                        raise ValueError("the shell says too much")
                    continue
                text, greeted = rest, True
            *lines, text = text.split("\n")
            if len(text) > _LINE:
                raise ValueError("a line is too long")
            for line in lines:
                yield base64.b64decode(line, validate=True)

    def _ending(self) -> str:
        """How the command ended, as the end of a sentence."""
        import e2b

        assert self._handle is not None
        try:
            self._handle.wait()
        except e2b.CommandExitException as error:
            if error.exit_code in _KILLED:
                return "was killed"
            said = " ".join(self._complaint.split())
            return f"ended with code {error.exit_code}" + (f": {said}" if said else "")
        return ""

    # --- what a channel asks

    def computed(self) -> float | None:
        """Unknown: the service does not tell."""
        return None

    def fate(self) -> str:
        """Why the guest went."""
        return self._fate

    def kill(self) -> None:
        """Have the sandbox ended, on a thread of its own."""
        with self._lock:
            if self._ender is None:
                # Not a daemon: a host that exits sees its sandboxes ended first.
                self._ender = threading.Thread(target=self._end, name="oneturn-remote-end")
                self._ender.start()

    def close(self) -> None:
        """End the sandbox, and see it through as far as the service answers."""
        self.kill()
        assert self._ender is not None
        self._ender.join()

    def extend(self, lifetime: float) -> bool:
        """Give the sandbox so many seconds from now. Whether it is still there.

        Raises:
            SandboxError: The service did not answer; the sandbox may be there.
        """
        import e2b

        try:
            self._box.set_timeout(math.ceil(lifetime), request_timeout=_REQUEST)
        except e2b.NotFoundException:
            return False
        except Exception as error:  # whatever the SDK and its HTTP client raise
            raise SandboxError(f"The hosted sandbox could not be kept: {_short(error)}.") from error
        return True

    def end(self) -> bool:
        """Ask the service once to end the sandbox. Whether it is no more."""
        if not self.ended:
            try:
                self._box.kill(request_timeout=_REQUEST)  # False: it had ended already
                self.ended = True
            except Exception as error:  # whatever the SDK and its HTTP client raise
                log.debug("a hosted sandbox could not be ended: %s", error)
        return self.ended

    def _end(self) -> None:
        for attempt in range(_TRIES):
            if self.end():
                break
            time.sleep(0.1 * 2**attempt)
        else:
            self.given_up = True
            log.warning("The hosted sandbox %s could not be ended; trying later.", self._box.sandbox_id)
        self._gone(self)


class _RemoteChannel(SocketChannel):
    """Frames from a hosted guest come over a socket on this machine; those to it are requests."""

    def __init__(self, sock: socket.socket, guest: RemoteGuest) -> None:
        super().__init__(sock, guest)
        self._guest = guest

    def send(self, frame: bytes) -> None:
        """Send one whole frame."""
        self._guest.send(frame)


def _short(error: Exception, key: str = "") -> str:
    """What went wrong, without the key, for people."""
    text = f"{type(error).__name__}: {error}".replace(key or "\0", "…")
    return " ".join(text.split())[:300].rstrip(".")
