"""What is planted for an attack to find, reach or break, and what watches it.

Everything planted carries a canary that occurs nowhere else. The world belongs to the process that plays
the cases, which is the host of the sandbox: files, environment, descriptors, listeners, shared memory and
a second process of the same user, as any host has them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import selectors
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/root", "/home")
_SHM_BYTES = 4096
_FD = 200  # where the descriptor lies that the host left open
_VICTIM = "import time, sys; print(sys.argv[1], flush=True); time.sleep(3600)"
_PR_SET_CHILD_SUBREAPER = 36


class World:
    """One set of planted things. Make it before the sandbox, so that the sandbox can inherit all of it."""

    def __init__(self, folder: Path) -> None:
        self.token = f"hx{secrets.token_hex(5)}"
        self.canary = os.environ.get("ONETURN_CANARY") or f"canary_{secrets.token_hex(8)}"
        self.folder = folder / self.token
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o777)
        self.secret = self._write(folder / f"secret-{self.token}.txt")
        self.touched: list[str] = []
        """Listeners that were connected to or written to."""
        self._adopt_orphans()
        os.environ["ONETURN_CANARY"] = self.canary
        fd = os.open(self.secret, os.O_RDWR)
        os.dup2(fd, _FD, inheritable=True)
        os.close(fd)
        self.victim = self._other_process()
        self.shm = self._share()
        self._listeners = dict(self._listen())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def planted(self) -> dict[str, str]:
        """What the words in a script stand for."""
        return {
            "SECRET": str(self.secret),
            "FOLDER": str(self.folder),
            "TOKEN": self.token,
            "PORT": str(self._port),
            "UNIX": str(self.secret.parent / f"{self.token}.sock"),
            "ABSTRACT": self.token,
            "HOST": str(os.getpid()),
            "VICTIM": str(self.victim.pid),
            "SHM": str(self.shm),
            "FD": str(_FD),
        }

    def made(self) -> list[str]:
        """Files that are on the host and were not put there by us. Forgets them by removing them."""
        found = [path for path in self.folder.rglob("*") if not path.is_dir()]
        for place in _PLACES:
            with contextlib.suppress(OSError):
                found += [path for path in Path(place).iterdir() if self._is_loot(path)]
        if self._is_changed():
            self._write(self.secret)
            found.append(self.secret)
        for path in found:
            if path != self.secret:
                with contextlib.suppress(OSError):
                    ctypes.CDLL(None).umount2(str(path).encode(), 2)  # it may be a mount
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        return [str(path) for path in found]

    def heal(self) -> None:
        """Another process in the place of one that was hurt."""
        self._end_victim()
        self.victim = self._other_process()

    def close(self) -> None:
        """Take everything away."""
        self._stop.set()
        self._thread.join()
        for listener in self._listeners.values():
            listener.close()
        self._end_victim()
        os.close(_FD)
        if self.shm >= 0:
            ctypes.CDLL(None).shmctl(self.shm, 0, None)

    def _other_process(self) -> subprocess.Popen[bytes]:
        """A process of the host's user, with the canary in its arguments and its memory."""
        command = [sys.executable, "-c", _VICTIM, self.canary]
        victim = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert victim.stdout is not None
        victim.stdout.readline()
        return victim

    def _end_victim(self) -> None:
        self.victim.kill()
        self.victim.wait()
        assert self.victim.stdout is not None
        self.victim.stdout.close()

    def _is_loot(self, path: Path) -> bool:
        return self.token in path.name and path not in (self.secret, self.folder) and not path.is_socket()

    def _is_changed(self) -> bool:
        try:
            return self.secret.read_text() != self.canary or self.secret.stat().st_mode & 0o777 != 0o644
        except OSError:
            return True

    def _write(self, path: Path) -> Path:
        path.write_text(self.canary)
        path.chmod(0o644)
        return path

    def _adopt_orphans(self) -> None:
        """A process whose parent ends becomes ours, so that none can hide by that."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def _share(self) -> int:
        """A segment of shared memory that anyone may attach; -1 where there is none to be had."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        key = secrets.randbits(31)
        segment: int = libc.shmget(key, _SHM_BYTES, 0o1666)
        if segment >= 0:
            address = libc.shmat(segment, None, 0)
            ctypes.memmove(address, self.canary.encode(), len(self.canary))
            libc.shmdt(ctypes.c_void_p(address))
        return segment

    def _listen(self) -> Iterator[tuple[str, socket.socket]]:
        tcp = socket.create_server(("0.0.0.0", 0))
        self._port = tcp.getsockname()[1]
        yield "TCP", tcp
        with contextlib.suppress(OSError):
            yield "TCP 6", socket.create_server(("::1", self._port), family=socket.AF_INET6)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("0.0.0.0", self._port))
        yield "UDP", udp
        for name, address in (("unix", self.planted["UNIX"]), ("abstract", f"\0{self.token}")):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(address)
            listener.listen()
            yield name, listener
        os.chmod(self.planted["UNIX"], 0o777)

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            for name, listener in self._listeners.items():
                listener.setblocking(False)
                selector.register(listener, selectors.EVENT_READ, name)
            while not self._stop.is_set():
                for key, _ in selector.select(0.2):
                    listener = self._listeners[key.data]
                    self.touched.append(key.data)
                    with contextlib.suppress(OSError):
                        if listener.type == socket.SOCK_DGRAM:
                            listener.recv(4096)
                        else:
                            connection, _ = listener.accept()
                            with connection:
                                connection.sendall(self.canary.encode())
