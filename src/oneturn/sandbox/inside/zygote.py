"""The warm process: it has the imports done and forks one confined child for each run. Standard library only.

Started by `jail/zygote.py` by file path, with a control socket as standard input and nothing else. Two
processes come of it. The *launcher* encloses itself, starts the zygote as process 1 of a namespace of
processes and then only waits: it ends when the host ends, and when it ends the kernel kills the zygote,
and with process 1 everything that was forked from it. The *zygote* imports, proves that it has one thread,
and serves the control socket:

    host -> zygote, once      the spec; with it a descriptor of the host's process
    zygote -> host, once      {"resident": bytes in use} or
                              {"failed": sentence, "of": "jail" | "import" | "shortage"}
    host -> zygote, each run  {} with descriptors: the guest's end of its channel, a report socket, and the
                              lists of processes of the control groups the child is to join
    zygote -> report socket   {"started": true} with the child's pidfd, or {"failed": sentence};
                              when the child has ended, {"ended": its exit code, negative for a signal}

All of them are JSON, one in a packet. A child that could not be sealed says `refused` on its channel, or
ends with the code 75 where the machine was only short of something, so that the host tries another.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gc
import importlib.util
import json
import os
import resource
import select
import signal
import socket
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from . import guest, jail
else:

    def _beside(name: str) -> types.ModuleType:
        """A neighbour of this file, under a name no package has."""
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
        spec = importlib.util.spec_from_file_location(f"_oneturn_{name}", path)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    guest, jail = _beside("guest"), _beside("jail")

_LARGEST = 1 << 20  # bytes of the spec
_MOST_DESCRIPTORS = 16  # of one request
_CHANNEL = 3  # the only descriptor of a child
_DESCRIPTORS = 1 << 16  # of the zygote, which has two for each child
_SHORT = 75  # the exit code of a child for which the machine was short of something
_FIRST_TO_GO = b"1000"  # when the machine runs out of memory
# Libraries for arithmetic start a thread for each core unless told otherwise, and a process with threads
# cannot be forked safely.
_ONE_THREAD = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS",
)  # fmt: skip


def main() -> None:
    """Receive the spec, go into the jail, start the zygote, and watch over it."""
    control = socket.socket(fileno=os.dup(0))
    os.dup2(1, 0)
    os.umask(0o022)
    # A host may ignore or block signals, and that is inherited.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    jail.give_up_real_time()
    packet, descriptors, _, _ = socket.recv_fds(control, _LARGEST, 1)
    if not packet:
        return
    spec, (host,) = json.loads(packet), descriptors
    keep = {control.fileno(), host}
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor not in keep:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(descriptor)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, _DESCRIPTORS), most))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as score:
        score.write(_FIRST_TO_GO)  # whatever the host's own score is, which would be inherited
    with _telling(control, "jail"):
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        jail.enclose(spec)
        zygote = jail.fork_into_new_processes()
    if zygote == 0:
        os.close(host)
        _zygote(control, spec, proc)
        os._exit(0)
    control.close()
    os.close(proc)
    _watch(zygote, host)


def _watch(zygote: int, host: int) -> None:
    """End with the zygote or with the host, whichever ends first; ending takes the zygote along."""
    ended = os.pidfd_open(zygote)
    waiting = select.poll()
    waiting.register(ended, select.POLLIN)
    waiting.register(host, select.POLLIN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        waiting.poll()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(zygote, signal.SIGKILL)
        os.waitpid(zygote, 0)


@contextlib.contextmanager
def _telling(control: socket.socket, of: str) -> Iterator[None]:
    """Tell the host what failed, and end."""
    try:
        yield
    except (jail.Refused, OSError, RuntimeError) as error:
        _say(control, {"failed": str(error), "of": "shortage" if _passing(error) else of})
        os._exit(1)


def _passing(error: Exception) -> bool:
    """Whether the machine was only short of something."""
    return error.passing if isinstance(error, jail.Refused) else getattr(error, "errno", 0) in jail.PASSING


def _say(to: socket.socket, message: Mapping[str, Any], descriptors: list[int] | None = None) -> None:
    """Send one packet. That the host no longer listens is its business: its end is noticed elsewhere."""
    with contextlib.suppress(OSError):
        socket.send_fds(to, [json.dumps(message).encode()], descriptors or [])


# --- the zygote


def _zygote(control: socket.socket, spec: Mapping[str, Any], proc: int) -> None:
    with _telling(control, "jail"):
        jail.die_with_parent()
        own = os.open("self/ns/pid", os.O_RDONLY, dir_fd=proc)
        sizes = os.open("self/statm", os.O_RDONLY, dir_fd=proc)
        status = os.open("self/status", os.O_RDONLY, dir_fd=proc)
        os.close(proc)
    _import(control, spec)
    with _telling(control, "jail"):
        guest.prepare()
    with _telling(control, "import"):
        threads = _threads(status)
        if threads != 1:
            raise jail.Refused(
                f"Importing {', '.join(spec['imports'])} started {threads - 1} threads, and a process with "
                "threads cannot be forked safely. Take what starts them out of the imports."
            )
    os.close(status)
    os.environ.clear()
    gc.collect()
    gc.freeze()
    zygote = Zygote(control, spec, own, sizes)
    _say(control, {"resident": zygote.sizes()[1]})
    zygote.serve()


def _import(control: socket.socket, spec: Mapping[str, Any]) -> None:
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    for name in spec["warm"]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sys.path.extend(spec["path"])
    for name in spec["imports"]:
        try:
            importlib.import_module(name)
        except BaseException as error:
            why = f"Importing {name} failed inside the jail: {type(error).__name__}: {error}"
            _say(control, {"failed": why[:1_000], "of": "import"})
            os._exit(1)


def _threads(status: int) -> int:
    for line in os.pread(status, 1 << 16, 0).splitlines():
        if line.startswith(b"Threads:"):
            return int(line.split()[1])
    raise jail.Refused("The kernel does not tell how many threads there are.")


class Zygote:
    """Forks children and tells each one's report socket how it went."""

    def __init__(self, control: socket.socket, spec: Mapping[str, Any], own: int, sizes: int) -> None:
        self._control = control
        self._spec = spec
        self._own = own  # the zygote's namespace of processes
        self._sizes = sizes  # /proc's word on the zygote's memory
        self._waiting = select.poll()
        self._children: dict[int, tuple[int, socket.socket]] = {}  # by pidfd

    def serve(self) -> None:
        """Until the host closes the control socket."""
        self._waiting.register(self._control, select.POLLIN)
        while True:
            for descriptor, _ in self._waiting.poll():
                if descriptor in self._children:
                    self._bury(descriptor)
                elif not self._take():
                    return

    def sizes(self) -> tuple[int, int, int]:
        """Bytes of address space, of memory in use, and of private data."""
        pages = os.pread(self._sizes, 256, 0).split()
        size = os.sysconf("SC_PAGE_SIZE")
        return int(pages[0]) * size, int(pages[1]) * size, int(pages[5]) * size

    def _take(self) -> bool:
        packet, descriptors, _, _ = socket.recv_fds(self._control, 4096, _MOST_DESCRIPTORS)
        if not packet:
            return False
        if len(descriptors) < 2:  # there was no room for them; the host notices that its ends are closed
            for descriptor in descriptors:
                os.close(descriptor)
            return True
        channel, told, *groups = descriptors
        report = socket.socket(fileno=told)
        try:
            self._fork(channel, report, groups)
        except (jail.Refused, OSError) as error:
            _say(report, {"failed": str(error)})
            report.close()
        finally:
            for descriptor in (channel, *groups):
                os.close(descriptor)
        return True

    def _fork(self, channel: int, report: socket.socket, groups: list[int]) -> None:
        mapped, _, data = self.sizes()
        child = jail.fork_into_new_processes(self._own)
        if child == 0:
            confine = functools.partial(jail.confine, self._spec, data=data, mapped=mapped)
            _child(self._spec, confine, channel, groups)
        pidfd = os.pidfd_open(child)
        self._children[pidfd] = (child, report)
        self._waiting.register(pidfd, select.POLLIN)
        _say(report, {"started": True}, [pidfd])

    def _bury(self, pidfd: int) -> None:
        child, report = self._children.pop(pidfd)
        self._waiting.unregister(pidfd)
        _, status = os.waitpid(child, 0)
        os.close(pidfd)
        _say(report, {"ended": os.waitstatus_to_exitcode(status)})
        report.close()


