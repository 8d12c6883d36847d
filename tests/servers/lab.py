"""A FastMCP server with one tool of each kind.

Usage: python lab.py stdio, or python lab.py http PORT (sse PORT); port 0 picks one. The port is
printed on the first line of stdout.
"""

import asyncio
import os
import socket
import sys

import mcp_types
import uvicorn
from fastmcp import Context, FastMCP
from fastmcp.server.dependencies import get_http_headers
from fastmcp.tools import Tool
from fastmcp.utilities.types import Audio, File, Image
from pydantic import BaseModel

server = FastMCP("lab")


class Point(BaseModel):
    x: int
    y: int


@server.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool
def points() -> list[Point]:
    return [Point(x=1, y=2)]


@server.tool(annotations={"readOnlyHint": True})
def point() -> Point:
    return Point(x=3, y=4)


@server.tool
def nothing() -> None:
    return None


@server.tool
def media() -> list:
    return [
        "look",
        Image(data=b"png bytes", format="png"),
        Audio(data=b"wav bytes", format="wav"),
        File(data=b"%PDF", format="pdf", name="report"),
        mcp_types.ResourceLink(type="resource_link", uri="lab://more", name="more", mime_type="text/csv"),
        mcp_types.EmbeddedResource(
            type="resource",
            resource=mcp_types.TextResourceContents(uri="lab://note", text="a note", mime_type="text/plain"),
        ),
    ]


@server.tool
def fail() -> None:
    raise ValueError("the lab is closed" + "!" * 5000)


@server.tool(annotations={"readOnlyHint": True})
def pid() -> int:
    return os.getpid()


@server.tool
def headers() -> dict[str, str]:
    return get_http_headers(include_all=True)


@server.tool
async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "woke"


@server.tool
async def grow(ctx: Context, later: bool = False) -> str:
    """Add the tool `grown`, and say so: at once, or after this call has ended."""

    def grown() -> str:
        return "I am new"

    server.add_tool(Tool.from_function(grown))
    notice = mcp_types.ToolListChangedNotification()
    if later:
        session = ctx.session
        task = asyncio.get_running_loop().create_task(_later(session, notice))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)
    else:
        await ctx.send_notification(notice)
    return "ok"


_tasks: set = set()


async def _later(session, notice) -> None:
    await asyncio.sleep(0.2)
    await session.send_notification(notice)


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run(show_banner=False)
    else:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(sys.argv[2])))
        listener.listen()
        print(listener.getsockname()[1], flush=True)
        app = server.http_app(transport=sys.argv[1])
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
