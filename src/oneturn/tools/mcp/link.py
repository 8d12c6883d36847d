"""One live connection to one MCP server, and the server process behind it.

Everything that must be entered and left by the same task lives in one owner task; other tasks
only send requests, in parallel. A link that ended never comes back: its owner cleans up at once,
and the source makes a new one. It always opens with the `initialize` handshake, because only
there do servers announce changed tools outside a request.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any, TextIO

import httpx2
import mcp_types as wire
from fastmcp import Client
from fastmcp.client.auth import OAuth
from fastmcp.client.transports import (
    ClientTransport,
    SSETransport,
    StdioTransport,
    StreamableHttpTransport,
    infer_transport,
)
from fastmcp.client.transports.base import TransportOptions
from key_value.aio.stores.filetree import FileTreeStore, FileTreeV1KeySanitizationStrategy
from mcp import ClientSession, MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from platformdirs import user_data_path
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from ...errors import ToolError
from ...types import Tool
from ..base import CURRENT, Result
from .config import McpServer
from .convert import is_wrapped, to_result, to_tool

_KEY = "oneturn/idempotency-key"  # in `_meta`: the same for a call however often it is sent
_MAX_TOOLS = 10_000
_STOP_SECONDS = 12.0  # the server's own grace periods add up to less; past this it is abandoned
_STDERR_LINES = 5
_SESSION_GONE = re.compile(
    r"(bad request: )?(no valid session id|session (not found|terminated|expired))", re.IGNORECASE
)


class LinkLost(Exception):
    """The connection is gone. `sent` tells whether the request may have reached the server."""

    def __init__(self, why: str, *, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


class _Wire(JSONRPCDispatcher[Any]):
    """Tells us when the connection has ended, which the session itself does not say."""

    def __init__(self, read_stream: Any, write_stream: Any) -> None:
        super().__init__(read_stream, write_stream)
        self.ended = False
        self.on_end: Callable[[], None] | None = None

    async def run(self, *args: Any, **options: Any) -> None:
        try:
            await super().run(*args, **options)
        finally:
            self.ended = True
            if self.on_end is not None:
                self.on_end()


class _Session(ClientSession):
    """A session that leaves judging results to the gate, and shows its wire."""

    def __init__(self, read_stream: Any, write_stream: Any, **options: Any) -> None:
        self.wire = _Wire(read_stream, write_stream)
        super().__init__(dispatcher=self.wire, **options)

    async def validate_tool_result(self, name: str, result: wire.CallToolResult) -> None:
        """Accept everything: a server's mistake in its own schema must not lose the result."""


class _Transport(ClientTransport):
    """Any FastMCP transport, with our session on top."""

    def __init__(self, inner: ClientTransport) -> None:
        self.inner = inner

    @asynccontextmanager
    async def connect_session(
        self, *, transport_options: TransportOptions | None = None, **options: Any
    ) -> AsyncIterator[ClientSession]:
        ours = TransportOptions(session_class=_Session)
        async with self.inner.connect_session(transport_options=ours, **options) as session:
            yield session

    async def close(self) -> None:
        await self.inner.close()  # type: ignore[no-untyped-call]


class _Stderr(asyncio.Protocol):
    """Keeps the last lines a server process wrote, and drops the rest."""

    def __init__(self) -> None:
        self.chunks: deque[bytes] = deque(maxlen=64)
        self.writer: TextIO | None = None
        self.reader: asyncio.BaseTransport | None = None

    async def open(self) -> TextIO:
        read, write = os.pipe()
        source = os.fdopen(read, "rb", buffering=0)
        self.writer = os.fdopen(write, "w")
        self.reader, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: self, source)
        return self.writer

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data[-2_000:])

    def last_lines(self) -> str:
        lines = b"".join(self.chunks).decode(errors="replace").split("\n")
        return " | ".join([line.strip() for line in lines if line.strip()][-_STDERR_LINES:])

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        if self.reader is not None:
            self.reader.close()


