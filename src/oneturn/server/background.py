"""What a server does on its own: it goes on with runs that were decided, and sends word of what waits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ..app import CodeMode
from ..errors import JournalError, OneturnError, RunBusy, SandboxBusy, SourceError
from ..journal.rows import RunRow

if TYPE_CHECKING:
    from .webhook import Messenger

log = logging.getLogger("oneturn.server")

_EVERY = 2.0  # seconds between two looks at the journal
_AT_ONCE = 4  # runs that are gone on with together
_LATER = (RunBusy, SandboxBusy, SourceError)  # worth another try


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
        self._given_up: set[str] = set()

    async def attend(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._look()
            except JournalError as error:
                log.warning("the journal could not be looked at: %s", error)
            await asyncio.sleep(_EVERY)

    async def close(self) -> None:
        """Wait for nothing: runs under way are closed with the app, and are resumed some other time."""
        for task in self._going.values():
            task.cancel()
        await asyncio.gather(*self._going.values(), return_exceptions=True)
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
            if row.id not in self._going and row.id not in self._given_up:
                self._going[row.id] = asyncio.create_task(self._go_on(row))

    async def _go_on(self, row: RunRow) -> None:
        """Its outcome stays in the journal, for whoever asks."""
        try:
            outcome = await self._app.resume(row.id, caller=row.caller)
            log.info("%s was decided and went on: it %s", row.id, outcome.status)
        except _LATER as error:
            log.info("%s was decided and could not go on yet: %s", row.id, error)
        except OneturnError as error:
            self._given_up.add(row.id)
            log.warning("%s was decided and cannot go on: %s", row.id, error)
        finally:
            del self._going[row.id]
