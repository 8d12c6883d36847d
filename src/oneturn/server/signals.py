"""Being stopped from outside, in a way that leaves time to tidy up."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def on_stop(stop: Callable[[signal.Signals], object]) -> Iterator[None]:
    """Call `stop` on the event loop when SIGINT or SIGTERM arrives, instead of ending the process.

    Where a loop cannot listen for signals (on Windows, or outside the main thread) they keep their
    usual meaning.
    """
    loop = asyncio.get_running_loop()
    heard = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop, number)
            heard.append(number)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
