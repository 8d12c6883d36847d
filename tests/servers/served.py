"""An app with one tool of each kind, served over MCP: python served.py stdio, or served.py http PORT.

Over HTTP the URL is printed on the first line of stdout.
"""

import asyncio
import os
import sys

from oneturn import Blob, CodeMode, ToolError
from oneturn.server import serve_http, serve_stdio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


def make_app() -> CodeMode:
    app = CodeMode("lab", allow=["*"])

    @app.tool(effect="read")
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @app.tool(namespace="issues", effect="write")
    def create(title: str) -> dict[str, str]:
        """Create an issue\u200b with a title."""
        return {"title": title}

    @app.tool(namespace="issues")
    def delete(number: int) -> str:
        """Delete an issue."""
        return f"deleted {number}"

    @app.tool(effect="read")
    def point(x: int) -> dict[str, int]:
        return {"x": x}

    @app.tool(effect="read")
    def picture(size: int = 0) -> Blob:
        """Draw a picture."""
        return Blob(PNG + bytes(size), "image/png", "dot.png")

    @app.tool(effect="read")
    def report() -> Blob:
        return Blob(b"%PDF", "application/pdf")

    @app.tool(effect="read")
    def fail() -> None:
        raise ToolError("the lab is closed")

    @app.tool(effect="read")
    def noise() -> str:
        os.write(1, b"not the protocol\n")
        print("nor is this")
        return "quiet"

    return app


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        asyncio.run(serve_stdio(make_app()))
    else:
        asyncio.run(serve_http(make_app(), port=int(sys.argv[2]), started=lambda url: print(url, flush=True)))
