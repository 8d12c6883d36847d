"""The FastMCP server around an app: its tools, its artifacts, and word of changes to both."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, get_args

import mcp_types
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ResourceError
from fastmcp.resources.base import ResourceContent, ResourceResult
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import Tool, ToolResult

from .. import __version__
from ..app import CodeMode
from ..errors import ArtifactNotFound, ConfigError
from ..tools.scope import Allow
from . import Mode, Offer
from .background import attended
from .calls import Calls, current_caller
from .tools import CatalogTools

if TYPE_CHECKING:
    from .webhook import Messenger

_SESSIONS = 1_024  # clients remembered in order to be told of changes

_INSTRUCTIONS: dict[str, str] = {
    "code": "Find tools with search_tools, then do the whole job in one script with execute_code.",
    "search": "Find tools with search_tools, then call them by name with call_tool.",
    "plain": "",
}


def build(app: CodeMode, offer: Offer, *, auth: Any, messenger: Messenger | None = None) -> FastMCP[None]:
    """The server of `oneturn.server.build_server`; a messenger sends word of calls that wait."""
    mode = offer.mode
    if mode not in get_args(Mode):
        raise ConfigError(f"There is no mode {mode!r}; use one of {', '.join(get_args(Mode))}.")
    calls = Calls(app, offer.max_tokens, offer.elicit)

    @asynccontextmanager
    async def opened(server: FastMCP[None]) -> AsyncIterator[None]:
        await app.open()
        async with attended(app, messenger):
            yield

    server: FastMCP[None] = FastMCP(
        app.name,
        instructions=_INSTRUCTIONS[mode] or None,
        version=__version__,
        auth=auth,
        lifespan=opened,
        providers=[CatalogTools(calls, mode, Allow.of(offer.direct), offer.sessions)],
        middleware=[ToldOfChanges(app)],
        mask_error_details=True,  # our own errors are made for clients, any other stays in the log
        dereference_schemas=False,
    )

    @server.resource(
        "artifact://{artifact_id}",
        name="artifact",
        description="Bytes a run of yours left behind, by the id in their handle.",
        mime_type="application/octet-stream",
    )
    async def read_artifact(artifact_id: str) -> ResourceResult:
        try:
            artifact = await app.artifact(artifact_id, caller=current_caller())
        except ArtifactNotFound as error:
            raise ResourceError(str(error), log_level=logging.INFO) from error
        return ResourceResult([ResourceContent(artifact.data, mime_type=artifact.mime)])

    return server


def messenger_of(offer: Offer) -> Messenger | None:
    """What sends word of calls that wait; None without a webhook."""
    if offer.webhook is None:
        return None
    from .webhook import Messenger

    return Messenger(offer.webhook)


class ToldOfChanges(Middleware):
    """Tells a client which has listed the tools that they have changed, on its next call.

    Only clients that keep a session can be told; those of protocol 2026-07-28 and later open a new
    connection for each request, and list the tools again when they want to.
    """

    def __init__(self, app: CodeMode) -> None:
        self._app = app
        self._listed: OrderedDict[str, int] = OrderedDict()

    async def on_list_tools(
        self,
        context: MiddlewareContext[mcp_types.ListToolsRequest],
        call_next: CallNext[mcp_types.ListToolsRequest, Sequence[Tool]],
    ) -> Sequence[Tool]:
        if context.fastmcp_context is not None:
            self._remember(context.fastmcp_context)
        return await call_next(context)

    async def on_call_tool(
        self,
        context: MiddlewareContext[mcp_types.CallToolRequestParams],
        call_next: CallNext[mcp_types.CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        result = await call_next(context)
        client = context.fastmcp_context
        if client is not None:
            known = self._listed.get(client.session_id)
            if known is not None and known != self._version():
                self._remember(client)
                await client.send_notification(mcp_types.ToolListChangedNotification())
        return result

    def _remember(self, client: Context) -> None:
        self._listed[client.session_id] = self._version()
        self._listed.move_to_end(client.session_id)
        while len(self._listed) > _SESSIONS:
            self._listed.popitem(last=False)

    def _version(self) -> int:
        self._app.view()  # takes in the functions registered since
        return self._app.catalog.version