class Link:
    """One connection. Make it, `start()` it once, `call()` from any task, `stop()` it.

    Args:
        server: What to connect to.
        changed: Called with the new tools when the server says they changed.
    """

    def __init__(self, server: McpServer, changed: Callable[[tuple[Tool, ...]], None]) -> None:
        self.server = server
        self.tools: tuple[Tool, ...] = ()
        self.offered: dict[str, Tool] = {}
        self.last_words = ""
        self._changed = changed
        self._wrapped: frozenset[str] = frozenset()
        self._stderr = _Stderr()
        self._client: Client[Any] | None = None
        self._owner: asyncio.Task[None] | None = None
        self._in_flight = 0
        self._leaving = False
        self._stopped = False
        self._relist = False
        self._wake = asyncio.Event()
        self._cause: Exception | None = None

    @property
    def alive(self) -> bool:
        """Whether a request sent now has someone to read it, as far as we know."""
        return self._client is not None and not self._leaving

    async def start(self, timeout: float) -> None:
        """Connect and list the tools, in at most `timeout` seconds.

        Raises:
            TimeoutError: It took longer. The server was stopped again.
            Exception: Whatever made connecting or listing fail; nothing is left running.
        """
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = asyncio.create_task(self._own(ready), name=f"oneturn-mcp-{self.server.name}")
        try:
            async with asyncio.timeout(timeout):
                await ready
        except BaseException:
            await self.stop()
            raise

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Result:
        """Send one call and wait for its result; cancelling this cancels the request.

        Raises:
            ToolError: The tool failed, or the server refused the request.
            LinkLost: The connection broke, before or during the call.
        """
        client = self._client
        if client is None or not self.alive:
            raise LinkLost("it is closed", sent=False)
        plain = to_jsonable_python(dict(arguments), bytes_mode="base64")
        info = CURRENT.get()
        meta = {_KEY: info.idempotency_key} if info is not None else None
        self._in_flight += 1
        alone = self._in_flight == 1
        try:
            reply = await client.call_tool_mcp(name, plain, meta=meta)
        except MCPError as error:
            if _SESSION_GONE.match(error.message):
                self._end()
                raise LinkLost(error.message, sent=False) from error
            if error.code == wire.CONNECTION_CLOSED and self._is_ours(error.message):
                unanswered = error.message == "Connection closed"  # else its answer had begun
                raise await self._lost(error, alone and unanswered and self._in_flight == 1) from error
            raise ToolError(error.message) from error
        except ValidationError as error:
            raise ToolError(f"The server's answer to '{name}' is not valid MCP.") from error
        except Exception as error:
            # With HTTP a failed request ends the whole session with its own, foreign exception.
            raise await self._lost(error, alone and self._in_flight == 1) from error
        finally:
            self._in_flight -= 1
        return to_result(reply, name, wrapped=name in self._wrapped)

    def _is_ours(self, message: str) -> bool:
        """Whether a "closed" error was made on this side; servers use the same code freely."""
        return not self.alive or message == "Connection closed" or message.startswith("SSE stream ")

    async def _lost(self, error: Exception, alone: bool) -> LinkLost:
        """End this link. Only a lone request that found nobody to connect to was surely not sent."""
        self._end()
        assert self._owner is not None
        await asyncio.wait({self._owner}, timeout=_STOP_SECONDS)
        refused = isinstance(error, httpx2.ConnectError) or isinstance(self._cause, httpx2.ConnectError)
        return LinkLost(str(error), sent=not (alone and refused))

    def _end(self) -> None:
        self._leaving = True
        self._wake.set()

    async def stop(self) -> None:
        """End the connection and the server process. Idempotent; takes a few seconds at most."""
        owner = self._owner
        if owner is None:
            return
        # One cancel only, and never during clean-up: a second one would cut the clean-up short.
        if not self._stopped and not self._leaving:
            owner.cancel()
        self._stopped = True
        await asyncio.wait({owner}, timeout=_STOP_SECONDS)

    async def _own(self, ready: asyncio.Future[None]) -> None:
        transport: _Transport | None = None
        try:
            transport = _Transport(await self._reach())
            client: Client[Any] = Client(
                transport,
                mode="legacy",
                message_handler=self._hear,
                log_handler=_ignore,
                client_info=wire.Implementation(name="oneturn", version=version("oneturn")),
            )
            async with client:
                await self._serve(client, ready)
        except Exception as error:
            self._cause = error
        finally:
            self._leaving = True
            if transport is not None:
                await transport.close()
            self._stderr.close()
            self.last_words = self._stderr.last_lines()
            if not ready.done():
                ready.set_exception(self._cause or ConnectionError("the connection was stopped"))
                ready.exception()  # seen, even when nobody waits any more

    async def _serve(self, client: Client[Any], ready: asyncio.Future[None]) -> None:
        try:
            session = client.session
            assert isinstance(session, _Session)
            session.wire.on_end = self._end
            await self._list(client)
            self._client = client
            if not ready.done():
                ready.set_result(None)
            while not (self._leaving or session.wire.ended):
                if self._relist:
                    self._relist = False
                    with suppress(MCPError):  # the old list stays; a dead link is noticed above
                        await self._list(client)
                        self._changed(self.tools)
                    continue
                self._wake.clear()
                await self._wake.wait()
        finally:
            self._leaving = True

    async def _list(self, client: Client[Any]) -> None:
        listed: list[wire.Tool] = []
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            page = await client.list_tools_mcp(cursor=cursor)
            listed += page.tools
            if len(listed) > _MAX_TOOLS:
                raise ValueError(f"it lists more than {_MAX_TOOLS:,} tools")
            cursor = page.next_cursor
            if cursor is None or cursor in seen:
                break
            seen.add(cursor)
        self._wrapped = frozenset(t.name for t in listed if t.output_schema and is_wrapped(t.output_schema))
        self.tools = tuple(to_tool(tool, self.server) for tool in listed)
        self.offered = {tool.name: tool for tool in self.tools}

    async def _hear(self, message: wire.ServerNotification | Exception) -> None:
        if isinstance(message, wire.ToolListChangedNotification):
            self._relist = True
            self._wake.set()

    async def _reach(self) -> ClientTransport:
        server = self.server
        if server.command is not None:
            return StdioTransport(
                server.command,
                list(server.args),
                env=dict(server.env),
                cwd=server.cwd,
                keep_alive=False,
                log_file=await self._stderr.open(),
            )
        if server.url is not None:
            kind = SSETransport if server.uses_sse else StreamableHttpTransport
            auth = _oauth() if server.auth == "oauth" else server.auth
            return kind(server.url, headers=dict(server.headers), auth=auth)
        return infer_transport(server.server)  # type: ignore[call-overload,no-any-return]


def _oauth() -> OAuth:
    """A browser login whose tokens are kept in the user's data directory, readable by them only."""
    folder = user_data_path("oneturn", appauthor=False) / "mcp-oauth"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = FileTreeStore(
        data_directory=folder, key_sanitization_strategy=FileTreeV1KeySanitizationStrategy(folder)
    )
    return OAuth(client_name="oneturn", token_storage=store)


async def _ignore(message: Any) -> None:
    """Servers' own log lines: strangers' text that may hold secrets, so it goes nowhere."""
