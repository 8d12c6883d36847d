"""An HTTP API on this machine, in this event loop: it keeps what it was asked and answers as told.

What has no answer of its own is answered with what the server saw.
"""

import asyncio
import inspect
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn
from starlette.responses import JSONResponse


@dataclass(frozen=True)
class Seen:
    """One request as it came over the wire: `path` and `query` are not decoded."""

    method: str
    path: str
    query: str
    headers: dict
    body: bytes


class Api:
    """Answers by path: a response, or a function (also async) of what was seen that gives one."""

    def __init__(self):
        self.seen = []
        self.answers = {}
        self.url = ""

    @property
    def paths(self):
        return [seen.path for seen in self.seen]

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        seen = Seen(scope["method"], path, scope["query_string"].decode("latin-1"), headers, body)
        self.seen.append(seen)
        answer = self.answers.get(path, _echo)
        if callable(answer) and not hasattr(answer, "status_code"):
            answer = answer(seen)
        if inspect.isawaitable(answer):
            answer = await answer
        await answer(scope, receive, send)


def _echo(seen):
    return JSONResponse({**vars(seen), "body": seen.body.decode("latin-1")})


class _Server(uvicorn.Server):
    """One that is told when to stop, where the original looks ten times a second whether it should."""

    def __init__(self, config):
        super().__init__(config)
        self.stop = asyncio.Event()

    async def main_loop(self):
        await self.on_tick(0)
        await self.stop.wait()


@asynccontextmanager
async def serving(app, **options):
    """Serve `app` on a free port of this machine; its address is `app.url` and the value."""
    # Named as TCP, or asyncio would leave its answers waiting for a full packet.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=0, **options)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110  (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    scheme = "https" if options.get("ssl_certfile") else "http"
    app.url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield app.url
    finally:
        server.stop.set()
        await task


@asynccontextmanager
async def raw_server(answer):
    """A TCP server that reads one request and then does as `answer(reader, writer)` says."""

    async def serve(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
