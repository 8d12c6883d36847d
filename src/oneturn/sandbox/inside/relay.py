"""Stands between a guest and two streams of which one carries only text: those of a hosted command.

`relay.py TOKEN PROGRAM [ARGUMENT ...]` starts PROGRAM with this Python, an empty environment and a socket as
its stdin and stdout. What comes on stdin goes to it as it is; what comes from it goes to stdout as lines of
base64, after one line with TOKEN: before that, a login shell may say anything.

Standard library only; it imports nothing of ours.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import subprocess
import sys
import threading

CHUNK = 48 * 1024  # bytes a line


def bring(host: socket.socket) -> None:
    """Everything from stdin to the guest; the end of one is the end of the other."""
    with contextlib.suppress(OSError):
        while some := os.read(0, CHUNK):
            host.sendall(some)
        host.shutdown(socket.SHUT_WR)


def main() -> None:
    """Run the guest to its end, and end as it did."""
    if sys.version_info < (3, 11):  # noqa: UP036  a template may have any Python
        sys.exit(f"python3 is {sys.version.split()[0]} here, and a guest needs 3.11 or later")
    token, *program = sys.argv[1:]
    host, guest = socket.socketpair()
    process = subprocess.Popen(  # noqa: S603  the host said what
        [sys.executable, "-s", "-P", "-B", *program],
        stdin=guest.fileno(),
        stdout=guest.fileno(),
        env={"PYTHONHASHSEED": "0"},
    )
    guest.close()
    threading.Thread(target=bring, args=(host,), daemon=True).start()
    out = sys.stdout.buffer
    out.write(token.encode() + b"\n")
    out.flush()
    with contextlib.suppress(ConnectionError):
        while some := host.recv(CHUNK):
            out.write(base64.b64encode(some) + b"\n")
            out.flush()
    code = process.wait()
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
