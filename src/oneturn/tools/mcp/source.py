"""An MCP server as a source of tools: what it lists, and calls that survive its restarts.

Owns the rule of what may be repeated. A call that surely never left is sent again on a new
connection; a call whose connection broke under way is repeated only when the tool is a read,
because for any other its effect is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import EffectUnknown, SourceError
from ...types import Tool
from ..base import Result
from .config import McpServer

if TYPE_CHECKING:
    from .link import Link

_BACKOFF = (0.0, 0.1, 0.5, 2.0)  # seconds before each try to reconnect
_ATTEMPTS = 3  # of one call, so a read that kills its server does not do so for ever
_LOGIN_SECONDS = 300.0
_COMPARED = 20_000  # characters of a description; a catalog keeps no more


class McpSource:
    """Tools of one MCP server, over one connection kept open until `close()`.

    Args:
        server: What to connect to.
        start_timeout: Seconds that starting, connecting and listing may take; a server with
            `auth="oauth"` gets at least 300, since a person may have to log in.
    """

    def __init__(self, server: McpServer, *, start_timeout: float = 60.0) -> None:
        self.name = server.name
        self._server = server
        login = server.auth == "oauth"
        self._start_timeout = max(start_timeout, _LOGIN_SECONDS) if login else start_timeout
        self._link: Link | None = None
        self._tools: tuple[Tool, ...] = ()
        self._notify: list[Callable[[], None]] = []
        self._restarting: asyncio.Task[Link] | None = None
        self._open = False

    async def open(self) -> None:
        """Connect and list the tools once. Opening an open source does nothing.

        Raises:
            SourceError: The server cannot be started or reached; nothing is left running.
        """
        if not self._open:
            link = await self._connect()
            self._link, self._tools, self._open = link, link.tools, True

    async def list_tools(self) -> Sequence[Tool]:
        """The tools as last listed, under the server's own names."""
        return self._tools

    async def call(self, tool: Tool, arguments: Mapping[str, Any]) -> Result:
        """Perform one call; reconnects first when the server has gone.

        Raises:
            ToolError: The tool failed, or the server refused the call.
            SourceError: The server cannot be reached, or now offers something else under the tool's
                name; nothing was sent.
            EffectUnknown: The connection broke during a call that is not a read.
        """
        from .link import LinkLost

        for _ in range(_ATTEMPTS):
            link = await self._live()
            self._same(tool, link)
            try:
                return await link.call(tool.original or tool.name, arguments)
            except LinkLost as lost:
                if lost.sent and tool.effect != "read":
                    raise EffectUnknown(
                        f"The connection to MCP server '{self.name}' broke during the call of "
                        f"'{tool.name}', so its effect is unknown; check before calling it again."
                    ) from lost
        raise SourceError(
            f"MCP server '{self.name}' went away during each of {_ATTEMPTS} tries to call '{tool.name}'."
        )

    def on_change(self, notify: Callable[[], None]) -> None:
        """Ask to be told when the list of tools has changed."""
        self._notify.append(notify)

    def secrets(self) -> Sequence[str]:
        """Configured header values, tokens and secret-looking environment values."""
        return self._server.secrets()

    async def close(self) -> None:
        """Disconnect and stop the server process. Idempotent; calls under way fail."""
        self._open = False
        restarting, self._restarting = self._restarting, None
        if restarting is not None and not restarting.done():
            restarting.cancel()
            await asyncio.wait({restarting})
        if self._link is not None:
            await self._link.stop()

    async def _live(self) -> Link:
        """The connection, made anew when it is gone; callers that meet here share one attempt."""
        if not self._open or self._link is None:
            raise SourceError(f"MCP server '{self.name}' is not open; open the app before calling its tools.")
        if self._link.alive:
            return self._link
        if self._restarting is None or self._restarting.done():
            self._restarting = asyncio.create_task(self._restart(), name=f"oneturn-mcp-{self.name}-restart")
            self._restarting.add_done_callback(_seen)
        restarting = self._restarting
        try:
            return await asyncio.shield(restarting)
        except asyncio.CancelledError:
            if restarting.cancelled():
                raise SourceError(f"MCP server '{self.name}' was closed; nothing was sent.") from None
            raise

    def _same(self, tool: Tool, link: Link) -> None:
        """Refuse a tool that is not the one the call was decided on; a restarted server may have changed it.

        The catalog hears of the change as well, but only after this call.
        """
        now = link.offered.get(tool.original or tool.name)
        if (
            now is None
            or now.input_schema != tool.input_schema
            or now.output_schema != tool.output_schema
            or now.description[:_COMPARED] != tool.description[:_COMPARED]
            or (now.effect != tool.effect and tool.effect_from != "configuration")
        ):
            raise SourceError(
                f"MCP server '{self.name}' no longer offers '{tool.name}' as it was; nothing was sent, "
                "and the next script sees what it offers now."
            )

    async def _restart(self) -> Link:
        failure: SourceError | None = None
        if self._link is not None:
            await self._link.stop()  # so that two of one server never run at once
        for delay in _BACKOFF:
            await asyncio.sleep(delay)
            try:
                link = await self._connect()
            except SourceError as error:
                failure = error
                continue
            self._link = link
            if link.tools != self._tools:
                self._update(link.tools)
            return link
        # The cause names the command and its output; a script must not see those.
        raise SourceError(
            f"MCP server '{self.name}' has gone and could not be reached again; nothing was sent, "
            "so trying again later is safe."
        ) from failure

    async def _connect(self) -> Link:
        from .link import Link

        link = Link(self._server, self._update)
        try:
            await link.start(self._start_timeout)
        except TimeoutError:
            reason = f"no answer within {self._start_timeout:g} s"
        except Exception as error:
            reason = str(error).removeprefix("Client failed to connect: ") or type(error).__name__
        else:
            return link
        raise SourceError(self._cannot_start(reason, link.last_words))

    def _cannot_start(self, reason: str, last_words: str) -> str:
        text = f"MCP server '{self.name}' did not start ({self._server.address}): {reason.rstrip('.')}"
        if last_words:
            text += f"; the last it wrote was: {last_words[-1_000:]}"
        for secret in self.secrets():
            text = text.replace(secret, "[secret]")
        return text + "."

    def _update(self, tools: tuple[Tool, ...]) -> None:
        self._tools = tools
        for notify in self._notify:
            notify()


def _seen(task: asyncio.Task[Any]) -> None:
    """Mark a failure as seen: every caller who shared it may have been cancelled."""
    if not task.cancelled():
        task.exception()