# --- a child


def _child(
    spec: Mapping[str, Any],
    confine: Callable[[Mapping[str, Any]], None],
    channel: int,
    groups: list[int],
) -> NoReturn:
    """One guest, from the fork to its end. Never returns, so no object of the zygote's is ever finalised."""
    status = 1
    try:
        try:
            _join(groups)
            channel = _keep(channel)
            jail.die_with_parent()
            jail.seal(spec)
        except (jail.Refused, OSError) as error:
            if _passing(error):
                os._exit(_SHORT)
            frame = json.dumps({"op": "refused", "n": 0, "why": str(error)}).encode()
            os.write(channel, len(frame).to_bytes(4, "big") + frame)
        else:
            guest.serve(channel, confine)
            status = 0
    finally:
        os._exit(status)


def _join(groups: list[int]) -> None:
    for group in groups:
        try:
            os.write(group, b"0")  # the writer itself
        except OSError as error:
            raise jail.refused("Joining a control group", error.errno) from None


def _keep(channel: int) -> int:
    """Close every descriptor but the empty standard ones and this one; its new number.

    The standard ones are opened anew: flags of those inherited would be flags of every other guest's.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(_CHANNEL):
        os.dup2(nothing, standard)
    high = fcntl.fcntl(channel, fcntl.F_DUPFD, _CHANNEL)
    if high != _CHANNEL:
        os.dup2(high, _CHANNEL)
    os.closerange(_CHANNEL + 1, 1 << 20)
    return _CHANNEL


if __name__ == "__main__":
    main()
