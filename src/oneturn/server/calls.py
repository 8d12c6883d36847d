"""What a client's request becomes: a run or a call of the app, as that client.

The invariant: the caller of a run is who the transport says it is, never something the client
wrote into its request.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import anyio
from fastmcp.exceptions import ToolError as ClientVisibleError
from fastmcp.server.auth import AccessToken
from fastmcp.server.dependencies import get_access_token, get_context
from fastmcp.tools.base import ToolResult

from ..app import CodeMode
from ..errors import OneturnError, RunBusy
from ..gate import Redactor
from ..metatools import search_text
from ..run.order import Approver
from ..telling import short, visible
from ..tokens import cut
from ..tools.scope import Scope
from ..types import Detail, Effect, Outcome
from ..view import View
from .asking import User
from .results import direct_result, run_result, text_result

LONGEST_WAIT = 300
"""Seconds that one `resume_run` may wait."""

_NAMES = 20  # of one get_tool_info
_ID = 60  # characters looked at of a run's id, which has 20
_POLL = 0.5  # seconds between two looks at what waits

_Show = Callable[[Outcome], Awaitable[ToolResult]]


def identity(token: AccessToken) -> str:
    """The client, and its user when it says which.

    A client's id and a user's subject are quoted, so that no pair of them reads like another.
    """
    client = f"client:{quote(token.client_id, safe='')}"
    return f"{client}/{quote(token.subject, safe='')}" if token.subject else client


def current_caller() -> str:
    """Who is asking: the authenticated client (and user), `stdio`, `http`, or `local` in process."""
    token = get_access_token()
    if token is not None:
        return identity(token)
    transport = get_context().transport
    return "stdio" if transport == "stdio" else "http" if transport else "local"


@dataclass(frozen=True, slots=True)
class Calls:
    """The requests a client can make of an app, each answered within `max_tokens`.

    With `elicit`, clients that can ask their user are given calls that need approval to ask about.
    """

    app: CodeMode
    max_tokens: int
    elicit: bool = True

    async def execute(
        self, code: str, timeout: float | None, session: str = "", retry_of: str = ""
    ) -> ToolResult:
        """Run a script."""
        caller, retry_of = current_caller(), short(retry_of, _ID)
        if session and caller == "http":  # nobody in particular: a session belongs to one connection
            session = f"{get_context().session_id} {session}"

        def work(approver: Approver | None) -> Coroutine[Any, Any, Outcome]:
            return self.app.execute(
                code, timeout=timeout, caller=caller, session=session, approver=approver, retry_of=retry_of
            )

        return await self._act(caller, work, self._run_result)

    async def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        """Make one call by a tool's dotted name."""
        return await self._call(name, arguments, self._run_result)

    async def call_direct(self, name: str, arguments: dict[str, Any], *, structured: bool) -> ToolResult:
        """Make one call of a tool that is offered under its own name."""
        show = partial(direct_result, self.app, max_tokens=self.max_tokens, structured=structured)
        return await self._call(name, arguments, show)

    async def resume(self, run_id: str, wait: float) -> ToolResult:
        """Go on with a run of this client's, once what it waits for is decided."""
        caller, run_id = current_caller(), short(run_id, _ID)
        return await self._act(
            caller, lambda approver: self._go_on(run_id, caller, wait, approver), self._run_result
        )

    async def _call(self, name: str, arguments: dict[str, Any], show: _Show) -> ToolResult:
        caller = current_caller()
        return await self._act(
            caller,
            lambda approver: self.app.call(name, arguments, caller=caller, approver=approver),
            show,
        )

    async def _act(
        self, caller: str, work: Callable[[Approver | None], Coroutine[Any, Any, Outcome]], show: _Show
    ) -> ToolResult:
        """Do `work`, with the client's user at hand for approvals when there is a way to ask them."""
        user = User.of_request(caller) if self.elicit else None
        answer = await user.answer(self.app) if user is not None else None
        if answer is not None:  # the request was made before, and comes again with what the user said
            run_id, decided = answer
            outcome = await _finished(self._go_on(run_id, caller, 0, None, under_way=LONGEST_WAIT))
        else:
            decided = True
            outcome = await _finished(work(user.approver if user is not None else None))
        if user is not None and user.modern and decided and outcome.pending:
            return user.question(outcome)
        return await show(outcome)

    async def _go_on(
        self, run_id: str, caller: str, wait: float, approver: Approver | None, under_way: float = 0
    ) -> Outcome:
        """The run's outcome once it has one, or how it stands after `wait` seconds.

        While it is under way elsewhere, `under_way` seconds if those are more.
        """
        began = time.monotonic()
        until = began + wait
        while True:
            try:
                outcome = await self.app.resume(run_id, caller=caller, approver=approver)
            except RunBusy:  # the server goes on with it by itself, or another one does
                if time.monotonic() >= began + max(wait, under_way):
                    raise RunBusy(
                        f"{run_id} is under way; ask for its outcome again with resume_run."
                    ) from None
            else:
                if outcome.status != "waiting" or not await self._changed(outcome, until):
                    return outcome
            approver = None  # the user was asked already
            await asyncio.sleep(_POLL)

    async def _changed(self, outcome: Outcome, until: float) -> bool:
        """Wait until something that a run waits for is decided. False when the time is up."""
        before = {each.id for each in outcome.pending}
        while time.monotonic() < until:
            if before - {each.id for each in await self.app.undecided(outcome.run_id)}:
                return True
            await asyncio.sleep(min(_POLL, max(0.0, until - time.monotonic())))
        return False

    async def _run_result(self, outcome: Outcome) -> ToolResult:
        return await run_result(self.app, outcome, self.max_tokens)

    def may_wait(self, scope: Scope) -> bool:
        """Whether a call of these tools may need approval, in a run that can be put aside for it."""
        options = self.app.options
        if options.journal is False:
            return False
        guard = options.approval_guard(os.environ.get("ONETURN_AUTO_APPROVE"))
        return any(guard.needed(tool) for tool in scope.tools)

    async def search(
        self,
        queries: str | Sequence[str],
        limit: int,
        namespace: str | None,
        effect: Effect | None,
        detail: Detail,
    ) -> ToolResult:
        """Find tools."""
        view = self.app.view()

        def text() -> str:
            found = view.search(queries, limit, effect=effect, namespace=namespace)
            return search_text(found, len(view.scope.tools), detail, view.full)

        # The first search builds the index, which takes a moment in a large catalog.
        try:
            return text_result(await asyncio.to_thread(text))
        except ValueError as error:
            raise ClientVisibleError(str(error)) from error

    async def info(self, names: str | Sequence[str]) -> ToolResult:
        """Describe tools; a name that is none says which ones are near."""
        wanted = [names] if isinstance(names, str) else list(names)
        return text_result(await asyncio.to_thread(self._info, self.app.view(), wanted))

    def _info(self, view: View, wanted: Sequence[str]) -> str:
        parts = []
        for name in wanted[:_NAMES]:
            text = view.describe(name)
            if text is None:
                near = view.scope.nearest(name)
                meant = f" Did you mean {' or '.join(near)}?" if near else ""
                text = f"There is no tool {name[:100]!r}.{meant}"
            parts.append(text)
        return cut("\n\n".join(parts), self.max_tokens, "answer", "ask for fewer tools at once")


def told(error: OneturnError) -> str:
    """An error of ours as whoever is not on this machine may read it: without its paths."""
    return visible(Redactor().text(str(error)))


async def _finished(work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """The outcome of `work`, which is cancelled once and waited for when the request is cancelled.

    The transport cancels a request again at every await until it gives in. A run has to take leave
    of its sandbox and its tools, so it gets a task of its own, where only the first one arrives.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.gather(task, return_exceptions=True)
        raise
    except OneturnError as error:
        raise ClientVisibleError(told(error)) from error
