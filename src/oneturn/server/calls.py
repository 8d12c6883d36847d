"""What a client's request becomes: a run or a call of the app, as that client.

The invariant: the caller of a run is who the transport says it is, never something the client
wrote into its request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import anyio
from fastmcp.exceptions import ToolError as ClientVisibleError
from fastmcp.server.dependencies import get_access_token, get_context
from fastmcp.tools.base import ToolResult

from ..app import CodeMode
from ..errors import OneturnError
from ..metatools import search_text
from ..tokens import cut
from ..types import Detail, Effect, Outcome
from ..view import View
from .results import direct_result, run_result, text_result

_NAMES = 20  # of one get_tool_info


def current_caller() -> str:
    """Who is asking: the authenticated client (and user), `stdio`, `http`, or `local` in process.

    A client's id and a user's subject are quoted, so that no pair of them reads like another.
    """
    token = get_access_token()
    if token is not None:
        client = f"client:{quote(token.client_id, safe='')}"
        return f"{client}/{quote(token.subject, safe='')}" if token.subject else client
    transport = get_context().transport
    return "stdio" if transport == "stdio" else "http" if transport else "local"


@dataclass(frozen=True, slots=True)
class Calls:
    """The requests a client can make of an app, each answered within `max_tokens`."""

    app: CodeMode
    max_tokens: int

    async def execute(self, code: str, timeout: float | None, session: str = "") -> ToolResult:
        """Run a script."""
        caller = current_caller()
        if session and caller == "http":  # nobody in particular: a session belongs to one connection
            session = f"{get_context().session_id} {session}"
        outcome = await _finished(self.app.execute(code, timeout=timeout, caller=caller, session=session))
        return await run_result(self.app, outcome, self.max_tokens)

    async def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        """Make one call by a tool's dotted name."""
        outcome = await _finished(self.app.call(name, arguments, caller=current_caller()))
        return await run_result(self.app, outcome, self.max_tokens)

    async def call_direct(self, name: str, arguments: dict[str, Any], *, structured: bool) -> ToolResult:
        """Make one call of a tool that is offered under its own name."""
        outcome = await _finished(self.app.call(name, arguments, caller=current_caller()))
        return await direct_result(self.app, outcome, self.max_tokens, structured=structured)

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
        raise ClientVisibleError(str(error)) from error
