"""Asking whoever sits at the terminal for approval, and telling what waits where nobody does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..approval_text import approval_line, approval_text, approval_why, spelled
from ..types import Approval, Decision
from .common import note

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..run.order import Approver
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

    async def ask(approvals: Sequence[Approval]) -> Sequence[Decision | None]:
        decisions = await _ask(approvals)
        if was_left() and not await asyncio.to_thread(_can_wait, app, approvals[0].run_id):
            app.cancel(approvals[0].run_id)  # what cannot wait would be denied, and the script would go on
        return decisions

    return ask


def leave_question() -> bool:
    """Ctrl-C: whoever is asked leaves, and all that is not decided waits. False when nobody is asked."""
    return _KEYBOARD.leave()


def was_left() -> bool:
    """Whether somebody left a question with Ctrl-C."""
    return _KEYBOARD.is_left


def is_kept(app: CodeMode) -> bool:
    """Whether runs of an app are on record beyond this process."""
    journal = app.options.journal
    return journal is not False and (journal is not True or app.options.state is not None)


def _can_wait(app: CodeMode, run_id: str) -> bool:
    """Whether a run can be put aside, and gone on with from its record some other time."""
    from ..errors import JournalError
    from ..journal.past import Past
    from .journal import recorded

    if not is_kept(app):
        return False
    try:
        with recorded(app.options) as journal:
            _, events = journal.read(run_id)
    except JournalError:
        return False
    return not Past.of(events).is_masked


class _Keyboard:
    """What is typed here, line by line; a line counts for the question that is shown, and for no other.

    One thread reads all along. Two would race for each line, and one that a question left behind would take
    the answer to the next. What is typed while nothing is asked goes nowhere.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: tuple[asyncio.AbstractEventLoop, asyncio.Future[bytes]] | None = None
        self._reading = False
        self.owed = False
        """A question was taken back, and the line that was on its way as its answer has not come yet."""
        self.is_left = False
        """Whoever sits here has left with Ctrl-C, and is asked nothing more."""

    def leave(self) -> bool:
        """End the question that is shown, on its event loop; False when none is."""
        with self._lock:
            asked, self._asked = self._asked, None
        if asked is None:
            return False
        self.is_left = True
        _give(asked[1], b"")
        return True

    async def line(self, question: str) -> str | None:
        """The line typed after `question` was shown; None at the end of what can be typed."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        asked = (loop, answer)
        with self._lock:
            _forget_typed()
            sys.stderr.write(question)
            sys.stderr.flush()
            self._asked = asked
            if not self._reading:
                self._reading = True
                threading.Thread(target=self._read, daemon=True).start()  # Ctrl-C leaves it behind
        try:
            data = await answer
        except asyncio.CancelledError:
            with self._lock:
                if self._asked is asked:
                    self._asked, self.owed = None, True
            raise
        return data.decode(errors="replace") if data else None

    def _read(self) -> None:
        data = b"more"
        while data:
            try:
                data = os.read(sys.stdin.fileno(), 4_096)  # a terminal gives one line at a time
            except (OSError, ValueError):  # gone, or closed
                data = b""
            with self._lock:
                self._reading = bool(data)
                asked, self._asked, self.owed = self._asked, None, False
            if asked is not None:
                loop, answer = asked
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
                    loop.call_soon_threadsafe(_give, answer, data)


def _give(answer: asyncio.Future[bytes], data: bytes) -> None:
    if not answer.done():
        answer.set_result(data)


def _forget_typed() -> None:
    """What was typed before a question is no answer to it."""
    try:
        import termios
    except ImportError:  # Windows, where only the thread drops it
        return
    with contextlib.suppress(termios.error):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


_KEYBOARD = _Keyboard()
_TURN = asyncio.Lock()  # a script may ask for more while a question is still open


async def _ask(approvals: Sequence[Approval]) -> Sequence[Decision | None]:
    """One by one; what is not decided waits."""
    async with _TURN:
        if was_left():
            return []
        try:
            return await _ask_in_turn(approvals)
        except asyncio.CancelledError:
            note("")
            note("This is not asked any more: the run went on without an answer, or ended; nothing counts.")
            raise


async def _ask_in_turn(approvals: Sequence[Approval]) -> Sequence[Decision | None]:
    by = who()
    decisions: list[Decision | None] = []
    if _KEYBOARD.owed:  # what is typed next may have been meant for the question before
        note("")
        await _KEYBOARD.line("Another call needs approval. Press Enter to see it: ")
    for number, approval in enumerate(approvals, 1):
        if was_left():
            break
        note("")
        if len(approvals) > 1:
            note(f"{number} of {len(approvals)}")
        note(approval_text(approval))
        word = await _word()
        if word == "a":
            return [*decisions, *[Decision(True, by)] * (len(approvals) - len(decisions))]
        decisions.append({"y": Decision(True, by), "n": Decision(False, by)}.get(word))
    return [] if was_left() else decisions  # whoever leaves half-way has not said yes to the first half


async def _word() -> str:
    while True:
        line = await _KEYBOARD.line("Approve? [y]es, [n]o, [a]ll that are asked for now, [l]ater: ")
        if line is None:
            return "l"
        word = line.strip().lower()
        if word in ("y", "yes", "n", "no", "a", "all", "l", "later"):
            return word[0]


def tell_waiting(outcome: Outcome, *, kept: bool) -> None:
    """What a run waits for and how it goes on, on stderr.

    Args:
        outcome: Of a run that waits.
        kept: Whether its record outlives this process.
    """
    number = len(outcome.pending)
    if was_left():
        note("")
        note("You left without deciding; nothing of this was sent, and nothing is lost.")
    note(f"{outcome.run_id} waits for approval of {'1 call' if number == 1 else f'{number} calls'}:")
    for approval in outcome.pending[:_SHOWN]:
        note(f"  {spelled(approval.id, 100)}  {approval_line(approval)}")
        if approval.why:
            note(f"    note: {approval_why(approval)}")
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
