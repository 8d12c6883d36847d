"""Serving over stdin and stdout. The transport keeps stdout for the protocol alone."""

from __future__ import annotations

import asyncio
import os
import signal

from ..app import CodeMode
from . import Offer
from .door import build, messenger_of
from .signals import on_stop


async def serve(app: CodeMode, offer: Offer) -> None:
    """See `oneturn.server.serve_stdio`."""
    server = build(app, offer, auth=None, messenger=messenger_of(offer))
    closing: list[asyncio.Task[None]] = []

    def stop(number: signal.Signals) -> None:
        if not closing:
            closing.append(asyncio.create_task(_close_and_die(app, number)))

    try:
        with on_stop(stop):
            await app.open()
            await server.run_stdio_async(show_banner=False, log_level="WARNING")
    finally:
        await app.close()


async def _close_and_die(app: CodeMode, number: signal.Signals) -> None:
    """Close the app, then let the signal have its way.

    Not by unwinding the server: a thread of it reads stdin, and nothing can interrupt that.
    """
    try:
        await app.close()
    finally:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
