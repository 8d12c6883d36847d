"""The main of a guest that nobody forked: it is started in a jail that is up already, and serves one host.

Its standard input is the guest's end of the channel. What the jail's mounts and namespaces leave open
(`jail/bubblewrap.py`), `jail.seal` and `jail.confine` close as they do for a guest of the warm process.
Standard library only; run by file path with one JSON argument, the dictionary of `JailSpec.to_json`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import mmap
import os
import resource
import sys
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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

_CHANNEL = 3
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
_STEP = 1 << 20  # how exactly memory in use is measured


def main(spec: Mapping[str, Any]) -> None:
    """Import what is configured, then serve until the host closes the channel."""
    os.dup2(0, _CHANNEL)
    os.dup2(1, 0)
    try:
        jail.seal(spec)
    except jail.Refused as error:
        frame = json.dumps({"op": "refused", "n": 0, "why": str(error)}).encode()
        os.write(_CHANNEL, len(frame).to_bytes(4, "big") + frame)
        return
    for name in _ONE_THREAD:
        os.environ[name] = "1"
    sys.path.extend(spec["path"])
    for name in spec["imports"]:
        importlib.import_module(name)
    guest.prepare()
    os.environ.clear()
    mapped, data = _used(resource.RLIMIT_AS), _used(resource.RLIMIT_DATA)
    guest.serve(_CHANNEL, functools.partial(jail.confine, spec, data=data, mapped=mapped))


def _used(what: int) -> int:
    """Bytes of address space or private memory in use, found by trying where the limit begins to bite.

    The jail has no /proc that would tell.
    """
    soft, hard = resource.getrlimit(what)
    low, high = 0, 1 << 46 if soft == resource.RLIM_INFINITY else soft
    while high - low > _STEP:
        middle = (low + high) // 2
        resource.setrlimit(what, (middle, hard))
        try:
            mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
            high = middle
        except (OSError, MemoryError):
            low = middle
        finally:
            resource.setrlimit(what, (soft, hard))
    return high


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
