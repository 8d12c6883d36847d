"""Servers over HTTP on this machine: headers, bearer tokens, OAuth, and servers that go away."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import webbrowser
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth import StaticTokenVerifier
from fastmcp.server.auth.auth import ClientRegistrationOptions
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from fastmcp.server.dependencies import get_http_headers

from oneturn.errors import SourceError
from oneturn.tools.mcp import McpServer, McpSource

LAB = Path(__file__).parents[1] / "servers" / "lab.py"


@asynccontextmanager
async def serving(make):
    """Serve `make(base_url)` on a free port of this machine, in this event loop."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(make(base).http_app(), log_level="error", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110  (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    try:
        yield f"{base}/mcp"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def opened(server):
    source = McpSource(server)
    await source.open()
    try:
        yield source, {tool.name: tool for tool in await source.list_tools()}
    finally:
        await source.close()


def lab(auth=None):
    app = FastMCP("lab", auth=auth)

    @app.tool
    def headers() -> dict[str, str]:
        return get_http_headers(include_all=True)

    return app


async def test_headers_are_sent_with_every_request():
    async with serving(lambda base: lab()) as url:
        server = McpServer("lab", url=url, headers={"X-Api-Key": "hush-hush"})
        async with opened(server) as (source, tools):
            seen = (await source.call(tools["headers"], {})).structured
            assert seen["x-api-key"] == "hush-hush"
            assert "hush-hush" in source.secrets()


async def test_a_bearer_token_opens_the_door_and_a_wrong_one_does_not():
    tokens = {"right-token": {"client_id": "me", "scopes": []}}
    async with serving(lambda base: lab(StaticTokenVerifier(tokens=tokens))) as url:
        async with opened(McpServer("lab", url=url, auth="right-token")) as (source, tools):
            seen = (await source.call(tools["headers"], {})).structured
            assert seen["authorization"] == "Bearer right-token"
        with pytest.raises(SourceError, match="'lab' did not start") as caught:
            await McpSource(McpServer("lab", url=url, auth="wrong-token")).open()
        assert "wrong-token" not in str(caught.value)


async def test_oauth_logs_in_once_and_keeps_its_tokens_for_the_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    logins = []

    def browser(address):
        """A browser whose user says yes: follows the redirect to the waiting callback."""

        async def visit():
            async with httpx2.AsyncClient(follow_redirects=True) as client:
                while True:
                    try:
                        return (await client.get(address)).raise_for_status()
                    except httpx2.ConnectError:
                        await asyncio.sleep(0.05)

        logins.append(asyncio.get_running_loop().create_task(visit()))

    monkeypatch.setattr(webbrowser, "open", browser)

    def make(base):
        registration = ClientRegistrationOptions(enabled=True)
        return lab(InMemoryOAuthProvider(base_url=base, client_registration_options=registration))

    async with serving(make) as url:
        server = McpServer("lab", url=url, auth="oauth")
        for _ in range(2):
            async with opened(server) as (source, tools):
                seen = (await source.call(tools["headers"], {})).structured
                assert seen["authorization"].startswith("Bearer ")
    assert len(logins) == 1
    await logins[0]
    folder = tmp_path / "oneturn" / "mcp-oauth"
    assert folder.stat().st_mode & 0o077 == 0


class Process:
    """The lab server in a process of its own, on one port, as often as it is started."""

    def __init__(self, transport):
        self.transport = transport
        self.port = "0"

    def start(self):
        command = [sys.executable, str(LAB), self.transport, self.port]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = self.process.stdout.readline().strip()  # printed once it listens

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    @property
    def server(self):
        path = "sse" if self.transport == "sse" else "mcp"
        url = f"http://127.0.0.1:{self.port}/{path}"
        return McpServer("lab", url=url, transport=self.transport, trust_annotations=True)


@pytest.fixture(params=["http", "sse"])
def process(request):
    process = Process(request.param)
    process.start()
    yield process
    if process.process.returncode is None:
        process.kill()


async def test_a_restarted_server_is_found_again(process):
    async with opened(process.server) as (source, tools):
        first = await source.call(tools["pid"], {})
        process.kill()
        process.start()
        await asyncio.sleep(0.2)
        assert (await source.call(tools["add"], {"a": 1, "b": 2})).structured == 3
        assert await source.call(tools["pid"], {}) != first


async def test_a_call_under_way_when_the_server_dies_is_in_doubt(process):
    async with opened(process.server) as (source, tools):
        sleeping = asyncio.create_task(source.call(tools["sleep"], {"seconds": 60}))
        await source.call(tools["pid"], {})
        process.kill()
        with pytest.raises(SourceError, match="effect is unknown"):
            await sleeping
        with pytest.raises(SourceError, match="nothing was sent"):
            await source.call(tools["add"], {"a": 1, "b": 2})
        process.start()
        assert (await source.call(tools["add"], {"a": 1, "b": 2})).structured == 3


async def test_a_server_that_is_not_there():
    with pytest.raises(SourceError, match=r"'lab' did not start \(http://127.0.0.1:9/mcp\)") as caught:
        await McpSource(McpServer("lab", url="http://127.0.0.1:9/mcp?key=hush-hush")).open()
    assert "hush" not in str(caught.value)
