"""What a server does on its own: it goes on with runs that were decided, and sends word of what waits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..app import CodeMode
from ..errors import Diverged, JournalCorrupt, JournalError, OneturnError
from ..journal.rows import RunRow

if TYPE_CHECKING:
    from .webhook import Messenger

log = logging.getLogger("oneturn.server")

_EVERY = 2.0  # seconds between two looks at the journal
_AT_ONCE = 4  # runs that are gone on with together
_GRACE = 5.0  # seconds that runs under way have to finish when the server stops
_LONGEST = 60.0  # seconds between two tries of a run that cannot go on yet


@dataclass(frozen=True, slots=True)
class _Pause:
    """How long a run is left alone, and until when on the monotonic clock."""

    seconds: float
    until: float


@asynccontextmanager
async def attended(app: CodeMode, messenger: Messenger | None) -> AsyncIterator[None]:
    """Look after the runs of `app` that wait, as long as this context is open."""
    if app.options.journal is False:
        yield
        return
    attendant = Attendant(app, messenger)
    task = asyncio.create_task(attendant.attend())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await attendant.close()


class Attendant:
    """Looks at the journal every two seconds.

    Args:
        app: Whose runs it looks after; it is open.
        messenger: Sends word of calls that wait, when there is a webhook.
    """

    def __init__(self, app: CodeMode, messenger: Messenger | None) -> None:
        self._app = app
        self._messenger = messenger
        self._going: dict[str, asyncio.Task[None]] = {}
        self._pauses: dict[str, _Pause] = {}
        self._given_up: set[str] = set()

    async def attend(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._look()
            except JournalError as error:
                log.warning("the journal could not be looked at: %s", error)
            except Exception:
                log.exception("a look at the runs that wait failed; the next one is in %g seconds", _EVERY)
            await asyncio.sleep(_EVERY)

    async def close(self) -> None:
        """Let runs under way finish for five seconds; the others are let go, and resumed some other time."""
        going = dict(self._going)
        if going:
            await asyncio.wait(going.values(), timeout=_GRACE)
        for run_id, task in going.items():
            if not task.done() and not self._app.let_go(run_id):
                task.cancel()  # it has not started yet, so this ends no run
        await asyncio.gather(*going.values(), return_exceptions=True)
        if self._messenger is not None:
            await self._messenger.close()

    async def _look(self) -> None:
        if self._messenger is not None:
            now = time.time()
            filed = await self._app.approvals(status="pending")
            self._messenger.tell(
                [each for each in filed if each.approval.expires is None or each.approval.expires > now]
            )
        for row in await self._app.decided():
            if len(self._going) >= _AT_ONCE:
                break
            if row.id not in self._going and row.id not in self._given_up and not self._rests(row.id):
                self._going[row.id] = asyncio.create_task(self._go_on(row))

    def _rests(self, run_id: str) -> bool:
        pause = self._pauses.get(run_id)
        return pause is not None and time.monotonic() < pause.until

    async def _go_on(self, row: RunRow) -> None:
        """Its outcome stays in the journal, for whoever asks."""
        try:
            outcome = await self._app.resume(row.id, caller=row.caller)
            self._pauses.pop(row.id, None)
            log.info("%s was decided and went on: it %s", row.id, outcome.status)
        except (Diverged, JournalCorrupt) as error:
            self._given_up.add(row.id)
            log.warning("%s was decided and cannot go on: %s", row.id, error)
        except OneturnError as error:
            log.info("%s was decided and goes on in %g seconds: %s", row.id, self._later(row.id), error)
        except (
            Exception
        ):  # a fault of ours or of a tool's source; the approval was given, so it is tried again
            log.exception("%s was decided and goes on in %g seconds", row.id, self._later(row.id))
        finally:
            del self._going[row.id]

    def _later(self, run_id: str) -> float:
        """Leave a run alone for twice as long as the last time. Returns the seconds."""
        last = self._pauses.get(run_id)
        seconds = _EVERY if last is None else min(last.seconds * 2, _LONGEST)
        self._pauses[run_id] = _Pause(seconds, time.monotonic() + seconds)
        return seconds
