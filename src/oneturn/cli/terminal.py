"""Asking whoever sits at the terminal for approval, and telling what waits where nobody does."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..approval_text import approval_line, approval_text, spelled
from ..types import Approval, Decision
from .common import note

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..order import Approver
    from ..types import Outcome

_SHOWN = 20


def who() -> str:
    """The person at this machine, as decisions name them: the user this process runs as, and the host."""
    try:
        import pwd

        name = pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # Windows; a user without an entry
        import getpass

        name = getpass.getuser() if sys.platform == "win32" else f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def approver_of(app: CodeMode) -> Approver | None:
    """Asks at this terminal; None when it is none, or the app has an approver of its own."""
    if app.options.approver is not None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return _ask


async def _ask(approvals: Sequence[Approval]) -> Sequence[Decision | None]:
    """One by one; what is not decided waits."""
    by = who()
    decisions: list[Decision | None] = []
    for number, approval in enumerate(approvals, 1):
        note("")
        if len(approvals) > 1:
            note(f"{number} of {len(approvals)}")
        note(approval_text(approval))
        word = await _word()
        if word == "a":
            return [*decisions, *[Decision(True, by)] * (len(approvals) - len(decisions))]
        decisions.append({"y": Decision(True, by), "n": Decision(False, by)}.get(word))
    return decisions


async def _word() -> str:
    while True:
        sys.stderr.write("Approve? [y]es, [n]o, [a]ll that are asked for now, [l]ater: ")
        sys.stderr.flush()
        line = await _line()
        if line is None:
            return "l"
        word = line.strip().lower()
        if word in ("y", "yes", "n", "no", "a", "all", "l", "later"):
            return word[0]


async def _line() -> str | None:
    """A line from the terminal; None at its end. A thread of its own waits, which Ctrl-C can leave behind."""
    loop = asyncio.get_running_loop()
    read: asyncio.Future[bytes] = loop.create_future()

    def take(data: bytes) -> None:
        if not read.done():
            read.set_result(data)

    def wait() -> None:
        try:
            data = os.read(sys.stdin.fileno(), 4_096)
        except OSError:
            data = b""
        if not loop.is_closed():
            loop.call_soon_threadsafe(take, data)

    threading.Thread(target=wait, daemon=True).start()
    data = await read
    return data.decode(errors="replace") if data else None


def tell_waiting(outcome: Outcome, *, kept: bool) -> None:
    """What a run waits for and how it goes on, on stderr.

    Args:
        outcome: Of a run that waits.
        kept: Whether its record outlives this process.
    """
    number = len(outcome.pending)
    note(f"{outcome.run_id} waits for approval of {'1 call' if number == 1 else f'{number} calls'}:")
    for approval in outcome.pending[:_SHOWN]:
        note(f"  {spelled(approval.id, 100)}  {approval_line(approval)}")
    if number > _SHOWN:
        note(f"  and {number - _SHOWN} more")
    if kept:
        note("look:    oneturn approvals show ID")
        note("decide:  oneturn approvals approve ID, or oneturn approvals deny ID")
        note(f"go on:   oneturn runs resume {outcome.run_id}")
    else:
        note(
            "This app keeps its runs in memory only, so this one is gone now. Run it at a terminal, name the "
            "tools in ONETURN_AUTO_APPROVE, or give the app a state folder or a journal."
        )
