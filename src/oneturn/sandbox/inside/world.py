"""Time and chance inside a guest: clocks the host serves, randomness that follows the run's seed.

Everything Python code can ask is replaced, once in a process: `time`, `datetime`, `random`, `secrets`,
`uuid`, `os.urandom` and every name or default that other modules took from them. While no script runs the
replaced clocks are the real ones. What C libraries read by themselves stays real; see the docs of the tier.

Standard library only; runs with any Python from 3.11, on the script's side.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import gc
import os
import random
import sys
import time
import types
import uuid
from collections.abc import Callable
from typing import Any

ask: Callable[[str, str, tuple[Any, ...]], Any] | None = None
"""Asks the host, `(kind, name, args)`; None while no script runs."""

_MAX_BYTES = 1 << 20  # of one read of randomness
_FIELDS = 9  # of a time tuple
_chance = random.Random(0)  # noqa: S311  replay needs the same bytes
_node = 1 << 40  # the machine's number in a UUID, marked as one that no machine has
_real_time, _real_monotonic, _real_sleep = time.time, time.monotonic, time.sleep
_real_urandom, _real_gmtime, _real_strftime, _real_asctime = (
    os.urandom,
    time.gmtime,
    time.strftime,
    time.asctime,
)


def seed(number: int) -> None:
    """Start every source of randomness anew."""
    global _node
    _node = random.Random(f"node {number}").getrandbits(48) | 1 << 40  # noqa: S311
    _chance.seed(number)
    random.seed(number)
    if (numpy := sys.modules.get("numpy.random")) is not None:
        numpy.seed(number % 2**32)


def prepare() -> None:
    """Replace the clocks and the randomness of this process.

    Raises:
        RuntimeError: This Python does not let them be replaced, or orders sets by chance.
    """
    if sys.flags.hash_randomization:
        raise RuntimeError(
            "Sets of text have another order in each process of this Python. Start it with PYTHONHASHSEED=0 "
            "in the environment and without -I and -E."
        )
    os.putenv("TZ", "UTC0")
    time.tzset()
    replaced: dict[int, tuple[Any, Any]] = {}
    for module, name, new in _replacements():
        old = getattr(module, name, None)
        if old is not None:
            new.__name__ = new.__qualname__ = name
            new.__module__ = module.__name__
            setattr(module, name, new)
            replaced[id(old)] = (old, new)
    uuid._generate_time_safe = None  # type: ignore[attr-defined]  # the C library's own clock and number
    _replace_in_modules(replaced)
    _replace_in_defaults(replaced)
    _replace_in_datetime()
    _replace_in_random()


def _replace_in_modules(replaced: dict[int, tuple[Any, Any]]) -> None:
    """`from time import time` in a module that is loaded already took the old one."""
    for module in list(sys.modules.values()):
        if module is sys.modules[__name__] or not isinstance(module, types.ModuleType):
            continue
        for name, value in list(vars(module).items()):
            found = replaced.get(id(value))
            if found is not None and found[0] is value:
                setattr(module, name, found[1])


def _replace_in_defaults(replaced: dict[int, tuple[Any, Any]]) -> None:
    """A function with a clock for a default, as `sched` and `timeit` have, took the old one when made."""
    for function in gc.get_objects():
        if type(function) is not types.FunctionType or not function.__defaults__:
            continue
        held = [(value, replaced.get(id(value))) for value in function.__defaults__]
        if any(found is not None for _, found in held):
            function.__defaults__ = tuple(value if found is None else found[1] for value, found in held)


# --- clocks


def _wall(*_: Any) -> float:
    return _real_time() if ask is None else float(ask("clock", "wall", ()))


def _monotonic(*_: Any) -> float:
    return _real_monotonic() if ask is None else float(ask("clock", "monotonic", ()))


def _sleep(seconds: Any, /) -> None:
    if ask is None:
        return _real_sleep(seconds)
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    ask("sleep", "time.sleep", (seconds if type(seconds) is int else float(seconds),))
    return None


def _nanoseconds(clock: Callable[..., float]) -> Callable[..., int]:
    return lambda *_: round(clock() * 1e9)


def _clock_gettime(clock: int, /) -> float:
    return _wall() if clock == time.CLOCK_REALTIME else _monotonic()


def _at(convert: Callable[..., Any]) -> Callable[..., Any]:
    """A function of seconds that takes none for now."""
    return lambda seconds=None, /: convert(_wall() if seconds is None else seconds)


def _strftime(form: str, moment: Any = None, /) -> str:
    return _real_strftime(form, _real_gmtime(_wall()) if moment is None else moment)


def _asctime(moment: Any = None, /) -> str:
    return _real_asctime(_real_gmtime(_wall()) if moment is None else moment)


def _replacements() -> list[tuple[types.ModuleType, str, Any]]:
    clocks: list[tuple[str, Callable[..., Any]]] = [
        ("time", lambda: _wall()),
        ("monotonic", lambda: _monotonic()),
        ("perf_counter", lambda: _monotonic()),
        ("process_time", lambda: 0.0),
        ("thread_time", lambda: 0.0),
        ("time_ns", _nanoseconds(_wall)),
        ("monotonic_ns", _nanoseconds(_monotonic)),
        ("perf_counter_ns", _nanoseconds(_monotonic)),
        ("process_time_ns", lambda: 0),
        ("thread_time_ns", lambda: 0),
        ("clock_gettime", _clock_gettime),
        ("clock_gettime_ns", lambda clock, /: round(_clock_gettime(clock) * 1e9)),
        ("sleep", _sleep),
        ("localtime", _at(time.localtime)),
        ("gmtime", _at(time.gmtime)),
        ("ctime", _at(time.ctime)),
        ("strftime", _strftime),
        ("asctime", _asctime),
    ]
    return [
        *((time, name, new) for name, new in clocks),
        (os, "urandom", _urandom),
        (os, "getrandom", lambda size, flags=0: _urandom(size)),
        (os, "times", lambda: os.times_result((0.0, 0.0, 0.0, 0.0, _monotonic()))),
        (os, "cpu_count", lambda: 1),
        (uuid, "getnode", lambda: _node),
    ]


def _now(cls: Any, tz: dt.tzinfo | None = None) -> Any:
    if tz is not None and not isinstance(tz, dt.tzinfo):
        raise TypeError(
            f"tzinfo argument must be None or of a tzinfo subclass, not type {type(tz).__name__!r}"
        )
    return cls.fromtimestamp(_wall(), tz)


def _utcnow(cls: Any) -> Any:
    return cls.fromtimestamp(_wall())  # the zone is UTC


def _today(cls: Any) -> Any:
    return cls.fromtimestamp(_wall())


def _replace_in_datetime() -> None:
    """The types stay what they are, so `isinstance` and C libraries go on working; three methods change."""
    for kind, name, method in (
        (dt.datetime, "now", _now),
        (dt.datetime, "utcnow", _utcnow),
        (dt.date, "today", _today),
    ):
        method.__name__ = name
        method.__qualname__ = f"{kind.__name__}.{name}"
        (attributes,) = gc.get_referents(kind.__dict__)
        attributes[name] = classmethod(method)
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))
        if getattr(kind, name).__func__ is not method:
            raise RuntimeError(f"This Python does not let {kind.__name__}.{name} be served by the host.")


# --- chance


def _urandom(size: int, /) -> bytes:
    if ask is None:
        return _real_urandom(size)
    if size > _MAX_BYTES:
        raise ValueError(f"at most {_MAX_BYTES:,} random bytes can be had at once")
    if size < 0:
        raise ValueError("negative argument not allowed")
    return _chance.randbytes(size)


def _replace_in_random() -> None:
    """A generator made without a seed is seeded by C code; here it asks `os.urandom` as the others do."""
    seed_it = random.Random.seed

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        """Initialize internal state from a seed."""
        seed_it(self, int.from_bytes(_urandom(32), "big") if a is None else a, version)

    random.Random.seed = seed  # type: ignore[method-assign]
    random.seed = random._inst.seed
